"""Elastic deformation: an image as if drawn on rubber."""

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from fdl.arguments import NotNegative, Positive, checked
from fdl.data.augmentation.base import by_image, cast_like
from fdl.data.sources import Augmentation


@checked
def elastic(
    *, strength: NotNegative[float | jax.Array], smoothness: Positive[float | jax.Array] = 4.0
) -> Augmentation:
    """Moves every pixel by a smooth random distance; what comes from outside the image is 0.

    Simard et al. 2003, Best Practices for Convolutional Neural Networks Applied to Visual Document
    Analysis, sec. 2: distances down and right, independent and uniform in -1..1 at each pixel, are
    smoothed by a Gaussian and multiplied by the strength. Pixels are interpolated bilinearly.

    Args:
      strength: α, in pixels before smoothing; 0 changes nothing. The paper's for 29 × 29 is 34.
      smoothness: σ, the Gaussian's standard deviation in pixels, above 0; the paper's is 4. At the
        edges its weights inside the image are made to sum to 1.

    Example:
      >>> bend = fdl.data.elastic(strength=2.0)
      >>> batch = {"x": np.zeros((8, 28, 28, 1), np.float32)}
      >>> jax.eval_shape(bend, batch, jax.random.key(0))["x"].shape
      (8, 28, 28, 1)
    """

    def row(image: jax.Array, key: jax.Array) -> jax.Array:
        field = jax.random.uniform(key, (2, *image.shape[:2]), minval=-1.0, maxval=1.0)
        return displaced(image, strength * smoothed(field, smoothness))

    return by_image(row)


def smoothed(field: jax.Array, sigma: float | jax.Array) -> jax.Array:
    """`field` `[..., H, W]` under a Gaussian of standard deviation `sigma`, its weights normalised."""
    rows, columns = (_weights(size, sigma) for size in field.shape[-2:])
    return jnp.einsum("ih,...hw,jw->...ij", rows, field, columns, precision="highest")


def displaced(image: jax.Array, distances: jax.Array) -> jax.Array:
    """The image `[H, W, C]` whose pixel (r, c) is that at `(r, c) + distances[:, r, c]`; `[2, H, W]`."""
    grid = jnp.stack(jnp.meshgrid(*map(jnp.arange, image.shape[:2]), indexing="ij"))
    places = list(grid + distances)
    sample = lambda plane: map_coordinates(plane, places, order=1)  # noqa: E731
    return cast_like(jax.vmap(sample, in_axes=-1, out_axes=-1)(image.astype(jnp.float32)), image)


def _weights(size: int, sigma: float | jax.Array) -> jax.Array:
    """What each of `size` places gives to each, `[size, size]`; rows sum to 1."""
    place = jnp.arange(size)
    return jax.nn.softmax(-0.5 * jnp.square((place[:, None] - place) / sigma), axis=-1)
