"""Parallel coordinates: what many arms have in their fields, and what each came to."""

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from fdl.cells import identities, text
from fdl.report import alt_text
from fdl.report.layout import MOST
from fdl.report.style import FAINT, PALETTE, STYLE, WIDE
from fdl.result import Result

LINES = 512
"""Arms that are drawn at most: the first and the last, and some of every rank between."""
TICKS = 8


def parallel_coordinates(result: Result, metric: str) -> Figure:
    """A line an arm across an axis for each field that varies, to the mean of the last `metric` over seeds.

    The twelve arms with the highest mean have one colour, the twelve with the lowest another, all others
    are faint: of more than 512 arms as many, evenly spaced by rank. Arms without a mean are left out, and of
    fewer than 24 the higher half has the one colour. Numbers that span three decades are spaced by their
    logarithm, values that are no numbers evenly, by their first appearance.
    """
    fields = result.varying
    means = result.last().groupby("arm", sort=False)[metric].mean().astype(float)
    means = means[np.isfinite(means)].sort_values(kind="stable")
    rows = result.runs().drop_duplicates("arm").set_index("arm").loc[means.index]
    axes = [*(_axis(rows[field]) for field in fields), _axis(means)]
    heights = np.column_stack([places for places, _ in axes])
    end = min(MOST, len(means)) // 2
    drawn = np.unique(np.linspace(0, len(means) - 1, min(LINES, len(means))).round().astype(int))
    kinds = (
        (drawn[(drawn >= end) & (drawn < len(means) - end)], FAINT, 0.5),
        (np.arange(end), PALETTE[1], 1.2),
        (np.arange(len(means) - end, len(means)), PALETTE[0], 1.2),
    )
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDE, 4.2), layout="constrained")
        axis = figure.subplots()
        across = np.arange(len(axes), dtype=float)
        for chosen, colour, width in kinds:
            lines = [np.column_stack([across, heights[place]]) for place in chosen]
            axis.add_collection(LineCollection(lines, colors=colour, linewidths=width))
        for place, (_, ticks) in enumerate(axes):
            axis.axvline(place, color=FAINT, linewidth=0.8, zorder=0)
            for height, label in ticks:
                name = alt_text.short(label, 14)
                axis.text(place - 0.02, height, name, fontsize=7, ha="right", va="center")
        names = [alt_text.short(name, 20) for name in (*fields, metric)]
        axis.set(xlim=(-0.4, len(axes) - 0.9), ylim=(-0.05, 1.05), yticks=[])
        axis.set_xticks(across, names)
        axis.grid(False)
        axis.spines["left"].set_visible(False)
        axis.set_title(f"{end} highest and {end} lowest of {len(means)} arms in colour")
    return figure


def _axis(column: pd.Series) -> tuple[np.ndarray, list[tuple[float, str]]]:
    """Where each value lies from 0 to 1, and the marks: their places and labels."""
    there = identities(column)
    if all(isinstance(value, int | float) and not isinstance(value, bool) for _, value in there):
        values = np.array([float(value) for _, value in there])
        low, high = values.min(), values.max()
        log = low > 0 and high >= 1e3 * low
        scaled = np.log(values) if log else values
        low, high = scaled.min(), scaled.max()
        known = np.unique(scaled)
        marks = known if len(known) <= TICKS else np.linspace(low, high, 5)
        width = high - low or 1.0
        labels = [text(float(f"{mark:.3g}")) for mark in (np.exp(marks) if log else marks)]
        return (scaled - low) / width, list(zip(((marks - low) / width).tolist(), labels, strict=True))
    order = {one: place for place, one in enumerate(dict.fromkeys(there))}
    width = max(len(order) - 1, 1)
    every = range(0, len(order), -(-len(order) // TICKS))
    names = list(order)
    marks = [(place / width, text(names[place][1])) for place in every]
    return np.array([order[one] / width for one in there]), marks
