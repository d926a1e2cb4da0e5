"""What the nearest neighbours within a batch say of a row's label."""

import jax
import jax.numpy as jnp
from jax import lax


def neighbour_accuracy(
    similarities: jax.Array, labels: jax.Array, weight: jax.Array, *, k: int = 1
) -> jax.Array:
    """1.0 where the `k` most similar other rows of the batch vote for a row's own label, `[B]`.

    The label with most votes wins, of several the one whose voter is nearest. With k = 1 it is
    recall@1. Rows of weight 0 neither vote nor count; of fewer than k other rows all vote.

    Args:
      similarities: `[B, B]`, larger is nearer; a row's own is not looked at.
      labels: integers `[B]`.
      weight: `[B]`.
      k: how many vote.
    """
    size = len(labels)
    others = (weight > 0)[None, :] & ~jnp.eye(size, dtype=bool)
    nearness, index = lax.top_k(jnp.where(others, similarities, -jnp.inf), min(k, size))
    votes, valid = labels[index], nearness > -jnp.inf
    agree = (votes[:, :, None] == votes[:, None, :]) & valid[:, None, :]
    winner = jnp.argmax(jnp.where(valid, jnp.sum(agree, axis=-1), -1), axis=1)
    chosen = jnp.take_along_axis(votes, winner[:, None], axis=1)[:, 0]
    return ((chosen == labels) & jnp.any(valid, axis=1)).astype(jnp.float32)
