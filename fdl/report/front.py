"""The Pareto front of a search by several metrics, drawn: what validation chose, and what fresh seeds say."""

import itertools
import math
from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fdl import formats
from fdl.report import alt_text
from fdl.report.style import FAINT, INK, NARROW, PALETTE, STYLE, WIDE
from fdl.result import Result
from fdl.text import counted


def front(result: Result) -> tuple[Figure, str] | None:
    """The trials of a search by several metrics, its front, and what that came to from fresh seeds, a panel
    for each pair of metrics; the same in words. None where no search by several metrics is told."""
    search = result.meta.get("search", {})
    pairs = list(itertools.combinations(search.get("better", ()), 2))
    if not pairs:
        return None
    table = result.table()
    across = min(len(pairs), 3)
    down = math.ceil(len(pairs) / across)
    with matplotlib.rc_context(STYLE):
        size = (NARROW if across == 1 else WIDE, 0.4 + (4.2 if across == 1 else 3.2) * down)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(down, across, squeeze=False).flatten()
        for axis, pair in zip(axes, pairs, strict=False):
            _panel(axis, pair, search, table)
        for axis in axes[len(pairs) :]:
            axis.remove()
        places = {"loc": "outside upper left", "frameon": False, "ncols": 3}
        figure.legend(*axes[0].get_legend_handles_labels(), **places)
    return figure, _in_words(search, table)


def _panel(axis: Axes, pair: tuple[str, str], search: Mapping[str, Any], table: pd.DataFrame) -> None:
    """Trials by two metrics of validation; the front from fresh seeds with 95 % intervals."""
    values = np.array([[trial[metric] for metric in pair] for trial in search["trials"]], float)
    axis.plot(*values.T, "o", color=FAINT, markeredgecolor=INK, markeredgewidth=0.4, label="trials")
    axis.plot(*values[search["front"]].T, "o", color=PALETTE[0], label="the front, by validation")
    x, y = (_judging(metric, table) for metric in pair)
    margins = {"xerr": table[f"{x} ±"], "yerr": table[f"{y} ±"]}
    label = "the front, from fresh seeds"
    axis.errorbar(table[x], table[y], **margins, fmt="s", color=PALETTE[1], elinewidth=0.9, label=label)
    xlabel, ylabel = (_label(metric, table) for metric in pair)
    axis.set(xlabel=xlabel, ylabel=ylabel)


def _judging(metric: str, table: pd.DataFrame) -> str:
    """The metric by which fresh seeds are shown: that of test of the same name, if there is one."""
    on_test = f"test/{metric.partition('/')[2]}"
    return on_test if on_test in table else metric


def _label(metric: str, table: pd.DataFrame) -> str:
    judging = _judging(metric, table)
    return alt_text.short(metric if judging == metric else f"{metric}; fresh seeds: {judging}", 60)


def _in_words(search: Mapping[str, Any], table: pd.DataFrame) -> str:
    judging = [_judging(metric, table) for metric in search["better"]]
    each = []
    for row in table.head(alt_text.MOST).to_dict("records"):
        told = ", ".join(f"{name} {formats.estimate(row[name], row[f'{name} ±'])}" for name in judging)
        each.append(f"{alt_text.short(str(row['arm']), 80)}: {told}")
    more = len(table) - len(each)
    return (
        f"The front: {len(search['front'])} of {counted(len(search['trials']), 'trial')} by "
        f"{' and '.join(search['better'])}. From fresh seeds: {'; '.join(each)}"
        f"{f'; and {more} more' if more else ''}."
    )
