"""How often each class is taken for each other one, and F1, over a whole split."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fdl.arguments import Count, checked
from fdl.metrics.shapes import check_same_shape


class Confusion(NamedTuple):
    """A confusion matrix; adding those of all batches gives the whole split's.

    Attributes:
      counts: weight of the rows of class i that are said to be of class j, `[C, C]`.
    """

    counts: jax.Array

    @property
    def f1(self) -> jax.Array:
        """The harmonic mean of precision and recall of each class, `[C]`; NaN of one that is nowhere."""
        said, true = self.counts.sum(0), self.counts.sum(1)
        return 2 * jnp.diagonal(self.counts) / (said + true)

    @property
    def value(self) -> jax.Array:
        """Macro F1: the mean over the classes that are a label or a prediction anywhere."""
        return jnp.nanmean(self.f1) + 0 * self.counts.sum()  # NaN of counts that are


@checked
def confusion(
    predictions: jax.Array, labels: jax.Array, weight: jax.Array | None = None, *, classes: Count
) -> Confusion:
    """The `Confusion` of a batch. Of rows on the host: `f1`.

    Args:
      predictions: integers `[B]`.
      labels: integers `[B]`. What is not 0 to C - 1, here or there, makes the matrix NaN.
      weight: of the rows, `[B]`; those of weight 0 do not count. All 1 if not given.
      classes: C.

    Raises:
      ValueError: fewer than one class, or other shapes.

    Example:
      >>> sums = fdl.metrics.confusion(jnp.array([0, 1, 1, 1]), jnp.array([0, 1, 1, 0]), classes=2)
      >>> sums.counts.tolist(), round(float(sums.value), 4)
      ([[1.0, 1.0], [0.0, 2.0]], 0.7333)
    """
    weight = jnp.ones(jnp.shape(labels)) if weight is None else weight
    check_same_shape(predictions=predictions, labels=labels, weight=weight)
    known = (labels >= 0) & (labels < classes) & (predictions >= 0) & (predictions < classes)
    place = jnp.where(known & (weight > 0), labels * classes + predictions, 0)
    counts = jnp.zeros(classes**2).at[place].add(jnp.where(known & (weight > 0), weight, 0))
    wrong = jnp.any(~known & (weight > 0))
    return Confusion(jnp.where(wrong, jnp.nan, counts).reshape(classes, classes))
