"""Augmentations of an image's geometry and colours; `base` says what all have in common."""

import jax
import jax.numpy as jnp

from fdl.arguments import Count, NotNegative, Positive, Rising, Share, checked
from fdl.data.augmentation.base import between, by_image, cast_like, compose, limited
from fdl.data.augmentation.operations import brighten, greys, saturate, turn_hue
from fdl.data.augmentation.operations import contrast as contrasted
from fdl.data.sources import Augmentation

Number = float | jax.Array


@checked
def affine(
    *,
    rotate: NotNegative[Number] = 0.0,
    scale: Rising[tuple[Positive[Number], Positive[Number]]] = (1.0, 1.0),
    shear: NotNegative[Number] = 0.0,
    translate: NotNegative[Number] = 0.0,
) -> Augmentation:
    """A random `warp`; each quantity is uniform in its range.

    Args:
      rotate: degrees; the angle is in -rotate..rotate.
      scale: range of the factor.
      shear: degrees; the angle is in -shear..shear.
      translate: share of the height and of the width; the distances are in -translate..translate of
        these, and independent.

    Example:
      >>> turned = fdl.data.affine(rotate=15.0, scale=(0.9, 1.1))
      >>> batch = {"x": np.zeros((8, 28, 28, 1), np.uint8)}
      >>> jax.eval_shape(turned, batch, jax.random.key(0))["x"]
      ShapeDtypeStruct(shape=(8, 28, 28, 1), dtype=uint8)
    """

    def row(image: jax.Array, key: jax.Array) -> jax.Array:
        draws = jax.random.uniform(key, (5,))
        extent = jnp.array(image.shape[:2])
        return warp(
            image,
            rotate=between(draws[0], -rotate, rotate),
            scale=between(draws[1], *scale),
            shear=between(draws[2], -shear, shear),
            translate=extent * between(draws[3:], -translate, translate),
        )

    return by_image(row)


@checked
def warp(
    image: jax.Array,
    *,
    rotate: Number = 0.0,
    scale: Positive[Number] = 1.0,
    shear: Number = 0.0,
    translate: jax.Array | tuple[float, float] = (0.0, 0.0),
) -> jax.Array:
    """One image `[H, W, C]`, sheared, rotated and scaled about its centre, then translated.

    Pixels are interpolated bilinearly; what lies outside the image is 0. Multiples of 90 degrees and
    whole pixels are exact.

    Args:
      image: `[H, W, C]`.
      rotate: degrees, counter-clockwise as seen.
      scale: factor, above 1 for larger.
      shear: degrees; a vertical line leans by this angle, its lower end to the right.
      translate: pixels down and right.

    Example:
      >>> turned = lambda image: fdl.data.warp(image, rotate=30.0, translate=(0, 2))
      >>> jax.eval_shape(turned, np.zeros((28, 28, 1), np.uint8))
      ShapeDtypeStruct(shape=(28, 28, 1), dtype=uint8)
    """
    height, width, _ = image.shape
    middle = jnp.array([(height - 1) / 2, (width - 1) / 2], jnp.float32)
    down, right = jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")
    # From a pixel of the result back to where it comes from.
    down = (down - middle[0] - translate[0]) / scale
    right = (right - middle[1] - translate[1]) / scale
    cosine, sine = _cosine_sine(rotate)
    down, right = cosine * down + sine * right, cosine * right - sine * down
    right = right - jnp.tan(jnp.deg2rad(shear)) * down
    return cast_like(_sampled(image, down + middle[0], right + middle[1]), image)


