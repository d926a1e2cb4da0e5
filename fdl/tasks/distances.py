"""Distances between a batch of real rows and one of generated rows.

Rows `i` of both count with `weight[i]`, so a padded batch gives exactly what the batch without its
padding gives. Both are distances of the two samples, which are above 0 for two samples of one
distribution, and fall with their size; they are for measuring, not for learning.
"""

import jax
import jax.numpy as jnp
from jax import lax


def energy_distance(x: jax.Array, y: jax.Array, weight: jax.Array) -> jax.Array:
    """2 E|x - y| - E|x - x'| - E|y - y'|, a scalar: 0 if and only if the samples are equal.

    Székely & Rizzo 2013, Energy statistics, sec. 1; the square of SciPy's `energy_distance`, in any
    number of dimensions. Means run over all pairs, a row with itself too.

    Args:
      x: rows `[B, ...]`.
      y: rows of the same shape.
      weight: `[B]`, not negative and not all 0.
    """
    x, y = x.reshape(len(x), -1), y.reshape(len(y), -1)
    share = weight / jnp.sum(weight)

    def from_one(pair: tuple[jax.Array, jax.Array]) -> jax.Array:
        xi, yi = pair
        lengths = lambda a, b: jnp.linalg.norm(a - b, axis=-1) @ share  # noqa: E731
        return 2 * lengths(xi, y) - lengths(xi, x) - lengths(yi, y)

    # One row after another: all pairs of images at once would not fit.
    return lax.map(from_one, (x, y)) @ share


def sliced_wasserstein(
    x: jax.Array, y: jax.Array, weight: jax.Array, key: jax.Array, *, directions: int = 64
) -> jax.Array:
    """The mean over random directions of the 1-Wasserstein distance of the samples' projections.

    Rabin et al. 2012, Wasserstein Barycenter and Its Application to Texture Mixing, with the first
    power; a scalar in the data's unit.

    Args:
      x: rows `[B, ...]`.
      y: rows of the same shape.
      weight: `[B]`, zeros and ones, not all 0.
      key: draws the directions, uniform on the sphere.
      directions: how many.
    """
    x, y = x.reshape(len(x), -1), y.reshape(len(y), -1)
    axes = jax.random.normal(key, (x.shape[1], directions), x.dtype)
    axes = axes / jnp.linalg.norm(axes, axis=0)
    counts = weight[:, None] > 0
    # Rows that do not count sort last in both, as they are as many.
    last = lambda rows: jnp.sort(jnp.where(counts, rows @ axes, jnp.inf), axis=0)  # noqa: E731
    kept = jnp.arange(len(x))[:, None] < jnp.sum(counts)
    gaps = jnp.where(kept, jnp.abs(jnp.where(kept, last(x), 0) - jnp.where(kept, last(y), 0)), 0)
    return jnp.sum(gaps) / (jnp.sum(counts) * directions)
