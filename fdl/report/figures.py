"""Figures: learning curves with bands, and what every seed came to."""

import math
import textwrap
from typing import Any, Literal, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
import scipy.stats
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from fdl import formats
from fdl.report import alt_text, tables
from fdl.report.arms_front import arms_front
from fdl.report.front import front
from fdl.report.layout import MOST, Layout, extremes, layout
from fdl.report.lineage import lineage
from fdl.report.parallel import parallel_coordinates
from fdl.report.style import DASHES, FAINT, NARROW, PALETTE, STYLE, WIDE
from fdl.report.timeline import timeline
from fdl.result import Result, check_metric

TIMELINE, FRONT, ARMS_FRONT, LINEAGE = "timeline", "front", "arms-front", "lineage"
"""The kinds of the figures that are of no metric alone."""


class Drawing(NamedTuple):
    """A figure, what it is called, and what it shows in words."""

    metric: str
    kind: str
    figure: Figure
    alt: str


def draw(result: Result) -> list[Drawing]:
    """The figures of a report: learning curves for each main metric and for what is logged between
    evaluations, where an arm has several runs the distribution of the last values and, of more arms than
    have a place each, parallel coordinates of the first main metric; the front of a search by several
    metrics, and that of the arms by the metrics of the file's `FRONT`; who trained what, if several did; and
    the fields that a scheduler changed."""
    last = result.last()
    several = last.duplicated("arm").any()
    drawings = []
    if found := timeline(result.meta.get("programs", ())):
        drawings.append(Drawing("workers", TIMELINE, *found))
    if found := lineage(result):
        drawings.append(Drawing("fields", LINEAGE, *found))
    if not len(last):
        return drawings
    if found := front(result):
        drawings.append(Drawing("search", FRONT, *found))
    if found := arms_front(result):
        drawings.append(Drawing("arms", ARMS_FRONT, *found))
    main = tables.main_metrics(result)
    for metric in dict.fromkeys([*main, *tables.logged_metrics(result)]):
        alt = alt_text.of_curves(result, metric)
        drawings.append(Drawing(metric, "curves", learning_curves(result, metric), alt))
        if several and metric in main:
            alt = alt_text.of_distribution(result, metric)
            drawings.append(Drawing(metric, "distribution", distribution(result, metric), alt))
    if last["arm"].nunique() > MOST and len(result.varying) > 1 and not result.lineages:
        alt = alt_text.of_parallel(result, main[0])
        drawings.insert(0, Drawing(main[0], "parallel", parallel_coordinates(result, main[0]), alt))
    return drawings


def learning_curves(result: Result, metric: str) -> Figure:
    """The mean of `metric` over seeds by step, with bands of its 95 % t-interval; what is logged between
    evaluations as it is logged.

    Failed runs are left out. How many arms share a panel, and which, says `fdl.report.layout.layout`.

    Raises:
      ValueError: no such metric.
    """
    check_metric(result, metric)
    plan = layout(result, metric)
    panels = list(dict.fromkeys(plan.panel.values()))
    frame = tables.curve_rows(result, metric)
    frame = frame[(frame["status"] != "failed") & np.isfinite(frame[metric].astype(float))]
    frame = frame.assign(panel=frame["arm"].map(plan.panel), hue=frame["arm"].map(plan.hue))
    means = frame.pivot_table(index="step", columns="arm", values=metric)
    each = plan.backdrop and len(panels) > 1
    across = min(len(panels), 4 if each else 3)
    down = math.ceil(len(panels) / across)
    height = 3.2 if down == 1 else 0.4 + (1.6 if each else 2.6) * down
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(NARROW if len(panels) == 1 else WIDE, height), layout="constrained")
        axes = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).flatten()
        for index, (axis, name) in enumerate(zip(axes, panels, strict=False)):
            if plan.backdrop and not means.empty:
                _backdrop(axis, means)
            _curves(axis, frame[(frame["panel"] == name) & frame["hue"].notna()], metric, plan)
            lowest = index + across >= len(panels)
            title = textwrap.fill(alt_text.short(name, 120), 84 // across)
            label = "" if index % across else alt_text.short(metric, 40)
            axis.set(title=title, xlabel="step" if lowest else "", ylabel=label)
            axis.tick_params(labelbottom=lowest)
        for axis in axes[len(panels) :]:
            axis.remove()
        _scale(axes[0], "y", frame[metric])
        _legend(figure, plan)
    return figure


def distribution(result: Result, metric: str) -> Figure:
    """The last `metric` of every run that did not fail: a box per arm over a point per seed. Of more than
    24 arms that share no other figure, those with the twelve highest and the twelve lowest means.

    Raises:
      ValueError: no such metric.
    """
    check_metric(result, metric)
    plan, colours = layout(result, metric), _colours(layout(result, metric))
    arms, note = list(plan.panel), ""
    if len(plan.hue) < len(arms):
        arms, note = extremes(result, metric, MOST), f", {MOST} highest and lowest of {len(arms)} arms"
    last = result.last()
    last = last[np.isfinite(last[metric].astype(float)) & last["arm"].isin(arms)]
    groups = dict(iter(last.groupby("arm")[metric]))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(NARROW, 0.8 + 0.34 * len(arms)), layout="constrained")
        axis = figure.subplots()
        for place, arm in enumerate(arms):
            values = np.asarray(groups.get(arm, ()), float)
            colour = colours.get(plan.hue.get(arm, ""), PALETTE[0] if not note else PALETTE[-1])
            if values.size > 1:
                _box(axis, values, place, colour)
            # Multiples of the golden ratio spread points evenly and always in the same way.
            offsets = (np.arange(values.size) * 0.618034 % 1 - 0.5) * 0.4
            axis.scatter(values, place + offsets, s=14, color=colour, alpha=0.6, linewidths=0)
        xlabel = f"{alt_text.short(metric, 40)}, last evaluation{note}"
        axis.set(xlabel=xlabel, ylabel="", ylim=(len(arms) - 0.5, -0.5))
        axis.set_yticks(range(len(arms)), [textwrap.fill(alt_text.short(arm, 90), 32) for arm in arms])
        axis.grid(False, axis="y")
        _scale(axis, "x", last[metric])
    return figure