@checked
def random_resized_crop(
    *,
    area: Rising[tuple[Share[Number], Share[Number]]] = (0.08, 1.0),
    ratio: Rising[tuple[Positive[Number], Positive[Number]]] = (3 / 4, 4 / 3),
) -> Augmentation:
    """A random box of the image, stretched to the whole image's size (Szegedy et al. 2015, Going
    Deeper with Convolutions, sec. 6), by bilinear interpolation as Pillow's `resize` with a box.

    Args:
      area: range of the box's share of the image; uniform.
      ratio: range of its width over its height; uniform in the logarithm. Where the box would be
        wider or higher than the image, it is cut to that.

    Example:
      >>> crop = fdl.data.random_resized_crop(area=(0.5, 1.0))
      >>> batch = {"x": np.zeros((8, 32, 32, 3), np.uint8)}
      >>> jax.eval_shape(crop, batch, jax.random.key(0))["x"]
      ShapeDtypeStruct(shape=(8, 32, 32, 3), dtype=uint8)
    """

    def row(image: jax.Array, key: jax.Array) -> jax.Array:
        draws = jax.random.uniform(key, (4,))
        extent = jnp.array(image.shape[:2], jnp.float32)
        pixels = jnp.prod(extent) * between(draws[0], *area)
        wide = jnp.exp(between(draws[1], *(jnp.log(jnp.asarray(limit)) for limit in ratio)))
        box = jnp.minimum(jnp.sqrt(jnp.stack([pixels / wide, pixels * wide])), extent)
        return _stretched(image, (extent - box) * draws[2:], box)

    return by_image(row)


@checked
def colour_jitter(
    *,
    brightness: NotNegative[Number] = 0.4,
    contrast: NotNegative[Number] = 0.4,
    saturation: NotNegative[Number] = 0.4,
    hue: NotNegative[Number] = 0.1,
) -> Augmentation:
    """Changes brightness, contrast, saturation and hue, in an order drawn for each row.

    As PyTorch's `ColorJitter`; the defaults are SimCLR's of strength 0.5 (Chen et al. 2020, appendix A).
    A factor f moves the image to `f * image + (1 - f) * other`, where the other image is black (0), the
    mean of the greys, or the greys themselves (as Pillow's `ImageEnhance`); hues are turned on the circle
    of HSV. Integers are clipped to their dtype's range after each change; floats are not clipped, as their
    range is not known. Images are `[H, W, 3]`, and 0 is black: on standardised images brightness
    scales the distance from the mean colour instead.

    Args:
      brightness: the factor is uniform in 1 - brightness..1 + brightness, from 0 on.
      contrast: the same.
      saturation: the same.
      hue: in turns of the circle, at most 0.5; the turn is uniform in -hue..hue.

    Example:
      >>> jitter = fdl.data.colour_jitter(brightness=0.2, hue=0.0)
      >>> batch = {"x": np.zeros((8, 32, 32, 3), np.uint8)}
      >>> jax.eval_shape(jitter, batch, jax.random.key(0))["x"]
      ShapeDtypeStruct(shape=(8, 32, 32, 3), dtype=uint8)
    """
    given = (brightness, contrast, saturation, hue)
    # What surely changes nothing is not compiled.
    used = [n for n, one in enumerate(given) if not (isinstance(one, int | float) and one == 0)]
    ways = [(brighten, contrasted, saturate, turn_hue)[n] for n in used]
    strengths = jnp.stack([jnp.asarray(one, jnp.float32) for one in given])
    middle, least = jnp.array([1.0, 1.0, 1.0, 0.0]), jnp.array([0.0, 0.0, 0.0, -jnp.inf])

    def row(image: jax.Array, key: jax.Array) -> jax.Array:
        draws = jax.random.uniform(key, (2, 4))
        low = jnp.maximum(middle - strengths, least)
        factors, order = (
            draw[jnp.array(used)] for draw in (between(draws[0], low, middle + strengths), draws[1])
        )

        def change(pixels: jax.Array, which: jax.Array) -> tuple[jax.Array, None]:
            return limited(jax.lax.switch(which, ways, pixels, factors[which]), image.dtype), None

        return cast_like(jax.lax.scan(change, image.astype(jnp.float32), jnp.argsort(order))[0], image)

    return by_image(row) if used else compose()


@checked
def grey(*, rate: Share[Number] = 0.2) -> Augmentation:
    """Takes the colour from an image `[H, W, 3]` with probability `rate`; the three channels remain.

    The grey is 0.299 red + 0.587 green + 0.114 blue (ITU-R BT.601), as Pillow's mode "L".

    Example:
      >>> grey = fdl.data.grey(rate=1.0)
      >>> grey({"x": np.array([[[[255, 0, 0]]]], np.uint8)}, jax.random.key(0))["x"].ravel().tolist()
      [76, 76, 76]
    """

    def row(image: jax.Array, key: jax.Array) -> jax.Array:
        without = jnp.broadcast_to(cast_like(greys(image), image), image.shape)
        return jnp.where(jax.random.bernoulli(key, rate), without, image)

    return by_image(row)


