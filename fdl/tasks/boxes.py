"""Boxes as maps and back: what a detector is trained towards, and what its maps mean."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fdl import losses
from fdl.models.detector import Maps


class Detections(NamedTuple):
    """Boxes by falling score.

    Attributes:
      boxes: top, left, bottom, right, in pixels, `[B, K, 4]`.
      scores: probabilities, `[B, K]`.
      labels: classes, int32 `[B, K]`.
    """

    boxes: jax.Array
    scores: jax.Array
    labels: jax.Array


class Targets(NamedTuple):
    """What one image's maps should say.

    Attributes:
      heat: 1 in the cells that have the centre of an object of the class, falling around them,
        `[h, w, C]`.
      cells: row and column of each object's cell, int32 `[M, 2]`.
      size: heights and widths in cells, `[M, 2]`.
      offset: of the centres from their cells' upper left corners, in cells, `[M, 2]`.
      real: which of the M there are, bool `[M]`.
    """

    heat: jax.Array
    cells: jax.Array
    size: jax.Array
    offset: jax.Array
    real: jax.Array


def targets(
    boxes: jax.Array, labels: jax.Array, *, shape: tuple[int, int], cell: int, classes: int
) -> Targets:
    """The targets of one image's objects.

    Zhou et al. 2019, Objects as Points, sec. 3: around the cell of its centre an object's heat falls as
    a Gaussian; here the standard deviations are a sixth of its height and width. Where objects of one
    class meet, the largest heat counts.

    Args:
      boxes: top, left, bottom, right, in pixels, `[M, 4]`; centres are inside the image.
      labels: `[M]`; negative where there is no object. Of one above C - 1 all heat is NaN.
      shape: h and w, the cells.
      cell: pixels in a cell's side.
      classes: C.
    """
    real = labels >= 0
    corners = boxes / cell
    size = corners[:, 2:] - corners[:, :2]
    centre = (corners[:, 2:] + corners[:, :2]) / 2
    cells = jnp.clip(jnp.floor(centre), 0, jnp.array(shape) - 1)
    deviation = jnp.maximum(size / 6, 1e-3)
    grid = jnp.stack(jnp.meshgrid(*map(jnp.arange, shape), indexing="ij"), axis=-1)
    distance = (grid - cells[:, None, None]) / deviation[:, None, None]
    bell = jnp.exp(-0.5 * jnp.sum(jnp.square(distance), axis=-1))  # [M, h, w]
    own = jnp.where(real[:, None], losses.one_hot(labels, classes), 0)[:, None, None]
    heat = jnp.max(bell[..., None] * own, axis=0)
    return Targets(heat, cells.astype(jnp.int32), size, centre - cells, real)


def image_losses(maps: Maps, wanted: Targets, weights: jax.Array | float = 1.0) -> dict[str, jax.Array]:
    """The parts `heat`, `size` and `offset` of one image's loss, scalars; its maps have no axis B.

    See `fdl.tasks.detection`; `weights`, `[C]`, are what the map of each class counts in `heat`.
    """
    objects = jnp.maximum(jnp.sum(wanted.real), 1)
    chance = jax.nn.sigmoid(maps.heat)
    here = jnp.square(1 - chance) * jax.nn.log_sigmoid(maps.heat)
    elsewhere = (1 - wanted.heat) ** 4 * jnp.square(chance) * jax.nn.log_sigmoid(-maps.heat)
    heat = -jnp.sum(weights * jnp.where(wanted.heat == 1, here, elsewhere)) / objects

    def error(values: jax.Array, true: jax.Array) -> jax.Array:
        said = values[wanted.cells[:, 0], wanted.cells[:, 1]]
        return jnp.sum(jnp.abs(said - true) * wanted.real[:, None]) / objects

    return {"heat": heat, "size": error(maps.size, wanted.size), "offset": error(maps.offset, wanted.offset)}


def decode_maps(maps: Maps, *, cell: int, count: int) -> Detections:
    """The `count` highest peaks of the heat maps as boxes.

    Zhou et al. 2019, sec. 3.1: a peak is a cell that is not less than its eight neighbours in its class's
    map; no overlapping boxes are suppressed.

    Args:
      maps: of B images.
      cell: pixels in a cell's side.
      count: K, at most the cells times the classes.
    """
    rows, height, width, classes = maps.heat.shape
    padded = jnp.pad(maps.heat, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
    around = [
        padded[:, down : down + height, right : right + width] for down in range(3) for right in range(3)
    ]
    peaks = jnp.where(maps.heat >= jnp.max(jnp.stack(around), axis=0), maps.heat, -jnp.inf)
    heat, place = jax.lax.top_k(peaks.reshape(rows, -1), count)
    where, labels = place // classes, place % classes

    def at(values: jax.Array) -> jax.Array:
        return jnp.take_along_axis(values.reshape(rows, -1, 2), where[..., None], axis=1)

    centre = jnp.stack([where // width, where % width], axis=-1) + at(maps.offset)
    half = at(maps.size) / 2
    boxes = cell * jnp.concatenate([centre - half, centre + half], axis=-1)
    return Detections(boxes, jax.nn.sigmoid(heat), labels.astype(jnp.int32))
