"""A histogram as an SVG picture that also holds its numbers, and follows the reader's theme."""

import json
from collections.abc import Mapping, Sequence
from html import escape

from fdl import formats

_WIDTH, _HEIGHT, _TOP, _BOTTOM, _SIDE = 480, 200, 22, 26, 4  # pixels

_PICTURE = """<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" \
viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">
<title>{title}</title>
<metadata>{numbers}</metadata>
<style>
svg {{ --ink: #24292f; --bar: #4c72b0; }}
@media (prefers-color-scheme: dark) {{ svg {{ --ink: #d5dae1; --bar: #7c9fd3; }} }}
text {{ fill: var(--ink); }} path {{ fill: var(--bar); }} line {{ stroke: var(--ink); }}
</style>
{drawing}
</svg>
"""


def chart_of(edges: Sequence[float], counts: Sequence[int], rest: Mapping[str, int], words: str) -> str:
    """A bar for each count; the numbers are the JSON in the element `metadata`.

    Args:
      edges: of the bins, one more than there are counts, or none.
      counts: numbers in each bin.
      rest: how many numbers have no place among the bins, by what they are.
      words: what the picture shows.
    """
    numbers = json.dumps({"edges": list(edges), "counts": list(counts), **rest})
    drawing = (
        _bars(edges, counts) if counts else _label(_WIDTH / 2, _HEIGHT / 2, "no finite number", "middle")
    )
    return _PICTURE.format(
        width=_WIDTH, height=_HEIGHT, title=escape(words), numbers=escape(numbers), drawing=drawing
    )


def _bars(edges: Sequence[float], counts: Sequence[int]) -> str:
    base, tall, wide = _HEIGHT - _BOTTOM, _HEIGHT - _BOTTOM - _TOP, _WIDTH - 2 * _SIDE
    step, most = wide / len(counts), max(counts)
    shapes = [
        f"M{_SIDE + place * step:.2f} {base}v{-tall * count / most:.2f}h{step:.2f}V{base}z"
        for place, count in enumerate(counts)
        if count
    ]
    return "\n".join((
        f'<path d="{"".join(shapes)}"/>',
        f'<line x1="{_SIDE}" y1="{base}" x2="{_WIDTH - _SIDE}" y2="{base}"/>',
        _label(_SIDE, _HEIGHT - 8, formats.number(edges[0]), "start"),
        _label(_WIDTH - _SIDE, _HEIGHT - 8, formats.number(edges[-1]), "end"),
        _label(_SIDE, 14, f"{most:,} in the highest bin", "start"),
    ))  # fmt: skip


def _label(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'