@checked
def gaussian_blur(
    *, sigma: Rising[tuple[Positive[Number], Positive[Number]]] = (0.1, 2.0), radius: Count = 4
) -> Augmentation:
    """Smooths an image by a Gaussian; beyond its edges the image continues with the edge's pixels.

    Args:
      sigma: range of the standard deviation in pixels, uniform.
      radius: pixels that the filter reaches to each side; twice the largest sigma or more.

    Raises:
      ValueError: a radius below 1.

    Example:
      >>> blur = fdl.data.gaussian_blur(sigma=(0.1, 2.0))
      >>> batch = {"x": np.zeros((8, 32, 32, 3), np.float32)}
      >>> jax.eval_shape(blur, batch, jax.random.key(0))["x"].shape
      (8, 32, 32, 3)
    """

    def row(image: jax.Array, key: jax.Array) -> jax.Array:
        width = between(jax.random.uniform(key), *sigma)
        return cast_like(_blurred(image, width, radius), image)

    return by_image(row)


def _blurred(image: jax.Array, sigma: jax.Array, radius: int) -> jax.Array:
    """Sums of shifted images: under `vmap` a convolution with a filter a row is far slower on a CPU."""
    weights = jax.nn.softmax(-0.5 * jnp.square(jnp.arange(-radius, radius + 1) / sigma))
    smooth = image.astype(jnp.float32)
    for axis in (0, 1):
        pad = [(radius, radius) if axis == other else (0, 0) for other in range(3)]
        padded = jnp.pad(smooth, pad, mode="edge")
        slices = (
            jax.lax.slice_in_dim(padded, at, at + image.shape[axis], axis=axis)
            for at in range(2 * radius + 1)
        )
        smooth = sum((weights[at] * part for at, part in enumerate(slices)), jnp.zeros(()))
    return smooth


def _stretched(image: jax.Array, corner: jax.Array, box: jax.Array) -> jax.Array:
    """The box that begins at `corner` `[2]` and extends by `box` `[2]`, as large as the image."""
    factor = jnp.array(image.shape[:2]) / box
    pixels = image.astype(jnp.float32)
    large = jax.image.scale_and_translate(
        pixels, image.shape, (0, 1), factor, -corner * factor, "linear", antialias=False
    )
    return cast_like(large, image)


def _cosine_sine(degrees: float | jax.Array) -> tuple[jax.Array, jax.Array]:
    """Exact for multiples of 90 degrees, which radians in floating point are not."""
    turns = jnp.round(jnp.asarray(degrees, jnp.float32) / 90)
    rest = jnp.deg2rad(degrees - 90 * turns)
    cosine, sine = jnp.cos(rest), jnp.sin(rest)
    quarter = turns.astype(jnp.int32) % 4
    cosines, sines = jnp.stack([cosine, -sine, -cosine, sine]), jnp.stack([sine, cosine, -sine, -cosine])
    return cosines[quarter], sines[quarter]


def _sampled(image: jax.Array, down: jax.Array, right: jax.Array) -> jax.Array:
    """`image` `[H, W, C]` at the places `[h, w]` by bilinear interpolation, with zeros around it."""
    height, width, channels = image.shape
    padded = jnp.pad(image, ((1, 2), (1, 2), (0, 0))).reshape(-1, channels)
    down, right = jnp.clip(down, -1, height), jnp.clip(right, -1, width)
    top, left = jnp.floor(down), jnp.floor(right)
    below, beside = (down - top)[..., None], (right - left)[..., None]
    first = ((top + 1) * (width + 3) + left + 1).astype(jnp.int32)

    def at(offset: int) -> jax.Array:
        return padded.at[first + offset].get(mode="promise_in_bounds").astype(jnp.float32)

    upper = (1 - beside) * at(0) + beside * at(1)
    lower = (1 - beside) * at(width + 3) + beside * at(width + 4)
    return (1 - below) * upper + below * lower
