"""Figures: learning curves with bands, and what every seed came to."""

import math
import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fdl.cells import texts
from fdl.report import tables
from fdl.result import Result, check_metric, mean_and_margin

# Every colour keeps a contrast of 3:1 to white and to near-black: one figure serves both themes.
PALETTE = ("#2f7fc1", "#d1592a", "#2f9461", "#9a6bc9", "#948220", "#d0529a", "#1b93a1", "#808080")
DASHES: tuple[Any, ...] = (
    "",
    (4, 1.5),
    (1, 1),
    (3, 1.25, 1.5, 1.25),
    (5, 1, 1, 1),
    (5, 1, 2, 1, 2, 1),
    (2, 2, 3, 1.5),
    (1, 2.5, 3, 1.2),
)
"""One per colour, so that colour is never the only difference."""
INK = "#24292f"
"""The colour of text and axes; a page in dark colours replaces it."""
FAINT = "#c9ced6"
"""The colour of grids and of curves in the background; a page in dark colours replaces it."""
WIDE, NARROW = 9.6, 6.8
"""Inches: of a figure with several panels, and with one."""

_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,  # a $ in a name is a dollar sign
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}


class _Layout(NamedTuple):
    """Which arms share a panel and which a colour: labels by arm, in the order of the sweep.

    Attributes:
      panel: the panel of each arm.
      hue: the colour of each arm.
      title: the heading of the legend.
      backdrop: whether each panel also shows all other arms faintly.
    """

    panel: dict[str, str]
    hue: dict[str, str]
    title: str
    backdrop: bool = False


class Drawing(NamedTuple):
    """A figure, what it is called, and what it shows in words."""

    metric: str
    kind: str
    figure: Figure
    alt: str


def draw(result: Result) -> list[Drawing]:
    """The figures of a report: learning curves for each main metric and, where an arm has several
    runs, the distribution of the last values."""
    last = result.last()
    several = last.duplicated("arm").any()
    drawings = []
    for metric in tables.main_metrics(result) if len(last) else ():
        alt = f"Learning curves: the mean of {metric} over seeds by step, for each arm."
        drawings.append(Drawing(metric, "curves", learning_curves(result, metric), alt))
        if several:
            alt = f"Box plots: {metric} of every seed at the last evaluation, by arm."
            drawings.append(Drawing(metric, "distribution", distribution(result, metric), alt))
    return drawings


def learning_curves(result: Result, metric: str) -> Figure:
    """The mean of `metric` over seeds by step, with bands of its 95 % t-interval.

    Failed runs are left out. Two crossed fields become panels and colours; otherwise up to eight
    arms share one panel, and more get a panel each, over the means of the others.

    Raises:
      ValueError: no such metric.
    """
    check_metric(result, metric)
    layout = _layout(result)
    panels = list(dict.fromkeys(layout.panel.values()))
    frame = result.frame[(result.frame["status"] != "failed") & result.frame[metric].notna()]
    frame = frame.assign(panel=frame["arm"].map(layout.panel), hue=frame["arm"].map(layout.hue))
    means = frame.pivot_table(index="step", columns="arm", values=metric)
    across = min(len(panels), 4 if layout.backdrop else 3)
    down = math.ceil(len(panels) / across)
    height = 3.2 if down == 1 else 0.4 + (1.6 if layout.backdrop else 2.6) * down
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(NARROW if len(panels) == 1 else WIDE, height), layout="constrained")
        axes = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).flatten()
        for index, (axis, name) in enumerate(zip(axes, panels, strict=False)):
            if layout.backdrop and not means.empty:
                axis.plot(means.index, means, color=FAINT, linewidth=0.7)
            _curves(axis, frame[frame["panel"] == name], metric, layout)
            lowest = index + across >= len(panels)
            title = textwrap.fill(name, 84 // across)
            axis.set(title=title, xlabel="step" if lowest else "", ylabel="" if index % across else metric)
            axis.tick_params(labelbottom=lowest)
        for axis in axes[len(panels) :]:
            axis.remove()
        _log_scale(axes[0].set_yscale, frame[metric])
        _legend(figure, layout)
    return figure


def distribution(result: Result, metric: str) -> Figure:
    """The last `metric` of every run that did not fail: a box per arm over a point per seed.

    Raises:
      ValueError: no such metric.
    """
    check_metric(result, metric)
    layout = _layout(result)
    arms = list(layout.hue)
    last = result.last()
    last = last[last[metric].notna()]
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(NARROW, 0.8 + 0.34 * len(arms)), layout="constrained")
        axis = figure.subplots()
        for place, (arm, hue) in enumerate(layout.hue.items()):
            values = last.loc[last["arm"] == arm, metric].to_numpy(float)
            colour = _colours(layout)[hue]
            if values.size > 1:
                _box(axis, values, place, colour)
            # Multiples of the golden ratio spread points evenly and always in the same way.
            offsets = (np.arange(values.size) * 0.618034 % 1 - 0.5) * 0.4
            axis.scatter(values, place + offsets, s=14, color=colour, alpha=0.6, linewidths=0)
        axis.set(xlabel=f"{metric}, last evaluation", ylabel="", ylim=(len(arms) - 0.5, -0.5))
        axis.set_yticks(range(len(arms)), [textwrap.fill(arm, 32) for arm in arms])
        axis.grid(False, axis="y")
        _log_scale(axis.set_xscale, last[metric])
    return figure


