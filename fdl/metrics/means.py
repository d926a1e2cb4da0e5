"""Weighted means as sums that add up exactly over the batches of a split, and what is averaged."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Mean(NamedTuple):
    """A weighted mean in two parts; adding the parts of all batches gives the split's exact mean.

    Attributes:
      total: sum of value × weight, a scalar.
      weight: sum of the weights, a scalar; of 0 nothing was measured, and the mean is missing.
    """

    total: jax.Array
    weight: jax.Array

    @property
    def value(self) -> jax.Array:
        """total / weight; NaN where the weight is 0."""
        return self.total / self.weight


def mean(values: jax.Array, weight: jax.Array) -> Mean:
    """The `Mean` of `values` `[B]` under `weight` `[B]`; rows of weight zero do not count, even
    where their value is not finite."""
    values = jnp.where(weight > 0, values, 0)
    return Mean(jnp.sum(values * weight), jnp.sum(weight))


def accuracy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """1.0 where the largest of `logits` `[B, C]` is at `labels` `[B]`, else 0.0; `[B]`.

    Of labels that are distributions `[B, C]` the likeliest class counts. It is NaN where a label is not 0
    to C - 1, and 0.0 where a logit is not a number.
    """
    if labels.ndim == logits.ndim:
        labels = jnp.argmax(labels, axis=-1)
    return _judged(jnp.argmax(logits, axis=-1) == labels, logits, labels)


def top_k_accuracy(logits: jax.Array, labels: jax.Array, *, k: int = 5) -> jax.Array:
    """1.0 where fewer than `k` of `logits` `[B, C]` go before that at `labels` `[B]`, else 0.0; `[B]`.

    Larger logits go before it, and of equal ones those of lower classes, so that `k = 1` is `accuracy`,
    also where a label is not 0 to C - 1 or a logit is not a number.

    Raises:
      ValueError: a `k` below 1.
    """
    if k < 1:
        raise ValueError(f"k is {k}; expected at least 1")
    labels = labels.astype(jnp.int32)
    own = jnp.take_along_axis(logits, labels[:, None], axis=-1, mode="clip")
    lower = jnp.arange(logits.shape[-1]) < labels[:, None]
    before = jnp.sum((logits > own) | ((logits == own) & lower), axis=-1)
    return _judged(before < k, logits, labels)


def _judged(right: jax.Array, logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Whether rows are `right`, as float32: a logit that is not a number goes before nothing, so its row is
    wrong; a label of no class cannot be judged."""
    labels, classes = labels.astype(jnp.int32), logits.shape[-1]
    right = (right & jnp.all(~jnp.isnan(logits), axis=-1)).astype(jnp.float32)
    return jnp.where((labels >= 0) & (labels < classes), right, jnp.nan)
