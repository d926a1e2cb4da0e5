"""What a step that sees only its device's rows of a batch asks of the other devices.

Under plain `jit` a step sees whole batches, and these functions do nothing. Under `shard_map` and `pmap`
every device runs the step by itself on its share of the rows, along the mesh axis `AXIS`: then a mean over
the batch must be a mean over the devices too, and what is drawn for a row must not depend on the split.

The mean over the shards of a loss must be the whole batch's loss. Then `mean(jax.grad(loss)(params))` is its
gradient, also through `mean`, `total` and `gathered` inside the loss: what a shard computes is the gradient
of all shards' losses, added up, by its own copy of the parameters.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax import lax

AXIS = "data"
"""The mesh axis along which the rows of a batch are split."""


def count() -> int:
    """Over how many shards the batch is split here."""
    try:
        return lax.axis_size(AXIS)
    except NameError:  # the axis is not bound: no split, or one that the compiler makes unseen
        return 1


def mean(tree: Any) -> Any:
    """The mean over the shards of every leaf, each the mean over its shard's rows."""
    return lax.pmean(tree, AXIS) if count() > 1 else tree


def total(tree: Any) -> Any:
    """The sum over the shards of every leaf."""
    return lax.psum(tree, AXIS) if count() > 1 else tree


def gathered(tree: Any) -> Any:
    """The rows of the whole batch, on every shard, from leaves `[b, ...]` of each shard's rows."""
    if count() == 1:
        return tree
    return jax.tree.map(lambda leaf: lax.all_gather(leaf, AXIS, tiled=True), tree)


def own_rows(tree: Any, *, axis: int = 0) -> Any:
    """The rows of this shard from leaves of a whole batch, whose B rows must divide into the shards.

    Args:
      tree: leaves `[B, ...]`, or with B at another place.
      axis: that place.
    """
    shards = count()
    if shards == 1:
        return tree

    def own(leaf: jax.Array) -> jax.Array:
        rows = leaf.shape[axis] // shards
        return lax.dynamic_slice_in_dim(leaf, lax.axis_index(AXIS) * rows, rows, axis)

    return jax.tree.map(own, tree)


def draw(
    sample: Callable[[jax.Array, tuple[int, ...]], jax.Array],
    key: jax.Array,
    shape: tuple[int, ...],
    *,
    axis: int = 0,
) -> jax.Array:
    """Random numbers for the rows of this shard, those that they would get in the whole batch.

    Args:
      sample: `sample(key, shape) -> array`, as `jax.random.normal`.
      key: the same on every shard.
      shape: `[b, ...]`, of this shard alone.
      axis: where `shape` has the rows.
    """
    whole = tuple(size * count() if place == axis else size for place, size in enumerate(shape))
    return own_rows(sample(key, whole), axis=axis)
