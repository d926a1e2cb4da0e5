"""Several rendered shapes in one image, with boxes to detect and classes to segment."""

import jax
import jax.numpy as jnp

from fdl.arguments import Count, checked
from fdl.data.synthetic.shapes import captioned_shape

Row = dict[str, jax.Array]


@checked
def scene(key: jax.Array, *, pixels: Count = 32, shapes: Count = 2) -> Row:
    """Shapes as `captioned_shape(fold_in(key, k))`, k = 0, 1, ..., each drawn over those before it.

    A pixel is shape k's where the brightest channel of that shape's own image is 128 or more and no later
    shape's is; its colour is that of this image, and black where no shape is.

    Args:
      key: names the row.
      pixels: S, the width and height, at least 8.
      shapes: K, 1 or more.

    Returns:
      `x`, uint8 `[S, S, 3]`; `boxes`, float32 `[K, 4]`, top, left, bottom and right edge of each shape's
      own pixels, in pixels from the upper left corner; `labels`, int32 `[K]`, its number in `SHAPES`, or -1
      (and a box of zeros) where all of it is hidden; `y`, int32 `[S, S]`, 0 for black, else 1 + the
      number of the pixel's shape.

    Raises:
      ValueError: fewer than 8 pixels, or no shapes.
    """
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(shapes))
    rows = jax.vmap(lambda one: captioned_shape(one, pixels=pixels))(keys)
    covered = jnp.max(rows["x"], axis=-1) >= 128
    numbers = jnp.arange(shapes)[:, None, None]
    top = jnp.max(jnp.where(covered, numbers + 1, 0), axis=0)  # 0 where no shape is
    own = top == numbers + 1
    images = jnp.sum(jnp.where(own[..., None], rows["x"], 0), axis=0, dtype=jnp.uint8)
    classes = jnp.sum(jnp.where(own, 1 + rows["y"][:, None, None], 0), axis=0, dtype=jnp.int32)
    boxes, seen = jax.vmap(_box)(own)
    return {"x": images, "boxes": boxes, "labels": jnp.where(seen, rows["y"], -1), "y": classes}


def _box(own: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The edges `[4]` around the true pixels of `own` `[S, S]`, and whether there are any."""
    low, high = [], []
    for axis in (1, 0):
        line = jnp.any(own, axis=axis)
        low.append(jnp.argmax(line))
        high.append(len(line) - jnp.argmax(line[::-1]))
    seen = jnp.any(own)
    return jnp.where(seen, jnp.stack([*low, *high]), 0).astype(jnp.float32), seen
