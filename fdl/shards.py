"""What a step that sees only its device's rows of a batch asks of the other devices.

Under plain `jit` a step sees whole batches, and these functions do nothing. Under `shard_map` and `pmap`
every device runs the step by itself on its share of the rows, along the mesh axis `AXIS`: then a mean over
the batch must be a mean over the devices too, and what is drawn for a row must not depend on the split.
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


def own_rows(tree: Any) -> Any:
    """The rows of this shard from leaves `[B, ...]` of a whole batch; B must divide into the shards."""
    shards = count()
    if shards == 1:
        return tree

    def own(leaf: jax.Array) -> jax.Array:
        rows = len(leaf) // shards
        return lax.dynamic_slice_in_dim(leaf, lax.axis_index(AXIS) * rows, rows)

    return jax.tree.map(own, tree)


def draw(
    sample: Callable[[jax.Array, tuple[int, ...]], jax.Array], key: jax.Array, shape: tuple[int, ...]
) -> jax.Array:
    """Random numbers for the rows of this shard, those that they would get in the whole batch.

    Args:
      sample: `sample(key, shape) -> array`, as `jax.random.normal`.
      key: the same on every shard.
      shape: `[B, ...]`, of this shard alone.
    """
    return own_rows(sample(key, (shape[0] * count(), *shape[1:])))
