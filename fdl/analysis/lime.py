"""LIME: a linear model of an output near a row."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fdl.analysis.chosen_output import Apply
from fdl.analysis.coalitions import coalition_values, segments_of
from fdl.arguments import Count, NotNegative, Positive, Whole, checked


@checked
def lime(
    apply: Apply,
    variables: Any,
    x: jax.Array,
    target: Whole[jax.Array],
    background: jax.Array,
    key: jax.Array,
    *,
    samples: Count = 1000,
    width: Positive[float | jax.Array] = 0.25,
    ridge: NotNegative[float | jax.Array] = 1.0,
    segments: np.ndarray | None = None,
) -> jax.Array:
    """LIME (Ribeiro et al. 2016, "Why Should I Trust You?", sec. 3.3 and 3.4) on features that are known or
    not: ridge regression on coalitions, each feature known by a fair coin, weighed by how near the row they
    are.

    Distance, kernel and defaults are those of the authors' code for images: the cosine distance d to the
    whole row, and the weight exp(-d^2 / width^2)^(1/2). All features are kept. The values depend on the
    width, and do not add up to the output.

    Args:
      apply: `apply(variables, x)` gives outputs `[B, C]`, each row by itself; a Flax model's own.
      variables: the model's.
      x: rows `[B, *S]`, as the model gets them.
      target: which output of each row is explained, `[B]`.
      background: rows `[N, *S]`, see `exact_shapley`; the authors' code takes one.
      key: of the coalitions, which all rows share.
      samples: how many, the row itself being the first.
      width: of the kernel.
      ridge: factor of the sum of squared coefficients.
      segments: see `exact_shapley`.

    Returns:
      The coefficients, `[B, M]`; without segments as `x`.

    Raises:
      ValueError: segments or a background of another shape.

    Example:
      >>> linear = lambda weights, x: x @ weights
      >>> weights, x = jnp.array([[1.0], [2.0]]), jnp.array([[3.0, 4.0]])
      >>> given = (linear, weights, x, jnp.array([0]), jnp.zeros((1, 2)), jax.random.key(0))
      >>> [round(float(one), 3) for one in fdl.analysis.lime(*given, ridge=0.0)[0]]
      [3.0, 8.0]
    """
    places, count = segments_of(x, segments)
    known = jax.random.bernoulli(key, 0.5, (samples, count)).at[0].set(True)
    values = coalition_values(apply, variables, x, target, background, known, places)
    found = local_linear(known, values, width=width, ridge=ridge)
    return found if segments is not None else found.reshape(x.shape)


def local_linear(
    known: jax.Array, values: jax.Array, *, width: float | jax.Array, ridge: float | jax.Array
) -> jax.Array:
    """`[B, M]`: coefficients of weighted ridge regression with an intercept, which is not penalised.

    Args:
      known: bool `[P, M]`: what the coalitions know.
      values: theirs, `[B, P]`.
      width: of the kernel.
      ridge: factor of the penalty.
    """
    distance = 1 - jnp.sqrt(jnp.mean(known, axis=1, dtype=values.dtype))
    weights = jnp.exp(-((distance / width) ** 2) / 2)
    share = weights / jnp.sum(weights)
    present = known - jnp.dot(share, known.astype(values.dtype), precision="highest")
    outputs = values - jnp.dot(values, share, precision="highest")[:, None]
    inner = jnp.dot((present * weights[:, None]).T, present, precision="highest")
    outer = jnp.dot(outputs * weights, present, precision="highest")
    return jnp.linalg.solve(inner + ridge * jnp.eye(len(inner), dtype=values.dtype), outer.T).T
