"""Values on devices of several processes: each process places, reads and holds its own part."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from fdl.parallel.plan import Plan, split_over, whole_on


def put(tree: Any, sharding: NamedSharding) -> Any:
    """Values that are the same on every process, laid out on devices; nothing is sent between processes."""
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)
    return jax.tree.map(functools.partial(_put, sharding=sharding), tree)


def host_copy(tree: Any) -> Any:
    """Arrays on devices as NumPy arrays, whole on every process; all processes must ask."""
    leaves = jax.tree.leaves(tree)
    if all(leaf.is_fully_addressable or leaf.is_fully_replicated for leaf in leaves):
        return jax.device_get(tree)
    return jax.device_get(jax.jit(lambda tree: tree, out_shardings=whole_on(leaves[0].sharding.mesh))(tree))


def readable(mesh: Mesh) -> NamedSharding:
    """The layout of leaves `[members, ...]` that every process is to read."""
    return whole_on(mesh) if mesh.is_multi_process else split_over(mesh)


def by_rows(mesh: Mesh, plan: Plan, batch_size: int, *, members: bool) -> NamedSharding:
    """The layout of what is fetched on the hosts, `[members, B, ...]`, or `[B, ...]` without `members`.

    Within one process every device is given whole batches; over several, each its own rows where they
    divide.
    """
    shares = plan.data * plan.fsdp
    axes = tuple(axis for axis in ("fsdp", "data") if getattr(plan, axis) > 1)  # as `layout.on_mesh` has them
    split = mesh.is_multi_process and shares > 1 and batch_size % shares == 0
    spec = (*(("population",) if members else ()), *((axes,) if split else ()))
    return NamedSharding(mesh, PartitionSpec(*spec))


def assembled(read: Callable[[slice, slice], Any], shapes: Any, *, members: bool) -> Any:
    """Arrays of which a process reads only what its own devices hold.

    Args:
      read: `read(members, rows) -> arrays`, those parts of `[members, B, ...]`, or of `[B, ...]`.
      shapes: of the whole arrays, with layouts as `by_rows` gives them.
      members: whether there is a leading member axis.
    """
    leaves, structure = jax.tree.flatten(shapes)
    if all(one.sharding.is_fully_addressable for one in leaves):
        everything = slice(None)
        return jax.device_put(read(everything, everything), jax.tree.map(lambda one: one.sharding, shapes))
    once = functools.cache(lambda m0, m1, r0, r1: jax.tree.leaves(read(slice(m0, m1), slice(r0, r1))))

    def leaf(place: int, one: jax.ShapeDtypeStruct) -> jax.Array:
        def part(index: Any) -> Any:
            bounds = [piece.indices(size)[:2] for piece, size in zip(index, one.shape, strict=True)]
            of_members, of_rows = bounds[:2] if members else ((0, 1), bounds[0])
            return once(*of_members, *of_rows)[place]

        return jax.make_array_from_callback(one.shape, one.sharding, part)

    return jax.tree.unflatten(structure, [leaf(place, one) for place, one in enumerate(leaves)])


def _put(leaf: Any, sharding: NamedSharding) -> jax.Array:
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        return jax.device_put(leaf, sharding)
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        words = _put(jax.random.key_data(leaf), sharding)
        return jax.random.wrap_key_data(words, impl=jax.random.key_impl(leaf))
    host = np.asarray(leaf)
    host = host.astype(jax.dtypes.canonicalize_dtype(host.dtype), copy=False)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])
