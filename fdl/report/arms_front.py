"""The Pareto front of a sweep's arms by the metrics of the file's `FRONT`, drawn."""

import math
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

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
        size = (NARROW if across == 1 else WIDE, (4.2 + 0.18 * min(len(points), alt_text.MOST)) * down)
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
    """Arms with 95 % t-intervals; those of the front are joined, and the first of them named."""
    x, y = pair
    others = [arm for arm in points if arm not in front]
    _points(axis, pair, [points[arm] for arm in others], fmt="o", color=FAINT, ecolor=INK, label="arms")
    joined = {"fmt": "o-", "color": PALETTE[0], "ecolor": PALETTE[0], "label": "the front"}
    _points(axis, pair, [points[arm] for arm in front], **joined)
    named = dict(enumerate(front[: alt_text.MOST], start=1))
    for number, arm in named.items():
        at, beside = (points[arm][x], points[arm][y]), (4, 5 if number % 2 else -12)
        axis.annotate(f"{number}", at, xytext=beside, textcoords="offset points", fontsize=8, color=INK)
    names = [f"{number}: {alt_text.short(arm, 48)}" for number, arm in named.items()]
    axis.set_xlabel("\n".join([alt_text.short(x, 48), *names]), loc="left")
    axis.set_ylabel(alt_text.short(y, 48))
    values = [row[x] for row in points.values()]
    if min(values) > 0 and max(values) > 10 * min(values):
        axis.set(xscale="log")
        # Matplotlib's own writes powers as formulas, which are off: a $ in a name is a dollar sign.
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: formats.plain(value)))
        axis.xaxis.set_minor_formatter(NullFormatter())


def _points(axis: Axes, pair: tuple[str, str], rows: list[dict[str, float]], **style: Any) -> None:
    """Means and their margins, where there are any."""
    margins = [np.nan_to_num([row[f"{metric} ±"] for row in rows]) for metric in pair]
    means = [[row[metric] for row in rows] for metric in pair]
    edges = {"markeredgecolor": INK, "markeredgewidth": 0.4, "elinewidth": 0.9, "linewidth": 0.9}
    axis.errorbar(*means, xerr=margins[0], yerr=margins[1], **edges, **style)


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
