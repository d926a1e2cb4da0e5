"""The figure of a row of claims: the differences that they rest on, with their intervals."""

import io
import textwrap
from collections.abc import Mapping
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from fdl.report.style import INK, PALETTE, STYLE

_MOST = 8
"""So many differences of a claim are drawn, those first that decide."""


def effects_figure(claims: Mapping[str, Mapping[str, Any]]) -> Figure | None:
    """A line for each difference, a panel for each metric; None where no claim compares arms.

    Args:
      claims: by id, as `fdl.stats.recorded.recorded_claims` gives them.
    """
    drawn = [
        (key, one)
        for key, claim in claims.items()
        for one in claim["effects"][:_MOST]
        if one["difference"] is not None
    ]
    metrics = list(dict.fromkeys(one["metric"] for _, one in drawn))
    if not drawn:
        return None
    counts = [sum(one["metric"] == metric for _, one in drawn) for metric in metrics]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.2, 0.55 * len(metrics) + 0.45 * len(drawn)), layout="constrained")
        axes = figure.subplots(len(metrics), 1, squeeze=False, height_ratios=[n + 1 for n in counts])
        for axis, metric in zip(axes[:, 0], metrics, strict=True):
            _panel(axis, metric, [(key, one) for key, one in drawn if one["metric"] == metric], list(claims))
    return figure


def _panel(axis: Any, metric: str, drawn: list[tuple[str, Any]], keys: list[str]) -> None:
    axis.axvline(0, color=INK, linewidth=0.8)
    for place, (key, one) in enumerate(drawn):
        colour = PALETTE[keys.index(key) % len(PALETTE)]
        ends = [one["difference"] if one[name] is None else one[name] for name in ("low", "high")]
        axis.plot(ends, [place, place], color=colour, linewidth=2)
        axis.plot([one["difference"]], [place], "o", color=colour, markersize=6)
    names = [f"{key}: " * (len(keys) > 1) + f"{one['arm']} − {one['baseline']}" for key, one in drawn]
    axis.set_yticks(range(len(drawn)), labels=[textwrap.fill(name, 30) for name in names])
    axis.set(ylim=(len(drawn) - 0.5, -0.5), title=f"Difference in {metric}, 95 % interval")
    axis.locator_params(axis="x", nbins=6)
    axis.grid(visible=False, axis="y")


def figure_svg(figure: Figure) -> bytes:
    """A figure as SVG: the same figure gives the same bytes, its text is text."""
    written = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "fdl"}):
        figure.savefig(written, format="svg", metadata={"Date": None})
    return written.getvalue()
