"""Rendered shapes with known factors and a caption, in the manner of dSprites."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from fdl.arguments import Count, checked
from fdl.data.datasets.data_set import DataSet, Origin

Row = dict[str, jax.Array]

SHAPES = ("square", "triangle", "ellipse", "heart")
SIZES = ("small", "medium", "large")
COLOURS = ("red", "green", "blue", "yellow", "magenta", "cyan")
ROWS = ("top", "middle", "bottom")
COLUMNS = ("left", "centre", "right")
CAPTION_WORDS = ("a", "at", "the", *SIZES, *COLOURS, *SHAPES, *ROWS, *COLUMNS)
"""The caption's vocabulary: token t is word t."""
SHAPE_FACTORS = {"shape": 4, "size": 3, "orientation": 40, "row": 9, "column": 9, "colour": 6}
"""How many values each factor has, in the order of a row's `"factors"`."""

_RGB = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1))
_RADIUS = (0.12, 0.18, 0.24)  # of small, middle and large, as shares of the side


@checked
def captioned_shape(key: jax.Array, *, pixels: Count = 32) -> Row:
    """A coloured shape on black, all of whose factors are independent and uniform.

    The factors are `jax.random.randint(key, (6,), 0, [4, 3, 40, 9, 9, 6])`, in the order of
    `SHAPE_FACTORS`. Lengths are in image widths, right and down from the upper left corner; pixel (r, c)
    has its centre at ((c + 1/2) / S, (r + 1/2) / S).

    - size: the circle around the shape has radius ρ = 0.12, 0.18 or 0.24.
    - orientation: turned by 2π · orientation / 40, counterclockwise as seen.
    - row, column: the shape's origin is at 1/4 + row / 16 from the top, 1/4 + column / 16 from the left.
    - colour: as `COLOURS`, with each of red, green and blue 0 or 1.
    - shape: the points with distance d ≤ 0, where (u, v) are the coordinates to the right and up from
      the origin, turned back by the orientation and divided by ρ. Square and triangle are regular
      polygons with a corner at angle π/4 or π/2: d is the largest of the distances beyond the lines
      through their sides, `u cos α + v sin α - cos(π / k)` for the k normals α = corner + π (2i + 1) / k.
      The ellipse has half-axes 1 and 1/2: d = (u² + 4v² - 1) / (2 √(u² + 16v²)), the denominator at
      least 1e-6. The heart, in x = 0.7 |u|, y = 0.7 v + 0.55, is a square on its corner and a disc
      on each upper side: d is the lesser of (x + |y - 1/2| - 1/2) / √2 and
      √((x - 1/4)² + (y - 3/4)²) - √2/4, divided by 0.7.

    A pixel is covered by `clip(1/2 - d ρ S, 0, 1)`, with d at its centre, and is
    `floor(255 · covered + 1/2)` in the colour's channels.

    The caption is the 8 tokens of `a <size> <colour> <shape> at the <row> <column>`; words for row
    and column name thirds of their values.

    Args:
      key: names the row.
      pixels: S, the width and height, at least 8.

    Returns:
      `x`, uint8 `[S, S, 3]`; `y`, int32 `[]`, the shape; `factors`, int32 `[6]`; `caption`, int32
      `[8]`, see `caption_text`.

    Raises:
      ValueError: fewer than 8 pixels.

    Example:
      >>> row = jax.eval_shape(fdl.data.synthetic.captioned_shape, jax.random.key(0))
      >>> {name: one.shape for name, one in row.items()}
      {'caption': (8,), 'factors': (6,), 'x': (32, 32, 3), 'y': ()}
    """
    if pixels < 8:
        raise ValueError(f"pixels is {pixels}; expected at least 8, so that shapes can be told apart")
    factors = jax.random.randint(
        key, (len(SHAPE_FACTORS),), 0, np.array(list(SHAPE_FACTORS.values()), np.int32)
    )
    image = _render(factors, pixels)
    return {"x": image, "y": factors[0], "factors": factors, "caption": _caption(factors)}


