"""Figures: learning curves with bands, and what every seed came to."""

from collections.abc import Callable
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fdl.report import tables
from fdl.result import Result, check_metric, mean_and_margin

# Every colour keeps a contrast of 3:1 to white and to near-black: one figure serves both themes.
PALETTE = ("#2f7fc1", "#d1592a", "#2f9461", "#9a6bc9", "#948220", "#d0529a", "#1b93a1", "#808080")
INK = "#24292f"
"""The colour of text and axes; a page in dark colours replaces it."""
FAINT = "#c9ced6"
"""The colour of grids and of curves in the background; a page in dark colours replaces it."""
WIDTH = 9.6
"""Inches."""

_STYLE = {
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 9,
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


def learning_curves(result: Result, metric: str) -> Figure:
    """The mean of `metric` over seeds by step, with bands of its 95 % t-interval.

    Failed runs are left out. Two crossed fields become panels and colours; up to eight arms share
    one panel; more get a panel each, over the means of the others.

    Raises:
      ValueError: no such metric.
    """
    check_metric(result, metric)
    frame = result.frame[(result.frame["status"] != "failed") & result.frame[metric].notna()]
    layout = _layout(result)
    panels, hues = list(dict.fromkeys(layout.panel.values())), list(dict.fromkeys(layout.hue.values()))
    frame = frame.assign(panel=frame["arm"].map(layout.panel), hue=frame["arm"].map(layout.hue))
    across = min(len(panels), 4 if layout.backdrop else 3)
    down = -(-len(panels) // across)
    height = 3.4 if down == 1 else 0.4 + (1.7 if layout.backdrop else 2.5) * down
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).flat
        for axis, name in zip(axes, panels, strict=False):
            if layout.backdrop:
                for _, others in frame.groupby("arm", sort=False):
                    means = others.groupby("step")[metric].mean()
                    axis.plot(means.index, means, color=FAINT, linewidth=0.6)
            _curves(axis, frame[frame["panel"] == name], metric, hues)
            axis.set(title=name, xlabel="step", ylabel=metric)
            axis.label_outer()
        for axis in axes[len(panels) :]:
            axis.remove()
        ...
    return figure
