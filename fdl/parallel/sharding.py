"""Where each array of an experiment lies on a mesh: parameters by their axes' names, batches by rows.

The rules, after Xu et al. 2021, GSPMD, and Rajbhandari et al. 2020, ZeRO, sec. 5: the axes named `heads`,
`mlp` and `vocab` are split along the mesh axis `tensor`; then the longest axis that is left of every
parameter, and of the optimizer's arrays beside it, along `fsdp`; the rows of batches and activations along
`data` and `fsdp`. What does not divide stays whole.

With several processes each places, reads and holds its own part.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from fdl import shards
from fdl.experiment import Batch, Experiment, Learner, Metrics, State
from fdl.models.axes import laid_out_by, names_shown
from fdl.parallel.plan import Plan, over_members, replicated

TENSOR = ("heads", "mlp", "vocab")
"""The names of the axes that are split along the mesh axis `tensor`."""
SMALLEST = 1024
"""Arrays of fewer elements are kept whole: asking for their parts costs more than their memory."""


def spec_of(shape: Sequence[int], names: Sequence[str | None], plan: Plan) -> PartitionSpec:
    """How an array of a learner's state is split, by its shape and its axes' names (or no names)."""
    axes: list[str | None] = [None] * len(shape)
    if math.prod(shape) < SMALLEST:
        return PartitionSpec()
    if plan.tensor > 1:
        fitting = [i for i, name in enumerate(names) if name in TENSOR and shape[i] % plan.tensor == 0]
        for i in fitting[:1]:
            axes[i] = "tensor"
    if plan.fsdp > 1:
        free = [i for i in range(len(shape)) if axes[i] is None and shape[i] % plan.fsdp == 0]
        if free:
            axes[max(free, key=lambda i: shape[i])] = "fsdp"
    return PartitionSpec(*axes)


def state_specs(learner: Learner, plan: Plan) -> Any:
    """How a learner's state is split: a `PartitionSpec` for each of its arrays.

    Raises:
      ValueError: the axes of its parameters have no names, and `tensor` goes by them; or it divides none.
    """
    key = jax.random.key(0)
    state = jax.eval_shape(learner.init, key)
    if plan.tensor == 1:
        return jax.tree.map(lambda leaf: spec_of(leaf.shape, (), plan), state)
    with names_shown():
        boxed = jax.eval_shape(lambda key: learner.init(key), key)  # not the trace of before, from a cache
    is_box = lambda leaf: isinstance(leaf, nn.Partitioned)  # noqa: E731
    boxes = jax.tree.leaves(boxed, is_leaf=is_box)
    leaves, structure = jax.tree.flatten(state)
    named = [box.names if is_box(box) else () for box in boxes]
    if len(boxes) != len(leaves) or not any(set(names) & set(TENSOR) for names in named):
        raise ValueError(
            f"no parameter has an axis named {', '.join(TENSOR)}, so there is nothing to split along "
            "tensor; take data or fsdp"
        )
    specs = [spec_of(leaf.shape, names, plan) for leaf, names in zip(leaves, named, strict=True)]
    if not any("tensor" in spec for spec in specs):
        sizes = (zip(names, leaf.shape, strict=False) for leaf, names in zip(leaves, named, strict=True))
        pairs = dict.fromkeys(pair for one in sizes for pair in one)
        found = ", ".join(f"{name} of {size}" for name, size in pairs if name in TENSOR)
        raise ValueError(
            f"tensor={plan.tensor} splits no parameter of {SMALLEST:,} elements or more: it divides none of "
            f"the axes that it may split ({found}); take a divisor of one, or data or fsdp"
        )
    return jax.tree.unflatten(structure, specs)


def state_layout(learner: Learner, plan: Plan, mesh: Mesh) -> Any:
    """The shardings of a population's states, of leaves `[members, ...]`."""
    return jax.tree.map(
        lambda spec: NamedSharding(mesh, PartitionSpec("population", *spec)),
        state_specs(learner, plan),
        is_leaf=lambda spec: isinstance(spec, PartitionSpec),
    )


