"""How alike two representations are to a linear map: canonical correlations, and linear regression."""

import jax
import jax.numpy as jnp

from fdl.analysis.rows import as_matrix, centred, check_same_rows
from fdl.arguments import checked


@checked
def cca(a: jax.Array, b: jax.Array) -> jax.Array:
    """The mean squared canonical correlation of two representations of the same inputs: 1 where one is an
    invertible linear map of the other.

    Kornblith et al. 2019, Similarity of Neural Network Representations Revisited, sec. 4: R²_CCA. Every
    direction counts alike, however little the representation varies along it. Of as many features as
    rows it is 1, whatever they are: take many more rows.

    Args:
      a: `[N, ...]`, at least 4 rows; further axes are flattened.
      b: `[N, ...]`, of the same inputs in the same order.

    Returns:
      A scalar from 0 to 1: the sum of squared correlations by the smaller rank; NaN where a representation is
      the same for all inputs.

    Raises:
      ValueError: different numbers of rows, or fewer than 4.

    Example:
      >>> a = jax.random.normal(jax.random.key(0), (50, 2))
      >>> round(float(fdl.analysis.cca(a, a @ jnp.array([[1.0, 3.0], [0.0, 0.1]]))), 3)
      1.0
    """
    check_same_rows(a, b, least=4)
    left, right = _basis(centred(as_matrix(a))), _basis(centred(as_matrix(b)))
    ranks = [jnp.sum(one**2) for one in (left, right)]
    return _squares(right, left) / jnp.minimum(*ranks)


@checked
def linear_fit(a: jax.Array, b: jax.Array) -> jax.Array:
    """The share of the variance of one representation that a linear regression on another explains, R².

    Kornblith et al. 2019, sec. 4. It is not symmetric, and is 1 where `b` has as many features as rows.

    Args:
      a: what is explained, `[N, ...]`, at least 4 rows; further axes are flattened.
      b: what explains, `[N, ...]`, of the same inputs in the same order.

    Returns:
      A scalar from 0 to 1; NaN where `a` is the same for all inputs.

    Raises:
      ValueError: different numbers of rows, or fewer than 4.

    Example:
      >>> b = jax.random.normal(jax.random.key(0), (50, 2))
      >>> round(float(fdl.analysis.linear_fit(b[:, :1] * 3, b)), 3)
      1.0
    """
    check_same_rows(a, b, least=4)
    explained = centred(as_matrix(a))
    return _squares(_basis(centred(as_matrix(b))), explained) / jnp.sum(explained**2)


def _basis(matrix: jax.Array) -> jax.Array:
    """An orthonormal basis of the columns of `[N, F]`, `[N, min(N, F)]`; columns beyond the rank are 0."""
    vectors, values, _ = jnp.linalg.svd(matrix, full_matrices=False)
    tolerance = max(matrix.shape) * jnp.finfo(matrix.dtype).eps * jnp.max(values)
    return jnp.where(values > tolerance, vectors, 0)


def _squares(basis: jax.Array, matrix: jax.Array) -> jax.Array:
    """The squared norm of what of a matrix lies in a basis."""
    return jnp.sum(jnp.matmul(basis.T, matrix, precision="highest") ** 2)
