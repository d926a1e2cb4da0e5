"""Intersection over union, class by class, as sums that add up over the batches of a split."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fdl.arguments import Count, checked
from fdl.metrics.shapes import check_same_shape


class Overlap(NamedTuple):
    """How much of each class is found; adding the parts of all batches gives the whole split's.

    Attributes:
      intersection: weight of what is of the class and was said to be, `[C]`.
      union: weight of what is of the class or was said to be, `[C]`.
    """

    intersection: jax.Array
    union: jax.Array

    @property
    def by_class(self) -> jax.Array:
        """Intersection over union of each class, `[C]`; NaN of those that are nowhere."""
        return self.intersection / self.union

    @property
    def value(self) -> jax.Array:
        """The mean over the classes that are anywhere (mean IoU), a scalar."""
        present = ~(self.union <= 0)  # what is not a number stays so
        shares = jnp.where(present, self.intersection / jnp.where(present, self.union, 1), 0)
        return jnp.sum(shares) / jnp.sum(present)


@checked
def overlap(predictions: jax.Array, labels: jax.Array, weight: jax.Array, *, classes: Count) -> Overlap:
    """The `Overlap` of predicted and true classes.

    Everingham et al. 2015, The Pascal Visual Object Classes Challenge: A Retrospective, sec. 3.3:
    true positives over the sum of true positives, false positives and false negatives.

    Args:
      predictions: integers `[...]` from 0 to C - 1.
      labels: integers of the same shape.
      weight: what each place counts, of the same shape; 0 leaves it out, whatever its label is.
      classes: C.

    Returns:
      Its parts; all are NaN if a place that counts has a label that is not 0 to C - 1.

    Raises:
      ValueError: other shapes.

    Example:
      >>> predictions, labels = jnp.array([[0, 1, 1, 1]]), jnp.array([[0, 0, 1, 1]])
      >>> sums = fdl.metrics.overlap(predictions, labels, jnp.ones((1, 4)), classes=2)
      >>> round(float(sums.value), 3)  # the mean of 1/2 and 2/3
      0.583
    """
    check_same_shape(predictions=predictions, labels=labels, weight=weight)
    labels, numbers = labels.astype(jnp.int32), jnp.arange(classes)
    said, true = predictions[..., None] == numbers, labels[..., None] == numbers
    axes = tuple(range(predictions.ndim))
    strange = jnp.any(((labels < 0) | (labels >= classes)) & (weight > 0))
    sums = (jnp.sum(each * weight[..., None], axis=axes) for each in (said & true, said | true))
    return Overlap(*(jnp.where(strange, jnp.nan, each) for each in sums))
