"""What the nearest neighbours say of a row's label: within a batch, or in a bank of known rows."""

import jax
import jax.numpy as jnp
from jax import lax

from fdl.arguments import Count, checked
from fdl.models.heads import unit

_TOGETHER = 256
"""Queries whose similarities to the whole bank are in memory together."""


def neighbour_accuracy(
    similarities: jax.Array, labels: jax.Array, weight: jax.Array, *, k: Count = 1
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
    valid = nearness > -jnp.inf
    chosen = _winner(labels[index], valid)
    return ((chosen == labels) & jnp.any(valid, axis=1)).astype(jnp.float32)


@checked
def neighbour_labels(features: jax.Array, bank: jax.Array, labels: jax.Array, *, k: Count = 5) -> jax.Array:
    """The label that wins among the `k` rows of the bank whose cosine with a row is largest, `[Q]`.

    It tells how good an embedding is without a classifier: the bank is of the training set, the features of
    the test set, each as `model.apply(variables, x, method="features")`, and the accuracy is the share of
    test rows that get their own label. The label with most votes wins, of several the one whose voter is
    nearest; of equally near rows the first ones vote.

    Args:
      features: `[Q, D]`, not all zero in a row.
      bank: `[N, D]`.
      labels: of the bank, integers `[N]`.
      k: how many vote, 1 to N.

    Raises:
      ValueError: shapes that do not fit, or a k out of range.

    Example:
      >>> import jax.numpy as jnp
      >>> from fdl import tasks
      >>> bank, labels = jnp.array([[0.0, 1.0], [1.0, 0.0]]), jnp.array([7, 8])
      >>> tasks.neighbour_labels(jnp.array([[0.9, 0.1]]), bank, labels, k=1)
      Array([8], dtype=int32)
    """
    if features.ndim != 2 or bank.shape[1:] != features.shape[1:] or labels.shape != bank.shape[:1]:
        raise ValueError(
            f"shapes are {[list(a.shape) for a in (features, bank, labels)]}; expected [Q, D], [N, D], [N]"
        )
    if not 1 <= k <= len(bank):
        raise ValueError(f"k is {k}; expected 1 to {len(bank)}, the rows of the bank")
    directions, every = unit(bank), jnp.ones(k, bool)

    def label(query: jax.Array) -> jax.Array:
        _, index = lax.top_k(directions @ query, k)
        return _winner(labels[index], every)

    return lax.map(label, unit(features), batch_size=_TOGETHER)


def _winner(votes: jax.Array, valid: jax.Array) -> jax.Array:
    """The most frequent of the valid `votes` `[..., k]`, of equally frequent ones the first, `[...]`."""
    agree = (votes[..., :, None] == votes[..., None, :]) & valid[..., None, :]
    first = jnp.argmax(jnp.where(valid, jnp.sum(agree, axis=-1), -1), axis=-1)
    return jnp.take_along_axis(votes, first[..., None], axis=-1)[..., 0]
