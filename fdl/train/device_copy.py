"""A copy of a state on its own GPUs: steps go on, and write over it, while it is on its way to disk."""

import collections
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def on_gpus(state: Any) -> bool:
    """Whether all of a state, whose leaves are arrays, is in the memory of GPUs."""
    return all(device.platform == "gpu" for leaf in jax.tree.leaves(state) for device in leaf.devices())


def copied(state: Any) -> Any | None:
    """The state on the same devices in memory of its own, before it is there; None where it may not fit.

    Of each device's memory as much must never have been in use as the state takes of it: then all programs
    that have run have room beside the copy.
    """
    sizes: dict[Any, int] = collections.Counter()
    for leaf in jax.tree.leaves(state):
        for shard in leaf.addressable_shards:
            sizes[shard.device] += shard.data.nbytes
    if any(_unused(device) < size for device, size in sizes.items()):
        return None
    shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
    try:
        return jax.device_put(state, shardings, may_alias=False)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return None  # what is free lies in parts


def on_host(state: Any) -> Any:
    """The state's arrays as NumPy arrays; random keys as they are.

    Through memory that is not pinned: to pin gigabytes, as Orbax does for GPUs, takes the driver seconds in
    which it starts no step.
    """
    arrays = [leaf for leaf in jax.tree.leaves(state) if not _is_key(leaf)]
    for leaf in arrays:
        leaf.copy_to_host_async()
    return jax.tree.map(lambda leaf: leaf if _is_key(leaf) else np.asarray(leaf), state)


def _is_key(leaf: jax.Array) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _unused(device: Any) -> int:
    """The bytes of a device's memory that were never in use; 0 where it does not tell."""
    told = device.memory_stats() or {}
    return told.get("bytes_limit", 0) - told.get("peak_bytes_in_use", 0)
