"""Common corruptions of images at five severities.

Hendrycks and Dietterich 2019, Benchmarking Neural Network Robustness to Common Corruptions and Perturbations,
with the amounts of their programs for small images (CIFAR-10-C). These are those of their corruptions that a
few operations on arrays make; frost needs picture files, the others a codec or an image library.
"""

from collections.abc import Callable
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fdl.arguments import Limit, checked

Severity = Annotated[int, Limit(lambda severity: severity in (1, 2, 3, 4, 5), "1 to 5")]


class Corruption(NamedTuple):
    """A corruption of images.

    Attributes:
      name: what it is called.
      apply: `apply(x, amount, key) -> x`, of images `[B, H, W, C]` with numbers from 0 to 1.
      amounts: what severities 1 to 5 give it.
    """

    name: str
    apply: Callable[[jax.Array, float, jax.Array], jax.Array]
    amounts: tuple[float, float, float, float, float]


@checked
def corrupted(corruption: Corruption, x: jax.Array, key: jax.Array, *, severity: Severity) -> jax.Array:
    """Images with a corruption.

    Args:
      corruption: one of `CORRUPTIONS`.
      x: `[B, H, W, C]`, numbers from 0 to 1.
      key: of what is drawn.
      severity: 1 to 5.

    Returns:
      `[B, H, W, C]`, numbers from 0 to 1.

    Raises:
      ValueError: another severity, or rows that are no images.

    Example:
      >>> from fdl import analysis
      >>> contrast = analysis.CORRUPTIONS[-1]
      >>> image = jnp.array([0.0, 1.0]).reshape(1, 1, 2, 1)
      >>> analysis.corrupted(contrast, image, jax.random.key(0), severity=2).ravel().tolist()
      [0.25, 0.75]
    """
    if jnp.ndim(x) != 4:
        raise ValueError(f"x has shape {list(jnp.shape(x))}; expected images [B, H, W, C]")
    return jnp.clip(corruption.apply(x, corruption.amounts[severity - 1], key), 0.0, 1.0)


def _with_gaussian_noise(x: jax.Array, scale: float, key: jax.Array) -> jax.Array:
    return x + scale * jax.random.normal(key, x.shape, x.dtype)


def _with_shot_noise(x: jax.Array, photons: float, key: jax.Array) -> jax.Array:
    return (jax.random.poisson(key, x * photons) / photons).astype(x.dtype)


def _with_impulse_noise(x: jax.Array, share: float, key: jax.Array) -> jax.Array:
    where, white = (jax.random.uniform(jax.random.fold_in(key, part), x.shape) for part in range(2))
    return jnp.where(where < share, (white < 0.5).astype(x.dtype), x)


def _with_speckle_noise(x: jax.Array, scale: float, key: jax.Array) -> jax.Array:
    return x + x * scale * jax.random.normal(key, x.shape, x.dtype)


def _blurred(x: jax.Array, sigma: float, key: jax.Array) -> jax.Array:
    """By a Gaussian that is cut at four standard deviations; beyond an edge is what is at it."""
    del key
    radius = int(4 * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    for axis in (1, 2):
        places = np.clip(np.arange(-radius, x.shape[axis] + radius), 0, x.shape[axis] - 1)
        padded = jnp.take(x, places, axis)
        parts = [
            weight * jax.lax.slice_in_dim(padded, start, start + x.shape[axis], axis=axis)
            for start, weight in enumerate(weights)
        ]
        x = sum(parts, jnp.zeros_like(x))
    return x


def _brighter(x: jax.Array, more: float, key: jax.Array) -> jax.Array:
    """The value of HSV raised, hue and saturation kept."""
    del key
    value = jnp.max(x, axis=-1, keepdims=True)
    raised = jnp.clip(value + more, 0.0, 1.0)
    return jnp.where(value > 0, x / jnp.where(value > 0, value, 1.0) * raised, raised)


def _flatter(x: jax.Array, factor: float, key: jax.Array) -> jax.Array:
    del key
    mean = jnp.mean(x, axis=(1, 2), keepdims=True)
    return (x - mean) * factor + mean


CORRUPTIONS = (
    Corruption("gaussian noise", _with_gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.1)),
    Corruption("shot noise", _with_shot_noise, (500, 250, 100, 75, 50)),
    Corruption("impulse noise", _with_impulse_noise, (0.01, 0.02, 0.03, 0.05, 0.07)),
    Corruption("speckle noise", _with_speckle_noise, (0.06, 0.1, 0.12, 0.16, 0.2)),
    Corruption("gaussian blur", _blurred, (0.4, 0.6, 0.7, 0.8, 1.0)),
    Corruption("brightness", _brighter, (0.05, 0.1, 0.15, 0.2, 0.3)),
    Corruption("contrast", _flatter, (0.75, 0.5, 0.4, 0.3, 0.15)),
)
"""The corruptions that are here."""
