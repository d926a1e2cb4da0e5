"""Augmentations that cut pieces out of images or mix them; `base` says what all have in common."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from fdl import losses
from fdl.arguments import Count, NotNegative, Positive, Rising, Share, checked
from fdl.data.augmentation.base import between, by_image, cast_like, row_keys, whole
from fdl.data.sources import Augmentation

Number = float | jax.Array


@checked
def cutout(*, size: NotNegative[int | jax.Array], fill: ArrayLike = 0.0) -> Augmentation:
    """Covers a square (DeVries and Taylor 2017, Improved Regularization of Convolutional Neural
    Networks with Cutout, sec. 3.2).

    Args:
      size: the square's side in pixels. Its centre is uniform over the pixels, so a part of it may lie
        outside the image.
      fill: what covers it, one value or one a channel. The paper's is the mean: 0 of standardised images,
        but in a task augmentations see images as they are stored, of which 0 is black.

    Example:
      >>> cut = fdl.data.cutout(size=8)
      >>> batch = {"x": np.zeros((8, 32, 32, 3), np.float32)}
      >>> jax.eval_shape(cut, batch, jax.random.key(0))["x"].shape
      (8, 32, 32, 3)
    """

    def row(image: jax.Array, key: jax.Array) -> jax.Array:
        side = jnp.asarray(size)
        covered = _box(key, image, side, side)
        return jnp.where(covered, cast_like(jnp.asarray(fill), image), image)

    return by_image(row)


@checked
def random_erasing(
    *,
    rate: Share[Number] = 0.5,
    area: Rising[tuple[Share[Number], Share[Number]]] = (0.02, 0.4),
    ratio: Rising[tuple[Positive[Number], Positive[Number]]] = (0.3, 1 / 0.3),
) -> Augmentation:
    """Covers a rectangle with noise, with probability `rate` (Zhong et al. 2020, Random Erasing Data
    Augmentation, sec. 3).

    The rectangle lies inside the image, each place equally likely. Unlike the paper, its height over
    width is uniform in the logarithm, and a rectangle that is too long is cut instead of drawn again.
    The noise is uniform over the dtype's values for unsigned integers, else normal with standard
    deviation 1.

    Args:
      rate: 0 to 1.
      area: range of the rectangle's share of the image, uniform.
      ratio: range of its height over its width.

    Example:
      >>> erase = fdl.data.random_erasing(rate=0.25)
      >>> batch = {"x": np.zeros((8, 32, 32, 3), np.float32)}
      >>> jax.eval_shape(erase, batch, jax.random.key(0))["x"].shape
      (8, 32, 32, 3)
    """

    def row(image: jax.Array, key: jax.Array) -> jax.Array:
        drawing, noise = jax.random.split(key)
        draws = jax.random.uniform(drawing, (5,))
        extent = jnp.array(image.shape[:2])
        pixels = jnp.prod(extent) * between(draws[0], *area)
        tall = jnp.exp(between(draws[1], *(jnp.log(jnp.asarray(limit)) for limit in ratio)))
        wanted = jnp.round(jnp.sqrt(jnp.stack([pixels * tall, pixels / tall]))).astype(jnp.int32)
        box = jnp.clip(wanted, 1, extent)
        corner = whole(draws[2:4], extent - box + 1)
        covered = _inside(image, corner, corner + box) & (draws[4] < rate)
        return jnp.where(covered, _noise(noise, image), image)

    return by_image(row)


@checked
def mixup(*, classes: Count, alpha: Positive[Number] = 1.0) -> Augmentation:
    """Blends each row with the one before it in the batch (Zhang et al. 2018, mixup: Beyond Empirical
    Risk Minimization, sec. 2); batches are shuffled, so this is a random partner.

    `x` becomes `lam * x + (1 - lam) * partner's x`, and so does `y`, where `lam` is drawn from
    Beta(alpha, alpha) for each row (the authors' code draws one for a batch).

    Args:
      classes: C; labels `y` `[B]` become shares `[B, C]`, float32, that add up to 1. A `y` that is
        `[B, C]` already is mixed as it is, so mixtures can be mixed again.
      alpha: above 0; small values leave most rows nearly as they are.

    Example:
      >>> batch = {"x": np.zeros((4, 3)), "y": np.arange(4)}
      >>> mixed = jax.eval_shape(fdl.data.mixup(classes=10), batch, jax.random.key(0))
      >>> mixed["x"].shape, mixed["y"].shape
      ((4, 3), (4, 10))
    """

    def augmentation(batch: Mapping[str, jax.Array], key: jax.Array) -> dict[str, jax.Array]:
        x = jnp.asarray(batch["x"])
        own = jax.vmap(lambda one: jax.random.beta(one, alpha, alpha))(row_keys(key, len(x)))
        mixed = cast_like(_blend(x.astype(jnp.float32), own), x)
        return {**batch, "x": mixed, "y": _blend(_shares(batch["y"], classes), own)}

    return augmentation


@checked
def cutmix(*, classes: Count, alpha: Positive[Number] = 1.0) -> Augmentation:
    """Pastes a rectangle of the previous image of the batch into each (Yun et al. 2019, CutMix, sec. 3.1).

    The rectangle has the image's aspect and a share of its area that is drawn from Beta(alpha, alpha);
    its centre is uniform over the pixels, and what lies outside is lost. It is drawn for each row (the
    authors' code draws one for a batch). `y` is mixed by the share
    of the pixels that really are the other image's.

    Args:
      classes: as for `mixup`.
      alpha: above 0.

    Example:
      >>> batch = {"x": np.zeros((4, 8, 8, 1)), "y": np.arange(4)}
      >>> mixed = jax.eval_shape(fdl.data.cutmix(classes=4), batch, jax.random.key(0))
      >>> mixed["x"].shape, mixed["y"].shape
      ((4, 8, 8, 1), (4, 4))
    """

    def row(image: jax.Array, other: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        drawing, place = jax.random.split(key)
        side = jnp.sqrt(jax.random.beta(drawing, alpha, alpha))
        height, width = (jnp.round(side * length).astype(jnp.int32) for length in image.shape[:2])
        pasted = _box(place, image, height, width)
        return jnp.where(pasted, other, image), 1 - jnp.mean(pasted, dtype=jnp.float32)

    def augmentation(batch: Mapping[str, jax.Array], key: jax.Array) -> dict[str, jax.Array]:
        x = jnp.asarray(batch["x"])
        if x.ndim != 4:
            raise ValueError(f"x has shape {x.shape}; expected images [B, H, W, C], so reshape it")
        mixed, own = jax.vmap(row)(x, jnp.roll(x, 1, axis=0), row_keys(key, len(x)))
        return {**batch, "x": mixed, "y": _blend(_shares(batch["y"], classes), own)}

    return augmentation


def _blend(values: jax.Array, own: jax.Array) -> jax.Array:
    """`own` `[B]` of each row of `values` `[B, ...]`, and the rest of the row before it."""
    own = own.reshape(-1, *[1] * (values.ndim - 1))
    return own * values + (1 - own) * jnp.roll(values, 1, axis=0)


def _shares(labels: jax.Array, classes: Count) -> jax.Array:
    if labels.ndim == 2:
        return labels
    return losses.one_hot(labels, classes)


def _box(key: jax.Array, image: jax.Array, height: jax.Array, width: jax.Array) -> jax.Array:
    """Where a rectangle lies whose centre is uniform over the pixels, bool `[H, W, 1]`."""
    centre = whole(jax.random.uniform(key, (2,)), jnp.array(image.shape[:2]))
    extent = jnp.stack([height, width])
    return _inside(image, centre - extent // 2, centre - extent // 2 + extent)


def _inside(image: jax.Array, start: jax.Array, stop: jax.Array) -> jax.Array:
    """Where a rectangle lies: from row and column `start` `[2]` to before `stop` `[2]`; bool `[H, W, 1]`."""
    rows, columns = (lax.iota(jnp.int32, length) for length in image.shape[:2])
    high = (rows >= start[0]) & (rows < stop[0])
    wide = (columns >= start[1]) & (columns < stop[1])
    return (high[:, None] & wide)[..., None]


def _noise(key: jax.Array, image: jax.Array) -> jax.Array:
    if jnp.issubdtype(image.dtype, jnp.unsignedinteger):
        return jax.random.bits(key, image.shape, image.dtype)
    return cast_like(jax.random.normal(key, image.shape), image)
