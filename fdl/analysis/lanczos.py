"""The Lanczos process: a symmetric matrix that is known by its products alone, as a small tridiagonal one."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Ritz(NamedTuple):
    """What m steps from one vector found.

    Attributes:
      values: approximate eigenvalues, ascending, `[m]`.
      weights: the starting vector's squared components along their vectors, `[m]`, of sum 1.
      residuals: a true eigenvalue is within this of each value, but for rounding, `[m]`.
    """

    values: jax.Array
    weights: jax.Array
    residuals: jax.Array


def ritz(product: Callable[[jax.Array], jax.Array], start: jax.Array, key: jax.Array, *, steps: int) -> Ritz:
    """The Lanczos process with full reorthogonalisation (Golub & Van Loan 2013, Matrix Computations, ch. 10).

    Where the vectors so far span an invariant space, it goes on with a random vector that is orthogonal to
    them: so all eigenvalues are found, repeated ones as often as they are, when `steps` is the size.

    Args:
      product: the matrix times a vector `[P]`.
      start: the first vector, `[P]`, not 0.
      key: what the random vectors are drawn with.
      steps: m, at most P; m vectors are kept.
    """

    def orthogonal(vector: jax.Array, basis: jax.Array) -> jax.Array:
        for _ in range(2):  # once leaves rounding errors as large as what is left
            inner = jnp.matmul(basis, vector, precision="highest")
            vector = vector - jnp.matmul(inner, basis, precision="highest")
        return vector

    def step(
        carry: tuple[jax.Array, ...], index: jax.Array
    ) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
        basis, vector, largest = carry
        basis = jnp.where(jnp.arange(steps)[:, None] == index, vector, basis)
        after = product(vector)
        alpha = jnp.vdot(vector, after, precision="highest")
        after = orthogonal(after, basis)
        beta = jnp.linalg.norm(after)
        largest = jnp.maximum(largest, jnp.abs(alpha) + beta)
        ended = beta <= 100 * jnp.finfo(start.dtype).eps * largest
        fresh = orthogonal(jax.random.normal(jax.random.fold_in(key, index), start.shape, start.dtype), basis)
        following = jnp.where(ended, fresh / jnp.linalg.norm(fresh), after / jnp.where(ended, 1, beta))
        return (basis, following, largest), (alpha, jnp.where(ended, 0, beta))

    basis = jnp.zeros((steps, start.size), start.dtype)
    first = (basis, start / jnp.linalg.norm(start), jnp.zeros((), start.dtype))
    _, (alphas, betas) = jax.lax.scan(step, first, jnp.arange(steps))
    tridiagonal = jnp.diag(alphas) + jnp.diag(betas[:-1], 1) + jnp.diag(betas[:-1], -1)
    values, vectors = jnp.linalg.eigh(tridiagonal)
    return Ritz(values, vectors[0] ** 2, betas[-1] * jnp.abs(vectors[-1]))
