"""Metrics as sums that add up exactly over the batches of a split."""

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


def mean(values: jax.Array, weight: jax.Array) -> Mean:
    """The `Mean` of `values` `[B]` under `weight` `[B]`; rows of weight zero do not count, even
    where their value is not finite."""
    values = jnp.where(weight > 0, values, 0)
    return Mean(jnp.sum(values * weight), jnp.sum(weight))


def accuracy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """1.0 where the largest of `logits` `[B, C]` is at `labels` `[B]`, else 0.0; `[B]`.

    Of labels that are distributions `[B, C]` the likeliest class counts.
    """
    if labels.ndim == logits.ndim:
        labels = jnp.argmax(labels, axis=-1)
    return (jnp.argmax(logits, axis=-1) == labels).astype(jnp.float32)
