"""Representational similarity analysis: whether two representations find the same inputs unlike."""

import jax
import jax.numpy as jnp
from jax.scipy.stats import rankdata

from fdl.analysis.rows import as_matrix, check_same_rows
from fdl.arguments import checked


@checked
def dissimilarities(rows: jax.Array) -> jax.Array:
    """One minus the correlation of all pairs of rows `[N, ...]`, those above the diagonal, `[N (N - 1) / 2]`.

    Example:
      >>> found = fdl.analysis.dissimilarities(jnp.array([[1.0, 2.0], [2.0, 1.0], [0.0, 5.0]]))
      >>> [abs(round(float(value), 3)) for value in found]
      [2.0, 0.0, 2.0]
    """
    matrix = as_matrix(rows)
    matrix = matrix - jnp.mean(matrix, axis=1, keepdims=True)
    matrix = matrix / jnp.linalg.norm(matrix, axis=1, keepdims=True)
    apart = 1 - jnp.matmul(matrix, matrix.T, precision="highest")
    return apart[jnp.triu_indices(len(matrix), 1)]


@checked
def rsa(a: jax.Array, b: jax.Array) -> jax.Array:
    """Spearman's correlation of the `dissimilarities` of two representations of the same inputs.

    Kriegeskorte, Mur & Bandettini 2008, Representational Similarity Analysis, with their measure of
    dissimilarity (correlation distance) and their rank correlation. Dissimilarities within 1e-5 are taken
    for equal: of two features they are all 0 or 2 but for rounding, whose order says nothing.

    Args:
      a: `[N, ...]`, at least 3 rows; further axes are flattened.
      b: `[N, ...]`, of the same inputs in the same order.

    Returns:
      A scalar, -1 to 1; NaN where a row has the same value in all features.

    Raises:
      ValueError: different numbers of rows, or fewer than 3.

    Example:
      >>> a = jax.random.normal(jax.random.key(0), (20, 3))
      >>> round(float(fdl.analysis.rsa(a, 3 * a + 1)), 3)
      1.0
    """
    check_same_rows(a, b, least=3)
    left, right = (_ranks(dissimilarities(rows)) for rows in (a, b))
    left, right = left - jnp.mean(left), right - jnp.mean(right)
    return jnp.sum(left * right) / jnp.sqrt(jnp.sum(left**2) * jnp.sum(right**2))


def _ranks(values: jax.Array) -> jax.Array:
    """Ranks, those of equal ones their mean; values are rounded to 64 units of rounding."""
    unit = 64 * jnp.finfo(values.dtype).eps
    return rankdata(jnp.round(values / unit))