def _box(axis: Axes, values: np.ndarray, place: int, colour: str) -> None:
    line = {"color": colour, "linewidth": 0.9}
    lines: dict[str, Any] = {f"{part}props": line for part in ("box", "whisker", "cap", "median")}
    axis.boxplot([values], positions=[place], orientation="horizontal", widths=0.6, showfliers=False, **lines)


def _layout(result: Result) -> _Layout:
    fields = result.varying
    first = result.frame.drop_duplicates("arm").set_index("arm")
    labels = {field: dict(zip(first.index, texts(first[field]), strict=True)) for field in fields}
    counts = {field: len(set(labels[field].values())) for field in fields}
    arms = {str(arm): str(arm) for arm in first.index}
    if len(fields) == 2 and len(arms) == math.prod(counts.values()):
        hue = min(reversed(fields), key=lambda field: counts[field])
        panel = fields[0] if hue == fields[1] else fields[1]
        if counts[hue] <= len(PALETTE) and counts[panel] <= 12:
            return _Layout(_titled(panel, labels[panel]), labels[hue], hue)
    one = len(fields) == 1
    if len(arms) <= len(PALETTE):
        hues = labels[fields[0]] if one else arms
        return _Layout(dict.fromkeys(arms, ""), hues, fields[0] if one else "")
    panels = _titled(fields[0], labels[fields[0]]) if one else arms
    return _Layout(panels, dict.fromkeys(arms, ""), "", backdrop=True)


def _titled(field: str, labels: dict[str, str]) -> dict[str, str]:
    return {arm: f"{field} = {label}" for arm, label in labels.items()}


def _colours(layout: _Layout) -> dict[str, str]:
    return dict(zip(dict.fromkeys(layout.hue.values()), PALETTE, strict=False))


def _curves(axis: Axes, frame: pd.DataFrame, metric: str, layout: _Layout) -> None:
    colours = _colours(layout)
    single = frame["step"].nunique() == 1
    if not frame.empty:
        sns.lineplot(
            frame,
            x="step",
            y=metric,
            hue="hue",
            palette=colours,
            style="hue",
            dashes=dict(zip(colours, DASHES, strict=False)),
            markers=dict.fromkeys(colours, "o") if single else False,
            errorbar=_interval,
            err_kws={"linewidth": 0},
            linewidth=1.6,
            legend=False,
            ax=axis,
        )


def _interval(values: pd.Series) -> tuple[float, float]:
    mean, margin = mean_and_margin(np.asarray(values, float))
    return mean - margin, mean + margin


def _legend(figure: Figure, layout: _Layout) -> None:
    """A legend above the panels, for which the figure grows."""
    colours = _colours(layout)
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
    legend = figure.legend(lines, [""] * len(lines), title=layout.title, ncols=columns, **place)
    for text, label in zip(legend.get_texts(), colours, strict=True):
        text.set_text(label)  # given as a label, a name with a leading underscore would be skipped


def _log_scale(set_scale: Callable[[str], None], values: pd.Series) -> None:
    """A logarithmic scale where positive values span more than three decades."""
    if len(values) and values.min() > 0 and values.max() > 1e3 * values.min():
        set_scale("log")
