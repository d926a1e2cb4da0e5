"""What a report tells of arms that a scheduler changed: their lineage, and what the best went through."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from fdl import formats
from fdl.cells import text
from fdl.lineage import Change, Lineages, Stretch, ancestry
from fdl.report import alt_text
from fdl.report.style import INK, STYLE, WIDE
from fdl.report.tables import Column
from fdl.result import Result
from fdl.text import counted

MOST = 4
"""Fields that are drawn."""


def lineage(result: Result) -> tuple[Figure, str] | None:
    """Each changing field of every arm by step, coloured by the scheduler's metric at the evaluation that
    follows, the means over seeds; arrows go from what was copied to what it became. And the same in words.

    None where no arm changed.
    """
    fields = changing(result.lineages)[:MOST]
    if not fields:
        return None
    metric = result.meta["schedule"]["metric"]
    means = result.frame.groupby(["arm", "step"], sort=True)[metric].mean().astype(float)
    finite = means[np.isfinite(means)]
    # A few arms that diverge would leave one colour to all others.
    low, high = np.quantile(finite, [0.02, 0.98]) if len(finite) else (0.0, 1.0)
    scale = Normalize(low, high)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDE, 0.6 + 2.6 * len(fields)), layout="constrained")
        axes = figure.subplots(len(fields), 1, sharex=True, squeeze=False)[:, 0]
        for axis, field in zip(axes, fields, strict=True):
            axis.add_collection(_lines(result, field, means, scale))
            _arrows(axis, lineages_of_all(result), result.frame["arm"].unique(), field)
            axis.autoscale_view()
            axis.set(ylabel=alt_text.short(field, 40))
        axes[-1].set(xlabel="step")
        figure.colorbar(
            ScalarMappable(scale, "viridis"), ax=list(axes), label=alt_text.short(metric, 40), extend="both"
        )
    arms = result.frame["arm"].unique()
    copies = sum(one.copied is not None for arm in arms for one in result.lineages.get(arm, ()))
    return figure, (
        f"{', '.join(fields)} of {counted(len(arms), 'arm')} by step, coloured by {metric}, mean over seeds; "
        f"an arrow for each time that one took another's state: {copies:,}."
    )


def changing(lineages: Lineages) -> list[str]:
    """The fields that are numbers and that some arm changed."""
    found: dict[str, None] = {}
    for changes in lineages.values():
        for name, first in changes[0].fields.items():
            if isinstance(first, float) and any(one.fields[name] != first for one in changes):
                found[name] = None
    return [*found]


def lineages_of_all(result: Result) -> dict[str, Sequence[Change]]:
    """Those of the arms that changed, and of the others that they had one config from step 0 on; also of arms
    that were left out since, as others may have their states."""
    runs = result.runs().drop_duplicates("arm").set_index("arm")
    there = {str(arm): run[[*result.fields]].to_dict() for arm, run in runs.iterrows()}
    configs = {**result.meta.get("configs", {}), **there}
    return {**{arm: [Change(0, None, fields)] for arm, fields in configs.items()}, **result.lineages}


def best_schedule(result: Result) -> tuple[str, tuple[Column, ...]] | None:
    """What the state of the arm that ended best has gone through: a heading, and a row for each arm that
    trained it with one config. None where that arm never changed."""
    told = result.meta.get("schedule")
    if told is None:
        return None
    best = (told["lost"] or {}).get("chosen")
    if best is None or best not in result.lineages or best not in set(result.frame["arm"]):
        return None
    whole = lineages_of_all(result)
    past = ancestry(whole, best, int(result.frame.loc[result.frame["arm"] == best, "step"].max()))
    heading = (
        f"What the state of the best arm by {told['metric']}, {best}, has gone through. Being the best of "
        "many flatters it"
    )
    return heading, (
        Column("from step", tuple(f"{one.start:,}" for one in past)),
        Column("to step", tuple(f"{one.until:,}" for one in past)),
        *(_column(field, past) for field in changing(result.lineages)),
        Column("trained by", tuple(one.arm for one in past), number=False),
    )


def _column(field: str, past: Sequence[Stretch]) -> Column:
    return Column(field, tuple(text(one.fields[field]) for one in past))


def _lines(result: Result, field: str, means: Any, scale: Normalize) -> LineCollection:
    """A piece for each arm and evaluation, from the evaluation before."""
    values = result.frame.drop_duplicates(["arm", "step"]).set_index(["arm", "step"])[field]
    pieces, colours, before = [], [], {}
    for (arm, step), mean in means.items():
        value = float(values[arm, step])
        pieces.append([(before.get(arm, 0), value), (step, value)])
        colours.append(mean)
        before[arm] = step
    return LineCollection(pieces, array=np.asarray(colours), cmap="viridis", norm=scale, linewidths=1.8)


def _arrows(axis: Axes, lineages: Lineages, arms: Sequence[str], field: str) -> None:
    """From what each of some arms copied, or had, to what it went on with; and a logarithmic scale where the
    values ask for it."""
    values = [float(one.fields[field]) for arm in arms for one in lineages[arm]]
    for arm in arms:
        for one in lineages[arm][1:]:
            source = lineages[one.copied or arm]
            had = [c for c in source if c.step < one.step][-1].fields[field]
            arrow: dict[str, Any] = {
                "arrowstyle": "->" if one.copied else "-",
                "color": INK,
                "linewidth": 0.6,
            }
            axis.annotate("", (one.step, one.fields[field]), (one.step, had), arrowprops=arrow)
    if min(values) > 0 and max(values) > 10 * min(values):
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: formats.plain(value)))
        axis.yaxis.set_minor_formatter(NullFormatter())