@checked
def caption_text(tokens: ArrayLike) -> str:
    """The words of a caption's tokens `[L]`, with spaces between.

    Raises:
      ValueError: a token that is no word's number.

    Example:
      >>> fdl.data.synthetic.caption_text([0, 4, 6, 12])
      'a medium red square'
    """
    numbers = np.asarray(tokens)
    if numbers.ndim != 1 or not np.isin(numbers, np.arange(len(CAPTION_WORDS))).all():
        raise ValueError(f"tokens are {numbers.tolist()}; expected a list of 0 to {len(CAPTION_WORDS) - 1}")
    return " ".join(CAPTION_WORDS[number] for number in numbers)


def _caption(factors: jax.Array) -> jax.Array:
    """The 8 tokens for factors `[6]`."""
    shape, size, _, row, column, colour = factors
    first = {words[0]: CAPTION_WORDS.index(words[0]) for words in (SIZES, COLOURS, SHAPES, ROWS, COLUMNS)}
    return jnp.stack(
        [
            jnp.int32(CAPTION_WORDS.index("a")),
            first["small"] + size,
            first["red"] + colour,
            first["square"] + shape,
            jnp.int32(CAPTION_WORDS.index("at")),
            jnp.int32(CAPTION_WORDS.index("the")),
            first["top"] + row // 3,
            first["left"] + column // 3,
        ]
    )


def _render(factors: jax.Array, pixels: int) -> jax.Array:
    """The image of factors `[6]`, uint8 `[S, S, 3]`."""
    shape, size, orientation, row, column, colour = factors
    radius = jnp.array(_RADIUS, jnp.float32)[size]
    turn = 2 * math.pi * np.arange(SHAPE_FACTORS["orientation"]) / SHAPE_FACTORS["orientation"]
    cosine = jnp.asarray(np.cos(turn), jnp.float32)[orientation]
    sine = jnp.asarray(np.sin(turn), jnp.float32)[orientation]
    centre = (np.arange(pixels, dtype=np.float32) + 0.5) / pixels
    right = (centre[None, :] - (0.25 + column / 16)) / radius
    up = ((0.25 + row / 16) - centre[:, None]) / radius
    u, v = cosine * right + sine * up, cosine * up - sine * right
    distances = jnp.stack(
        [_polygon(u, v, 4, math.pi / 4), _polygon(u, v, 3, math.pi / 2), _ellipse(u, v), _heart(u, v)]
    )
    covered = jnp.clip(0.5 - distances[shape] * radius * pixels, 0, 1)
    level = jnp.floor(255 * covered + 0.5).astype(jnp.uint8)
    return level[..., None] * jnp.array(_RGB, jnp.uint8)[colour]


def _polygon(u: jax.Array, v: jax.Array, sides: int, corner: float) -> jax.Array:
    """How far beyond its nearest side; next to a side the Euclidean distance, beyond a corner less."""
    normals = [corner + math.pi * (2 * i + 1) / sides for i in range(sides)]
    beyond = jnp.stack([u * math.cos(normal) + v * math.sin(normal) for normal in normals])
    return jnp.max(beyond, axis=0) - math.cos(math.pi / sides)


def _ellipse(u: jax.Array, v: jax.Array) -> jax.Array:
    """The distance to first order: the implicit function over the length of its gradient."""
    return (u**2 + 4 * v**2 - 1) / (2 * jnp.maximum(jnp.sqrt(u**2 + 16 * v**2), 1e-6))


def _heart(u: jax.Array, v: jax.Array) -> jax.Array:
    """The distance to the union of a square on its corner and two discs."""
    x, y = 0.7 * jnp.abs(u), 0.7 * v + 0.55
    square = (x + jnp.abs(y - 0.5) - 0.5) / math.sqrt(2)
    disc = jnp.sqrt((x - 0.25) ** 2 + (y - 0.75) ** 2) - math.sqrt(2) / 4
    return jnp.minimum(square, disc) / 0.7


DATA_SETS = (
    DataSet("captioned_shape", "coloured shapes with captions, 32 x 32 x 3", Origin.ENDLESS, captioned_shape),
)