def _box(axis: Axes, values: np.ndarray, place: int, colour: str) -> None:
    line = {"color": colour, "linewidth": 0.9}
    lines: dict[str, Any] = {f"{part}props": line for part in ("box", "whisker", "cap", "median")}
    axis.boxplot([values], positions=[place], orientation="horizontal", widths=0.6, showfliers=False, **lines)


def _colours(plan: Layout) -> dict[str, str]:
    return dict(zip(dict.fromkeys(plan.hue.values()), PALETTE, strict=False))


def _backdrop(axis: Axes, means: pd.DataFrame) -> None:
    """All arms' means `[step, arm]`: a faint curve each or, of many, their range and its middle half."""
    if means.shape[1] <= MOST:
        # One line with gaps: a panel an arm, each with a line an arm, would be a slow figure.
        heights = np.pad(means.to_numpy(float), ((0, 1), (0, 0)), constant_values=np.nan)
        steps = np.pad(means.index.to_numpy(float), (0, 1), constant_values=np.nan)
        axis.plot(np.tile(steps, means.shape[1]), heights.T.ravel(), color=FAINT, linewidth=0.7)
        return
    for low, high in ((0.0, 1.0), (0.25, 0.75)):
        ends = means.quantile([low, high], axis=1)
        axis.fill_between(means.index, ends.loc[low], ends.loc[high], color=FAINT, alpha=0.5, linewidth=0)


def _curves(axis: Axes, frame: pd.DataFrame, metric: str, plan: Layout) -> None:
    marker = "o" if frame["step"].nunique() == 1 else ""
    for (name, colour), dash in zip(_colours(plan).items(), DASHES, strict=False):
        steps, mean, margin = _intervals(frame[frame["hue"] == name], metric)
        if not len(steps):
            continue
        [line] = axis.plot(steps, mean, color=colour, linewidth=1.6, marker=marker)
        if dash:
            line.set_dashes(dash)
        axis.fill_between(steps, mean - margin, mean + margin, color=colour, alpha=0.2, linewidth=0)


def _intervals(frame: pd.DataFrame, metric: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The steps in order, and at each the mean and the half-width of its 95 % t-interval, as of
    `fdl.margins.mean_and_margin`: of all steps at once, as logs have thousands."""
    values = frame.assign(value=frame[metric].astype(float)).groupby("step")["value"]
    runs = values.count().to_numpy()
    margin = scipy.stats.t.ppf(0.975, runs - 1) * values.std(ddof=1).to_numpy() / np.sqrt(runs)
    mean = values.mean()
    return mean.index.to_numpy(), mean.to_numpy(), margin


def _legend(figure: Figure, plan: Layout) -> None:
    """A legend above the panels, for which the figure grows."""
    colours = {alt_text.short(name, 48): colour for name, colour in _colours(plan).items()}
    if len(colours) < 2:
        return
    width, height = figure.get_size_inches()
    longest = max(map(len, colours))
    columns = max(1, min(4, int(width / (0.6 + 0.09 * longest))))
    figure.set_size_inches(width, height + 0.2 + 0.2 * math.ceil(len(colours) / columns))
    lines = [Line2D([], [], color=colour) for colour in colours.values()]
    for line, dash in zip(lines, DASHES, strict=False):
        if dash:
            line.set_dashes(dash)
    place: dict[str, Any] = {"loc": "outside upper left", "frameon": False, "alignment": "left"}
    legend = figure.legend(lines, [""] * len(lines), title=plan.title, ncols=columns, **place)
    for text, label in zip(legend.get_texts(), colours, strict=True):
        text.set_text(label)  # given as a label, a name with a leading underscore would be skipped


def _scale(axis: Axes, side: Literal["x", "y"], values: pd.Series) -> None:
    """A logarithmic scale where positive values span more than three decades."""
    if not (len(values) and values.min() > 0 and values.max() > 1e3 * values.min()):
        return
    axis.set(**{f"{side}scale": "log"})
    for one in axis.figure.axes:  # those that share it have a formatter of their own
        ruler: Axis = getattr(one, f"{side}axis")
        # Matplotlib's own writes powers as formulas, which are off: a $ in a name is a dollar sign.
        ruler.set_major_formatter(FuncFormatter(lambda value, _: formats.plain(value)))
        ruler.set_minor_formatter(NullFormatter())
