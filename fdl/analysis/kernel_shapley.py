"""Kernel SHAP: Shapley values as the solution of a weighted regression on coalitions."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fdl.analysis.chosen_output import Apply
from fdl.analysis.coalitions import coalition_values, segments_of
from fdl.arguments import Count, Whole, checked


@checked
def kernel_shapley(
    apply: Apply,
    variables: Any,
    x: jax.Array,
    target: Whole[jax.Array],
    background: jax.Array,
    key: jax.Array,
    *,
    pairs: Count = 256,
    segments: np.ndarray | None = None,
) -> jax.Array:
    """Kernel SHAP (Lundberg & Lee 2017, A Unified Approach to Interpreting Model Predictions, sec. 4.1): the
    additive function of the features that is nearest to the output over coalitions drawn by the Shapley
    kernel, each with its complement (Covert & Lee 2021, Improving KernelSHAP, sec. 4.2).

    The values add up to the output less its mean over the background. Of an output that is additive they are
    exact; else their error falls as that of a mean over the pairs.

    Args:
      apply: `apply(variables, x)` gives outputs `[B, C]`, each row by itself; a Flax model's own.
      variables: the model's.
      x: rows `[B, *S]`, as the model gets them.
      target: which output of each row is explained, `[B]`.
      background: rows `[N, *S]`, see `exact_shapley`.
      key: of the coalitions, which all rows share.
      pairs: how many coalitions, each with its complement; several times the number of features.
      segments: see `exact_shapley`.

    Returns:
      `[B, M]`; without segments as `x`. NaN where the coalitions are too few to tell the features apart.

    Raises:
      ValueError: one feature, fewer pairs than features, or segments or a background of another shape.

    Example:
      >>> product = lambda _, x: x[:, :1] * x[:, 1:]
      >>> x, background, target = jnp.array([[3.0, 4.0]]), jnp.array([[1.0, 1.0]]), jnp.array([0])
      >>> found = fdl.analysis.kernel_shapley(product, None, x, target, background, jax.random.key(0))
      >>> [round(float(one), 3) for one in found[0]]
      [5.0, 6.0]
    """
    places, count = segments_of(x, segments)
    if count < 2 or pairs < count:
        raise ValueError(f"{pairs} pairs of {count} features; expected 2 or more features, and as many pairs")
    ends = jnp.stack([jnp.zeros(count, bool), jnp.ones(count, bool)])
    drawn = _drawn(key, pairs, count)
    known = jnp.concatenate([ends, drawn, ~drawn])
    values = coalition_values(apply, variables, x, target, background, known, places)
    found = shapley_regression(known[2:], values[:, 2:] - values[:, :1], values[:, 1] - values[:, 0])
    return found if segments is not None else found.reshape(x.shape)


def shapley_regression(
    known: jax.Array, values: jax.Array, total: jax.Array, weights: jax.Array | None = None
) -> jax.Array:
    """`[B, M]`: coefficients of least squares that add up to a total.

    Args:
      known: bool `[P, M]`: what the coalitions know.
      values: theirs, above that of the one that knows nothing, `[B, P]`.
      total: of the one that knows everything, `[B]`.
      weights: of the coalitions, `[P]`; None where they were drawn by them.
    """
    present = known.astype(values.dtype)
    weighed = present if weights is None else present * weights[:, None]
    inner = jnp.dot(weighed.T, present, precision="highest")
    outer = jnp.dot(values, weighed, precision="highest")
    ones = jnp.ones(len(inner), values.dtype)
    free, along = jnp.linalg.solve(inner, outer.T).T, jnp.linalg.solve(inner, ones)
    found = free - ((jnp.sum(free, axis=1) - total) / jnp.sum(along))[:, None] * along
    return jnp.where(jnp.linalg.matrix_rank(inner) == len(inner), found, jnp.nan)


def _drawn(key: jax.Array, pairs: int, count: int) -> jax.Array:
    """Coalitions `[pairs, M]`, neither empty nor whole, as often as the Shapley kernel weighs them."""
    sizes = np.arange(1, count)
    of_size, of_members = jax.random.split(key)
    size = 1 + jax.random.categorical(
        of_size, jnp.asarray(-np.log(sizes * (count - sizes))), shape=(pairs, 1)
    )
    rank = jnp.argsort(jax.random.uniform(of_members, (pairs, count)), axis=1)
    return rank < size
