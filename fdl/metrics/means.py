"""Weighted means as sums that add up exactly over the batches of a split, and what is averaged."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Mean(NamedTuple):
    """A weighted mean in two parts; adding the parts of all batches gives the split's exact mean.

    Attributes:
      total: sum of value × weight, a scalar.
      weight: sum of the weights, a scalar.
    """

    total: jax.Array
    weight: jax.Array

    @property
    def value(self) -> jax.Array:
        """total / weight."""
        return self.total / self.weight


def mean(values: jax.Array, weight: jax.Array | None = None) -> Mean:
    """The `Mean` of `values` `[...]` under `weight` of the same shape; what has weight zero does not count,
    even where its value is not finite. Without weights all count alike."""
    if weight is None:
        return Mean(jnp.sum(values), jnp.float32(values.size))
    values = jnp.where(weight > 0, values, 0)
    return Mean(jnp.sum(values * weight), jnp.sum(weight))


def accuracy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """1.0 where the largest of `logits` `[B, C]` is at `labels` `[B]`, else 0.0; `[B]`.

    Of labels that are distributions `[B, C]` the likeliest class counts.
    """
    if labels.ndim == logits.ndim:
        labels = jnp.argmax(labels, axis=-1)
    return (jnp.argmax(logits, axis=-1) == labels).astype(jnp.float32)


def top_k_accuracy(logits: jax.Array, labels: jax.Array, *, k: int = 5) -> jax.Array:
    """1.0 where fewer than `k` of `logits` `[B, C]` go before that at `labels` `[B]`, else 0.0; `[B]`.

    Larger logits go before it, and of equal ones those of lower classes, so that `k = 1` is `accuracy`.

    Raises:
      ValueError: a `k` below 1.
    """
    if k < 1:
        raise ValueError(f"k is {k}; expected at least 1")
    own = jnp.take_along_axis(logits, labels[:, None], axis=-1)
    lower = jnp.arange(logits.shape[-1]) < labels[:, None]
    before = jnp.sum((logits > own) | ((logits == own) & lower), axis=-1)
    # A logit that is not a number goes before nothing: a row that has one is wrong.
    return ((before < k) & jnp.all(~jnp.isnan(logits), axis=-1)).astype(jnp.float32)
