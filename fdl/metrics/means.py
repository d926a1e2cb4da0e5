"""Weighted means as sums that add up exactly over the batches of a split, and what is averaged."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fdl.arguments import Count, checked
from fdl.metrics.shapes import check_same_shape


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


@checked
def mean(values: jax.Array, weight: float | jax.Array | None = None) -> Mean:
    """The `Mean` of `values` `[...]` under `weight` of the same shape; what has weight zero does not count,
    even where its value is not finite. Without weights all count alike.

    Raises:
      ValueError: a weight of another shape.

    Example:
      >>> first = fdl.metrics.mean(jnp.array([1.0, 2.0]))
      >>> second = fdl.metrics.mean(jnp.array([6.0]))
      >>> float(jax.tree.map(jnp.add, first, second).value)  # of both batches
      3.0
    """
    if weight is None:
        return Mean(jnp.sum(values), jnp.float32(values.size))
    check_same_shape(values=values, weight=weight)
    values = jnp.where(weight > 0, values, 0)
    return Mean(jnp.sum(values * weight), jnp.sum(weight))


@checked
def accuracy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """1.0 where the largest of `logits` `[B, C]` is at `labels` `[B]`, else 0.0; `[B]`.

    Of labels that are distributions `[B, C]` the likeliest class counts. It is NaN where a label is not 0
    to C - 1.

    Raises:
      ValueError: labels of another shape.

    Example:
      >>> fdl.metrics.accuracy(jnp.array([[0.1, 0.9], [0.8, 0.2]]), jnp.array([1, 1])).tolist()
      [1.0, 0.0]
    """
    if labels.shape not in (logits.shape, logits.shape[:-1]):
        raise ValueError(
            f"labels have shape {list(labels.shape)}; expected {list(logits.shape[:-1])} or "
            f"{list(logits.shape)}, as logits have {list(logits.shape)}"
        )
    if labels.ndim == logits.ndim:
        labels = jnp.argmax(labels, axis=-1)
    return _judged(jnp.argmax(logits, axis=-1) == labels, logits, labels)


@checked
def top_k_accuracy(logits: jax.Array, labels: jax.Array, *, k: Count = 5) -> jax.Array:
    """1.0 where fewer than `k` of `logits` `[B, C]` go before that at `labels` `[B]`, else 0.0; `[B]`.

    Larger logits go before it, and of equal ones those of lower classes, so that `k = 1` is `accuracy`.
    It is NaN where a label is not 0 to C - 1.

    Raises:
      ValueError: a `k` below 1.

    Example:
      >>> logits = jnp.array([[3.0, 2.0, 1.0]])
      >>> fdl.metrics.top_k_accuracy(logits, jnp.array([1]), k=2).tolist()
      [1.0]
    """
    check_same_shape(labels=labels, rows=jax.ShapeDtypeStruct(logits.shape[:-1], logits.dtype))
    labels = labels.astype(jnp.int32)
    own = jnp.take_along_axis(logits, labels[:, None], axis=-1, mode="clip")
    lower = jnp.arange(logits.shape[-1]) < labels[:, None]
    before = jnp.sum((logits > own) | ((logits == own) & lower), axis=-1)
    # A logit that is not a number goes before nothing: a row that has one is wrong.
    return _judged((before < k) & jnp.all(~jnp.isnan(logits), axis=-1), logits, labels)


def _judged(right: jax.Array, logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Whether rows are `right`, as float32; a label of no class cannot be judged."""
    labels = labels.astype(jnp.int32)
    known = (labels >= 0) & (labels < logits.shape[-1])
    return jnp.where(known, right.astype(jnp.float32), jnp.nan)
