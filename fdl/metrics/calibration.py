"""Whether probabilities mean what they say: the calibration curve and its error."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fdl.arguments import Count, checked
from fdl.metrics.means import accuracy
from fdl.metrics.shapes import check_same_shape


class Calibration(NamedTuple):
    """Sums by bins of confidence; adding those of all batches gives the whole split's.

    Attributes:
      weight: weight of the rows in each bin, `[K]`.
      confidence: sum of their confidences, `[K]`.
      correct: weight of those that are right, `[K]`.
    """

    weight: jax.Array
    confidence: jax.Array
    correct: jax.Array

    @property
    def curve(self) -> tuple[jax.Array, jax.Array]:
        """Mean confidence and accuracy of each bin, both `[K]`; NaN of bins without rows."""
        return self.confidence / self.weight, self.correct / self.weight

    @property
    def value(self) -> jax.Array:
        """The expected calibration error: mean of |accuracy - confidence| over bins, by their weight."""
        return jnp.sum(jnp.abs(self.correct - self.confidence)) / jnp.sum(self.weight)


@checked
def calibration(
    probabilities: jax.Array, labels: jax.Array, weight: jax.Array, *, bins: Count = 15
) -> Calibration:
    """The `Calibration` of a classifier's likeliest classes.

    Guo et al. 2017, On Calibration of Modern Neural Networks, sec. 2, eq. 3: a row's confidence is its
    largest probability, and bin m of K holds those in (m / K, (m + 1) / K].

    Args:
      probabilities: `[B, C]`.
      labels: integers `[B]`; `correct` is NaN for the bin of one that is not 0 to C - 1.
      weight: of the rows, `[B]`; those of weight 0 do not count.
      bins: K.

    Raises:
      ValueError: fewer than one bin, or other shapes.

    Example:
      >>> probabilities = jnp.array([[0.75, 0.25], [0.75, 0.25]])
      >>> sums = fdl.metrics.calibration(probabilities, jnp.array([0, 1]), jnp.ones(2))
      >>> float(sums.value)  # 75 % sure, 50 % right
      0.25
    """
    confidence = jnp.max(probabilities, axis=-1)
    check_same_shape(confidences=confidence, labels=labels, weight=weight)
    right = accuracy(probabilities, labels)
    inner = jnp.arange(1, bins) / bins
    place = jnp.searchsorted(inner, jnp.where(weight > 0, confidence, 0), side="left")

    def sums(values: jax.Array) -> jax.Array:
        return jnp.zeros(bins).at[place].add(jnp.where(weight > 0, values * weight, 0))

    return Calibration(sums(jnp.ones_like(confidence)), sums(confidence), sums(right))
