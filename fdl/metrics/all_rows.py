"""Metrics that are no sums: a function of all rows of a split at once."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from fdl.arguments import NotEmpty, Share, checked
from fdl.metrics.shapes import check_same_shape

Of = Callable[[Any, jax.Array], jax.Array]
"""`of(rows, weight) -> value`, a scalar of rows `[N, ...]` and their weights `[N]`."""


@struct.dataclass
class AllRows:
    """The rows of a part of a split; those of all parts, one after another, give the whole split's value.

    Attributes:
      rows: pytree of arrays `[N, ...]`.
      weight: of the rows, `[N]`; those of weight 0 fill a batch up and do not count.
      of: `of(rows, weight) -> value`, a pure function of all rows to a scalar.
    """

    rows: Any
    weight: jax.Array
    of: Of = struct.field(pytree_node=False)

    @property
    def value(self) -> jax.Array:
        """The function's value of the rows."""
        return self.of(self.rows, self.weight)


@checked
def all_rows(of: Of, rows: Any, weight: jax.Array | None = None) -> AllRows:
    """The `AllRows` of a batch's rows.

    All rows of a split are kept on the device until its last batch, so give what the function needs of
    them (a score and a label, not an image).

    Args:
      of: `of(rows, weight) -> value`, as `largest_value`, `area_under_roc`, or one of your own; a row of
        weight 0 must not change its value.
      rows: pytree of arrays `[B, ...]`, as that function takes them.
      weight: of the rows, `[B]`; all 1 if not given.

    Raises:
      ValueError: arrays without rows, or with different numbers of them, or a weight that is not `[B]`.

    Example:
      >>> scores = jnp.array([1.0, 5.0, 3.0])
      >>> float(fdl.metrics.all_rows(fdl.metrics.largest_value, scores).value)
      5.0
    """
    rows = jax.tree.map(jnp.asarray, rows)
    shapes = [leaf.shape for leaf in jax.tree.leaves(rows)]
    given = [*shapes, *([] if weight is None else [jnp.shape(weight)])]
    flat = weight is None or jnp.ndim(weight) == 1
    if not shapes or () in given or len({shape[0] for shape in given}) > 1 or not flat:
        raise ValueError(
            f"rows and weight have shapes {', '.join(str(list(shape)) for shape in given) or 'none'}; "
            "expected [B, ...] of each, with one B, and of weight [B]"
        )
    return AllRows(rows, jnp.ones(shapes[0][0]) if weight is None else jnp.asarray(weight), of)


@checked
def joined_rows(parts: NotEmpty[Sequence[AllRows]], *, axis: int = 0) -> AllRows:
    """The rows of several parts, one after another.

    Args:
      parts: of one function.
      axis: which axis of the leaves is that of the rows, as 1 where leaves are `[members, N, ...]`.

    Example:
      >>> batches = jnp.array([1.0, 5.0]), jnp.array([9.0])
      >>> parts = [fdl.metrics.all_rows(fdl.metrics.quantile(0.5), batch) for batch in batches]
      >>> float(fdl.metrics.joined_rows(parts).value)  # of both batches
      5.0
    """
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis), *parts)


@checked
def largest_value(values: jax.Array, weight: jax.Array) -> jax.Array:
    """The largest of `values` `[N]` that count; NaN where none does, or where one that does is NaN.

    Raises:
      ValueError: other shapes.

    Example:
      >>> float(fdl.metrics.largest_value(jnp.array([1.0, 2.0, 9.0]), jnp.array([1, 1, 0])))
      2.0
    """
    check_same_shape(values=values, weight=weight)
    found = jnp.max(jnp.where(weight > 0, values, -jnp.inf))
    return jnp.where(jnp.any(weight > 0), found, jnp.nan)


@checked
def area_under_roc(rows: tuple[jax.Array, jax.Array], weight: jax.Array) -> jax.Array:
    """The area under the receiver operating characteristic: how likely a positive scores above a negative.

    By the rank sum of Mann and Whitney (1947); ties count half, rows by their weight. On the host: `roc_auc`.

    Args:
      rows: scores `[N]`, higher for class 1, and labels `[N]`, 0 or 1.
      weight: `[N]`.

    Returns:
      0 to 1; NaN where a class has no row, a label is neither 0 nor 1, or a score is not a number.

    Raises:
      ValueError: other shapes.

    Example:
      >>> scores, labels = jnp.array([0.1, 0.4, 0.35, 0.8]), jnp.array([0, 0, 1, 1])
      >>> float(fdl.metrics.area_under_roc((scores, labels), jnp.ones(4)))
      0.75
    """
    scores, labels = rows
    check_same_shape(scores=scores, labels=labels, weight=weight)
    counts = weight > 0
    positive, negative = weight * (labels == 1), weight * (labels == 0)
    order = jnp.argsort(scores)
    ordered, below = scores[order], jnp.concatenate([jnp.zeros(1), jnp.cumsum(negative[order])])
    # Of each score the weight of negatives below it, and of those at it: all equal ones share both ends.
    left, right = (jnp.searchsorted(ordered, scores, side=side) for side in ("left", "right"))
    above = jnp.sum(positive * (below[left] + below[right]) / 2)
    area = above / (jnp.sum(positive) * jnp.sum(negative))
    wrong = counts & (((labels != 0) & (labels != 1)) | jnp.isnan(scores))
    return jnp.where(jnp.any(wrong), jnp.nan, area)


@checked
def quantile(q: Share[float]) -> Of:
    """For `all_rows`, the smallest of `values` `[N]` at or below which a share `q` of the weight lies.

    Hyndman and Fan 1996, definition 1, the inverse of the distribution function; NaN where no row counts, or
    where one that does is NaN.

    The same `q` gives the same function, so that what it is traced in is compiled once.

    Raises:
      ValueError: a `q` that is not within 0 and 1; and, of what it returns, other shapes.

    Example:
      >>> float(fdl.metrics.quantile(0.5)(jnp.array([5.0, 1.0, 3.0]), jnp.ones(3)))
      3.0
    """
    return _Quantile(float(q))


@struct.dataclass
class _Quantile:
    q: float = struct.field(pytree_node=False)

    def __call__(self, values: jax.Array, weight: jax.Array) -> jax.Array:
        check_same_shape(values=values, weight=weight)
        order = jnp.argsort(jnp.where(weight > 0, values, jnp.inf))
        reached = jnp.cumsum(weight[order])
        # In float32 0.3 × 100 is more than 30, and of 100 rows the 31st would be taken: a share is reached
        # where so much of it is, less what rounding may add and less than any row has.
        share = self.q * reached[-1]
        slack = jnp.minimum(share * 2.0**-22, jnp.min(jnp.where(weight > 0, weight, jnp.inf)) / 2)
        at = jnp.argmax((reached >= share - slack) & (weight[order] > 0))
        wrong = jnp.any((weight > 0) & jnp.isnan(values)) | ~jnp.any(weight > 0)
        return jnp.where(wrong, jnp.nan, values[order][at])
