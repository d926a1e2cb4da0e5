"""Shapley values: exact, by sampled permutations, and by a regression on sampled coalitions."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fdl.analysis.chosen_output import Apply
from fdl.analysis.coalitions import coalition_values, segments_of
from fdl.arguments import Count, Whole, checked

MOST_EXACT = 12
"""Features of which all 4,096 coalitions are computed."""


@checked
def exact_shapley(
    apply: Apply,
    variables: Any,
    x: jax.Array,
    target: Whole[jax.Array],
    background: jax.Array,
    *,
    segments: np.ndarray | None = None,
) -> jax.Array:
    """Shapley values of all 2^M coalitions of up to 12 features (Shapley 1953; Lundberg & Lee 2017, A Unified
    Approach to Interpreting Model Predictions, eq. 8).

    A feature that is not known is replaced by that of background rows, independently of the others: also by
    combinations that never occur. The values add up to the output less its mean over the background.

    Args:
      apply: `apply(variables, x)` gives outputs `[B, C]`, each row by itself; a Flax model's own.
      variables: the model's.
      x: rows `[B, *S]`, as the model gets them.
      target: which output of each row is explained, `[B]`.
      background: rows `[N, *S]` that stand for "not known"; N rows are computed for each of x and coalition.
      segments: which feature each entry belongs to: numbers 0 to M - 1 in the shape of a row, or of its
        leading axes, as `[H, W]` of images; None: each entry is a feature.

    Returns:
      `[B, M]`; without segments as `x`.

    Raises:
      ValueError: more than 12 features, or segments or a background of another shape.

    Example:
      >>> product = lambda _, x: x[:, :1] * x[:, 1:]
      >>> x, background = jnp.array([[3.0, 4.0]]), jnp.array([[1.0, 1.0]])
      >>> fdl.analysis.exact_shapley(product, None, x, jnp.array([0]), background)  # 12 - 1 in all
      Array([[5., 6.]], dtype=float32)
    """
    places, count = segments_of(x, segments)
    if count > MOST_EXACT:
        raise ValueError(
            f"there are {count} features; expected at most {MOST_EXACT}: join them by segments, or take "
            "permutation_shapley"
        )
    known = (np.arange(2**count)[:, None] >> np.arange(count)) & 1 > 0
    size = known.sum(axis=1)
    share = np.array([1 / (count * math.comb(count - 1, others)) for others in range(count)])
    weights = np.where(known, share[size - 1][:, None], -share[np.minimum(size, count - 1)][:, None])
    values = coalition_values(apply, variables, x, target, background, jnp.asarray(known), places)
    found = jnp.dot(values, jnp.asarray(weights, values.dtype), precision="highest")
    return found if segments is not None else found.reshape(x.shape)


@checked
def permutation_shapley(
    apply: Apply,
    variables: Any,
    x: jax.Array,
    target: Whole[jax.Array],
    background: jax.Array,
    key: jax.Array,
    *,
    permutations: Count = 10,
    segments: np.ndarray | None = None,
) -> jax.Array:
    """Shapley values by sampled permutations (Castro et al. 2009, Polynomial Calculation of the Shapley
    Value), each also backwards (Mitchell et al. 2022, Sampling Permutations): unbiased, and exact
    where no more than two features interact. They add up to the output less its mean over the background.

    Args:
      apply: `apply(variables, x)` gives outputs `[B, C]`, each row by itself; a Flax model's own.
      variables: the model's.
      x: rows `[B, *S]`, as the model gets them.
      target: which output of each row is explained, `[B]`.
      background: rows `[N, *S]`, see `exact_shapley`.
      key: of the permutations, which all rows share.
      permutations: how many; each costs 2 (M + 1) outputs of each row and background row.
      segments: see `exact_shapley`.

    Returns:
      `[B, M]`; without segments as `x`.

    Raises:
      ValueError: segments or a background of another shape.

    Example:
      >>> product = lambda _, x: x[:, :1] * x[:, 1:]
      >>> x, background, target = jnp.array([[3.0, 4.0]]), jnp.array([[1.0, 1.0]]), jnp.array([0])
      >>> fdl.analysis.permutation_shapley(product, None, x, target, background, jax.random.key(0))
      Array([[5., 6.]], dtype=float32)
    """
    places, count = segments_of(x, segments)

    def add(total: jax.Array, key: jax.Array) -> tuple[jax.Array, None]:
        order = jax.random.permutation(key, count)
        return total + contributions(order) + contributions(order[::-1]), None

    def contributions(order: jax.Array) -> jax.Array:
        """What each feature adds to those before it, `[B, M]`."""
        rank = jnp.argsort(order)
        known = rank < jnp.arange(count + 1)[:, None]
        values = coalition_values(apply, variables, x, target, background, known, places)
        return jnp.diff(values, axis=1)[:, rank]

    zero = jnp.zeros((len(x), count), x.dtype)
    total, _ = jax.lax.scan(add, zero, jax.random.split(key, permutations))
    found = total / (2 * permutations)
    return found if segments is not None else found.reshape(x.shape)
