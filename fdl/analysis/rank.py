"""How many dimensions a representation, or a matrix of weights, uses."""

import jax
import jax.numpy as jnp

from fdl.analysis.rows import as_matrix
from fdl.arguments import checked


@checked
def effective_rank(rows: jax.Array) -> jax.Array:
    """The exponential of the entropy of a matrix's singular values, divided by their sum.

    Roy & Vetterli 2007, The Effective Rank, def. 1: n for n equal singular values, 1 for a single one. It is
    that of the matrix itself: subtract the mean row first for that of its variation.

    Args:
      rows: `[N, ...]`; further axes are flattened.

    Returns:
      A scalar from 1 to the rank; NaN for a matrix of zeros.

    Example:
      >>> round(float(fdl.analysis.effective_rank(jnp.diag(jnp.array([2.0, 2.0, 2.0, 0.0])))), 3)
      3.0
    """
    values = jnp.linalg.svd(as_matrix(rows), compute_uv=False)
    shares = values / jnp.sum(values)
    return jnp.exp(jnp.sum(jax.scipy.special.entr(shares)))
