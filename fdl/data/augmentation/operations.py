"""Pillow's operations on images of bytes, as pure functions of one image and a strength that may be traced.

Each takes an image uint8 `[H, W, C]` and gives another of that shape. Results are Pillow's, but that
products are rounded where Pillow drops their fractions.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fdl.data.augmentation.base import cast_like

Matrix = tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike, ArrayLike, ArrayLike]
"""(a, b, c, d, e, f): the pixel at (x, y) comes from (a x + b y + c, d x + e y + f)."""


def autocontrast(image: jax.Array) -> jax.Array:
    """Stretches each channel so that its least value is 0 and its greatest 255 (`ImageOps.autocontrast`)."""
    _check(image)
    pixels = image.astype(jnp.int32)
    low, high = (limit(pixels, axis=(0, 1)) for limit in (jnp.min, jnp.max))
    stretched = 255 * (pixels - low) // jnp.maximum(high - low, 1)
    return jnp.where(high > low, stretched, pixels).astype(image.dtype)


def equalise(image: jax.Array) -> jax.Array:
    """Makes the values of each channel about as frequent as one another (`ImageOps.equalize`)."""
    _check(image)
    channels = jnp.moveaxis(image, -1, 0)
    return jnp.moveaxis(jax.vmap(_equalised)(channels), 0, -1)


def _equalised(channel: jax.Array) -> jax.Array:
    """One channel `[H, W]`."""
    values = channel.astype(jnp.int32).ravel()
    counts = jnp.zeros(256, jnp.int32).at[values].add(1, mode="promise_in_bounds")
    step = (values.size - counts[jnp.max(values)]) // 255
    below = jnp.cumsum(counts) - counts
    table = jnp.minimum((step // 2 + below) // jnp.maximum(step, 1), 255)
    return jnp.where(step > 0, table[values], values).reshape(channel.shape).astype(channel.dtype)


def solarise(image: jax.Array, threshold: ArrayLike) -> jax.Array:
    """Turns all values at or above the threshold, 0 to 256, into their negatives (`ImageOps.solarize`)."""
    _check(image)
    return jnp.where(image < jnp.asarray(threshold, jnp.float32), image, 255 - image)


def posterise(image: jax.Array, bits: ArrayLike) -> jax.Array:
    """Keeps the upper bits of each value, 1 to 8 of them (`ImageOps.posterize`)."""
    _check(image)
    return image & (255 << (8 - jnp.asarray(bits, jnp.int32))).astype(image.dtype)


def brighten(image: jax.Array, factor: ArrayLike) -> jax.Array:
    """Multiplies by a factor (`ImageEnhance.Brightness`)."""
    return blend(image, jnp.zeros(()), factor)


def contrast(image: jax.Array, factor: ArrayLike) -> jax.Array:
    """Moves away from the mean of the greys (`ImageEnhance.Contrast`)."""
    return blend(image, jnp.mean(greys(image)), factor)


def saturate(image: jax.Array, factor: ArrayLike) -> jax.Array:
    """Moves away from the greys (`ImageEnhance.Color`)."""
    return blend(image, greys(image), factor)


def sharpen(image: jax.Array, factor: ArrayLike) -> jax.Array:
    """Moves away from the image smoothed over 3 × 3 pixels; edges stay (`ImageEnhance.Sharpness`)."""
    pixels = image.astype(jnp.float32)
    height, width, _ = image.shape
    if min(height, width) < 3:
        return image
    near = [pixels[i : height - 2 + i, j : width - 2 + j] for i in range(3) for j in range(3)]
    smooth = (sum(near, 4 * near[4])) / 13
    border = ((1, 1), (1, 1), (0, 0))
    inside = jnp.pad(jnp.ones(smooth.shape, bool), border)
    return blend(image, jnp.where(inside, jnp.pad(smooth, border), pixels), factor)


def turn_hue(image: jax.Array, turns: ArrayLike) -> jax.Array:
    """Turns the hues of an image `[H, W, 3]` on the circle of HSV; 1 turn, and greys, change nothing.

    Integers are rounded. It is `torchvision.transforms.functional.adjust_hue` of floats; that of Pillow's
    images rounds hues to bytes.
    """
    greys(image)  # it checks the channels
    pixels = image.astype(jnp.float32)
    red, green, blue = (pixels[..., channel] for channel in range(3))
    value, low = jnp.max(pixels, axis=-1), jnp.min(pixels, axis=-1)
    spread = value - low
    sixth = 1 / jnp.where(spread > 0, spread, 1)
    # Not `value == red`: compiled, the two may come from values that are rounded differently.
    others = jnp.where(green >= blue, 2 + (blue - red) * sixth, 4 + (red - green) * sixth)
    reddest = (red >= green) & (red >= blue)
    hue = jnp.where(reddest, (green - blue) * sixth, others) + 6 * jnp.asarray(turns)
    # Travis's formula: in sixths of the circle, how far each channel is from its own hue.
    away = (jnp.array([5.0, 3.0, 1.0]) + hue[..., None]) % 6
    share = jnp.clip(jnp.minimum(away, 4 - away), 0, 1)
    return cast_like(value[..., None] - spread[..., None] * share, image)


def blend(image: jax.Array, other: jax.Array, factor: ArrayLike) -> jax.Array:
    """`factor * image + (1 - factor) * other`; integers are rounded, and clipped to their dtype's range."""
    factor = jnp.asarray(factor)
    return cast_like(factor * image.astype(jnp.float32) + (1 - factor) * other, image)


def greys(image: jax.Array) -> jax.Array:
    """0.299 red + 0.587 green + 0.114 blue (ITU-R BT.601) of an image `[H, W, 3]`; `[H, W, 1]` float32.

    Raises:
      ValueError: another number of channels.
    """
    if image.shape[-1] != 3:
        raise ValueError(f"the images have {image.shape[-1]} channels; expected 3: red, green and blue")
    red, green, blue = (image[..., channel, None].astype(jnp.float32) for channel in range(3))
    return 0.299 * red + 0.587 * green + 0.114 * blue


def rotation(degrees: ArrayLike, height: int, width: int) -> Matrix:
    """Counter-clockwise about the middle of an image of that size (`Image.rotate`)."""
    angle = jnp.deg2rad(degrees)
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    x, y = width / 2, height / 2
    return cosine, -sine, x - cosine * x + sine * y, sine, cosine, y - sine * x - cosine * y


def transform(image: jax.Array, matrix: Matrix, *, fill: ArrayLike = 0) -> jax.Array:
    """Takes each pixel from the one nearest to where the matrix says (`Image.transform`, affine, nearest).

    Args:
      image: `[H, W, C]`.
      matrix: as Pillow's, on places of which a pixel's middle is a half.
      fill: what comes from outside the image, one value or one a channel.
    """
    height, width, _ = image.shape
    y, x = jnp.meshgrid(jnp.arange(height) + 0.5, jnp.arange(width) + 0.5, indexing="ij")
    a, b, c, d, e, f = matrix
    column, row = (jnp.floor(place).astype(jnp.int32) for place in (a * x + b * y + c, d * x + e * y + f))
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    index = jnp.where(inside, row * width + column, 0)
    taken = image.reshape(height * width, -1).at[index].get(mode="promise_in_bounds")
    return jnp.where(inside[..., None], taken, cast_like(jnp.asarray(fill), image))


def _check(image: jax.Array) -> None:
    if image.dtype != jnp.uint8:
        raise ValueError(
            f"the images are {image.dtype}; expected uint8: this operation knows what 0 and 255 mean, so "
            "augment before they are scaled"
        )
