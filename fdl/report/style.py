"""Colours, dashes and sizes of all figures."""

from typing import Any

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

STYLE: dict[Any, Any] = {
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
