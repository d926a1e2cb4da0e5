"""Who trained what and when, where several processes trained units of a sweep."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from fdl import formats
from fdl.report import alt_text
from fdl.report.style import PALETTE, STYLE, WIDE
from fdl.text import counted

LABELLED = 24
"""Bars that are labelled at most, the longest."""


def timeline(programs: Sequence[Mapping[str, Any]]) -> tuple[Figure, str] | None:
    """A line a worker with a bar for each unit that it trained to its end, and the same in words; None where
    fewer than two workers are known.

    Args:
      programs: of the units, as `Result.meta` has them: `worker`, and `began` and `ended` in seconds. One
        that was killed and gone on with has its last part alone.
    """
    told = [unit for unit in programs if {"worker", "began", "ended", "arms"} <= unit.keys()]
    workers = list(dict.fromkeys(unit["worker"] for unit in sorted(told, key=lambda unit: unit["began"])))
    if len(workers) < 2:
        return None
    first = min(unit["began"] for unit in told)
    kinds = list(dict.fromkeys(unit.get("program") for unit in told))
    longest = sorted(told, key=lambda unit: unit["began"] - unit["ended"])[:LABELLED]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDE, 0.9 + 0.35 * len(workers)), layout="constrained")
        axis = figure.subplots()
        for unit in told:
            line, began = workers.index(unit["worker"]), unit["began"] - first
            colour = PALETTE[kinds.index(unit.get("program")) % len(PALETTE)]
            length = unit["ended"] - unit["began"]
            axis.barh(line, length, left=began, height=0.7, color=colour, edgecolor="white", linewidth=0.8)
            if unit in longest:
                name = alt_text.short(", ".join(unit["arms"]), 24)
                axis.text(began, line, f" {name}", va="center", fontsize=7, color="white", clip_on=True)
        axis.set_yticks(range(len(workers)), [f"worker {number}" for number in range(1, len(workers) + 1)])
        axis.invert_yaxis()
        axis.grid(False, axis="y")
        axis.set(xlabel="seconds since the first began")
    return figure, _in_words(told, workers)


def _in_words(told: Sequence[Mapping[str, Any]], workers: Sequence[str]) -> str:
    span = max(unit["ended"] for unit in told) - min(unit["began"] for unit in told)
    each = []
    for number, worker in enumerate(workers, 1):
        own = [unit["ended"] - unit["began"] for unit in told if unit["worker"] == worker]
        each.append(
            f"worker {number} ({worker}) trained {counted(len(own), 'unit')} in {formats.duration(sum(own))}"
        )
    more = f" and {len(each) - LABELLED} more workers" if len(each) > LABELLED else ""
    return f"Who trained what, in {formats.duration(span)}: {'; '.join(each[:LABELLED])}{more}."
