"""Representations as matrices: a row for each input, centred without what rounding leaves."""

import jax
import jax.numpy as jnp


def as_matrix(rows: jax.Array) -> jax.Array:
    """Rows `[N, ...]` as `[N, F]`, float32 at least."""
    return rows.reshape(rows.shape[0], -1).astype(jnp.promote_types(rows.dtype, jnp.float32))


def centred(matrix: jax.Array) -> jax.Array:
    """A matrix `[N, F]` less its columns' means; a column that is constant but for rounding is exactly 0."""
    left = matrix - jnp.mean(matrix, axis=0)
    rounding = 8 * jnp.finfo(matrix.dtype).eps * jnp.max(jnp.abs(matrix), axis=0)
    return jnp.where(jnp.max(jnp.abs(left), axis=0) <= rounding, 0, left)


def check_same_rows(a: jax.Array, b: jax.Array, *, least: int) -> None:
    """Raises `ValueError` if two representations are not of the same number of rows, or of too few."""
    if a.ndim < 2 or b.ndim < 2 or a.shape[0] != b.shape[0] or a.shape[0] < least:
        raise ValueError(
            f"the representations are {list(a.shape)} and {list(b.shape)}; "
            f"expected [N, ...] of the same inputs, N at least {least}"
        )