def on_mesh(experiment: Experiment, plan: Plan) -> Experiment:
    """The same experiment with every array laid out as the plan says; to be run under `lift`.

    Its `step` may run by hand along `data`, as the plan's strategy says; `init` and `evaluate` are for `jit`.

    Raises:
      ValueError: batches whose rows do not divide over the devices, or nothing to split along `tensor`.
    """
    if plan.group == 1:
        return experiment
    _check_rows(experiment, plan)
    learner, specs = experiment.learner, state_specs(experiment.learner, plan)
    # In this order: with ("data", "fsdp") on a mesh that splits along tensor as well, jaxlib 0.10 and 0.12
    # compiled (for CPUs) a wrong gradient of an MLP's first layer.
    everywhere = tuple(axis for axis in ("fsdp", "data") if getattr(plan, axis) > 1)
    by_compiler = everywhere if plan.strategy == "jit" else tuple({"fsdp"} & set(everywhere))
    alone = plan.strategy == "pmap"  # the compiler sees one device's program

    def lay(state: State) -> State:
        return state if alone else jax.tree.map(_constrained, state, specs)

    def split(batch: Batch, axes: tuple[str, ...]) -> Batch:
        names = ("batch",)
        return jax.tree.map(lambda leaf: _place(leaf, names[: leaf.ndim], axes, plan), batch)

    def init(key: jax.Array) -> State:
        return jax.tree.map(_constrained, learner.init(key), specs)

    def step(state: State, batch: Batch, key: jax.Array) -> tuple[State, Metrics]:
        batch = shards.own_rows(batch) if plan.strategy != "jit" else batch
        if alone:
            return learner.step(state, batch, key)
        with laid_out_by(functools.partial(_place, axes=by_compiler, plan=plan)):
            state, metrics = learner.step(state, split(batch, by_compiler), key)
        return lay(state), metrics

    def evaluate(state: State, batch: Batch, key: jax.Array) -> Metrics:
        with laid_out_by(functools.partial(_place, axes=everywhere, plan=plan)):
            return learner.evaluate(state, split(batch, everywhere), key)

    return experiment._replace(learner=learner._replace(init=init, step=step, evaluate=evaluate))


def rows_of(experiment: Experiment) -> int:
    """The greatest number that divides the rows of every array of a training batch; 1 if some has none."""
    source = experiment.train
    batch = jax.eval_shape(source.batch, source.arrays, jnp.int32(0), jax.random.key(0))
    return math.gcd(*(leaf.shape[0] if leaf.ndim else 1 for leaf in jax.tree.leaves(batch))) or 1


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
    return jax.device_get(jax.jit(lambda tree: tree, out_shardings=replicated(leaves[0].sharding.mesh))(tree))


def readable(mesh: Mesh) -> NamedSharding:
    """The layout of leaves `[members, ...]` that every process is to read."""
    return replicated(mesh) if mesh.is_multi_process else over_members(mesh)


def by_rows(mesh: Mesh, plan: Plan, batch_size: int, *, members: bool) -> NamedSharding:
    """The layout of what is fetched on the hosts, `[members, B, ...]`, or `[B, ...]` without `members`.

    Within one process every device is given whole batches; over several, each its own rows where they
    divide.
    """
    shares = plan.data * plan.fsdp
    axes = tuple(axis for axis in ("fsdp", "data") if getattr(plan, axis) > 1)  # as `on_mesh` has them
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


def _check_rows(experiment: Experiment, plan: Plan) -> None:
    rows, shares = rows_of(experiment), plan.data * plan.fsdp
    if rows == 1 < shares:
        raise ValueError(
            "training batches have no rows in common (as in self-play, which makes its own data), so nothing "
            "can be split along data or fsdp; take population, for more members at once"
        )
    if rows % shares:
        raise ValueError(
            f"batches of {rows} rows do not divide over data × fsdp = {shares} devices; take a batch size "
            f"that is a multiple of {shares}, or another mesh"
        )


def _place(x: jax.Array, names: Sequence[str | None], axes: tuple[str, ...], plan: Plan) -> jax.Array:
    """An activation or a batch, laid out by the names of its axes; the rows along the mesh axes `axes`."""
    parts: list[Any] = [None] * x.ndim
    for i, name in enumerate(names):
        if name == "batch" and axes and x.shape[i] % math.prod(getattr(plan, a) for a in axes) == 0:
            parts[i] = axes
        if name in TENSOR and plan.tensor > 1 and "tensor" not in parts and x.shape[i] % plan.tensor == 0:
            parts[i] = "tensor"
    return _constrained(x, PartitionSpec(*parts))


def _constrained(x: jax.Array, spec: PartitionSpec) -> jax.Array:
    return lax.with_sharding_constraint(x, NamedSharding(jax.sharding.get_abstract_mesh(), spec))


def _put(leaf: Any, sharding: NamedSharding) -> jax.Array:
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        return jax.device_put(leaf, sharding)
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        words = _put(jax.random.key_data(leaf), sharding)
        return jax.random.wrap_key_data(words, impl=jax.random.key_impl(leaf))
    host = np.asarray(leaf)
    host = host.astype(jax.dtypes.canonicalize_dtype(host.dtype), copy=False)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])
