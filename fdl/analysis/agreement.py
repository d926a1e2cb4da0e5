"""How far two attributions of the same rows agree."""

import jax
import jax.numpy as jnp

from fdl.arguments import Count, checked


@checked
def rank_agreement(first: jax.Array, second: jax.Array) -> jax.Array:
    """Spearman's rank correlation of two attributions, row by row, ties sharing their mean rank.

    By it Adebayo et al. 2018 (Sanity Checks for Saliency Maps, sec. 3 and 4) compare explanations of a
    trained network with those of another: one with random parameters, or one that was trained on random
    labels. They do so with and without the sign; for the latter give absolute values.

    Args:
      first: `[B, *S]`.
      second: `[B, *S]`.

    Returns:
      `[B]`, from -1 to 1; NaN where an attribution is the same everywhere.

    Raises:
      ValueError: other shapes.

    Example:
      >>> a = jnp.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
      >>> fdl.analysis.rank_agreement(a, jnp.array([[0.1, 0.2, 9.0], [3.0, 2.0, 1.0]]))
      Array([ 1., -1.], dtype=float32)
    """
    a, b = (_ranks(one) for one in _rows(first, second))
    a, b = (one - jnp.mean(one, axis=1, keepdims=True) for one in (a, b))
    spread = jnp.sqrt(jnp.sum(a**2, axis=1)) * jnp.sqrt(jnp.sum(b**2, axis=1))
    return jnp.clip(jnp.sum(a * b, axis=1) / spread, -1, 1)


@checked
def top_agreement(first: jax.Array, second: jax.Array, *, top: Count) -> jax.Array:
    """The share of features that two attributions have in common among their largest, whatever the sign
    (Krishna et al. 2022, The Disagreement Problem, sec. 4.1: feature agreement).

    Args:
      first: `[B, *S]`.
      second: `[B, *S]`.
      top: how many of the largest; of equal ones those that come first.

    Returns:
      `[B]`, from 0 to 1; by chance `top` of the number of features.

    Raises:
      ValueError: other shapes, or fewer features.

    Example:
      >>> a, b = jnp.array([[3.0, -2.0, 1.0, 0.0]]), jnp.array([[0.0, 2.0, 1.0, 0.5]])
      >>> fdl.analysis.top_agreement(a, b, top=2)
      Array([0.5], dtype=float32)
    """
    a, b = _rows(first, second)
    if top > a.shape[1]:
        raise ValueError(f"top is {top} of {a.shape[1]} features; expected at most these")
    largest = [jax.lax.top_k(jnp.abs(one), top)[1] for one in (a, b)]
    common = largest[0][:, :, None] == largest[1][:, None, :]
    return jnp.sum(common, axis=(1, 2)) / top


def _rows(first: jax.Array, second: jax.Array) -> tuple[jax.Array, jax.Array]:
    if first.shape != second.shape or first.ndim < 2:
        raise ValueError(f"attributions are {first.shape} and {second.shape}; expected one shape [B, *S]")
    return first.reshape(len(first), -1), second.reshape(len(second), -1)


def _ranks(rows: jax.Array) -> jax.Array:
    """Ranks along a row, of equal entries their mean."""

    def ranked(row: jax.Array) -> jax.Array:
        ordered = jnp.sort(row)
        sides = [jnp.searchsorted(ordered, row, side=side) for side in ("left", "right")]
        return (sides[0] + sides[1]).astype(jnp.float32) / 2

    return jax.vmap(ranked)(rows)
