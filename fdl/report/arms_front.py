"""The Pareto front of a sweep's arms by the metrics of the file's `FRONT`, drawn."""

import math

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fdl import formats
from fdl.report import alt_text
from fdl.report.style import FAINT, INK, NARROW, PALETTE, STYLE, WIDE
from fdl.result import Better, Result
from fdl.sweeps.goal import pareto_front
from fdl.text import counted


def arms_front(result: Result) -> tuple[Figure, str] | None:
    """The arms by the first metric of `FRONT` against each of the others, a panel each, and in each the front
    of these two; the same in words. None where the file has no `FRONT`, or fewer than two arms have its
    metrics.

    An arm is where the mean of its runs is, the front that of means: which arms are on it may be chance.
    """
    better = result.meta.get("front", {})
    pairs = [(other, first) for first, *others in [[*better]] for other in others] if better else []
    table = result.table()
    table = table[table[[*better]].notna().all(axis=1)] if set(better) <= set(table) else table[:0]
    if not pairs or len(table) < 2:
        return None
    points = {str(row["arm"]): row for row in table.to_dict("records")}
    said, across = [], min(len(pairs), 3)
    down = math.ceil(len(pairs) / across)
    with matplotlib.rc_context(STYLE):
        size = (NARROW if across == 1 else WIDE, 4.6 * down)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(down, across, squeeze=False).flatten()
        for axis, pair in zip(axes, pairs, strict=False):
            front = front_of(points, {metric: better[metric] for metric in pair})
            _panel(axis, pair, points, front)
            said.append(_in_words(pair, points, front))
        for axis in axes[len(pairs) :]:
            axis.remove()
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", frameon=False, ncols=2)
    return figure, " ".join(said)


def front_of(points: dict[str, dict[str, float]], better: dict[str, Better]) -> list[str]:
    """The arms that no other one beats in one metric while it is as good in all, by their means; the best of
    the first metric first."""
    return pareto_front({arm: tuple(row[m] for m in better) for arm, row in points.items()}, better.values())


def _panel(axis: Axes, pair: tuple[str, str], points: dict[str, dict[str, float]], front: list[str]) -> None:
    """Arms with 95 % t-intervals; those of the front are joined, and named where they are few."""
    x, y = pair
    for chosen, colour, label in (
        (False, FAINT, "arms"),
        (True, PALETTE[0], "the front"),
    ):
        rows = [points[arm] for arm in front] if chosen else [points[a] for a in points if a not in front]
        margins = {
            f"{side}err": [row[f"{metric} ±"] for row in rows]
            for side, metric in zip("xy", pair, strict=True)
        }
        margins = {side: [0 if math.isnan(one) else one for one in each] for side, each in margins.items()}
        places = [row[x] for row in rows], [row[y] for row in rows]
        axis.errorbar(
            *places,
            **margins,
            fmt="o-" if chosen else "o",
            color=colour,
            ecolor=colour if chosen else INK,
            markeredgecolor=INK,
            markeredgewidth=0.4,
            elinewidth=0.9,
            linewidth=0.9,
            label=label,
        )
    for arm in front[: alt_text.MOST]:
        at = points[arm][x], points[arm][y]
        axis.annotate(
            alt_text.short(arm, 40), at, xytext=(4, -10), textcoords="offset points", fontsize=7, color=INK
        )
    axis.set(xlabel=alt_text.short(x, 60), ylabel=alt_text.short(y, 60))
    positive = [row[x] for row in points.values()]
    if min(positive) > 0 and max(positive) > 10 * min(positive):
        axis.set(xscale="log")


def _in_words(pair: tuple[str, str], points: dict[str, dict[str, float]], front: list[str]) -> str:
    x, y = pair
    each = [
        f"{alt_text.short(arm, 80)}: "
        + ", ".join(
            f"{metric} {formats.estimate(points[arm][metric], points[arm][f'{metric} ±'])}"
            for metric in (y, x)
        )
        for arm in front[: alt_text.MOST]
    ]
    more = f"; and {len(front) - alt_text.MOST} more" if len(front) > alt_text.MOST else ""
    return (
        f"The front by {y} and {x}: {len(front)} of {counted(len(points), 'arm')}. {'; '.join(each)}{more}."
    )
