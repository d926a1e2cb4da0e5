"""How functions of one member become compiled functions of a population on a mesh."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

from fdl import shards
from fdl.experiment import Experiment, Source
from fdl.parallel.distributed import several
from fdl.parallel.in_place import compiled_rightly
from fdl.parallel.kernels import options_of
from fdl.parallel.plan import Plan, mesh_of, over_members, replicated
from fdl.parallel.sharding import by_rows, on_mesh, put, state_layout
from fdl.train import run as one
from fdl.train.run import Build, Carry, Member


def lift(function: Callable[[Any, Any], Any], plan: Plan, mesh: Mesh) -> Callable[[Any, Any], Any]:
    """A function of one member, `function(own, shared) -> out`, over a leading member axis.

    Along `population`, and along `data` where each device is to run the step by itself, the function is
    mapped by hand (`shard_map`), so that groups of devices never wait for each other; along the other
    axes the compiler splits it.

    Returns:
      `lifted(own, shared) -> out`, where the leaves of `own` and `out` are `[members, ...]`.
    """
    each = plan.members // plan.population

    def local(own: Any, shared: Any) -> Any:
        if each == 1:
            out = function(jax.tree.map(lambda leaf: leaf[0], own), shared)
            return jax.tree.map(lambda leaf: leaf[None], out)
        if plan.across == "vmap":
            return jax.vmap(function, in_axes=(0, None))(own, shared)
        return lax.map(lambda member: function(member, shared), own)

    if plan.devices == 1 or plan.strategy == "pmap":
        return local
    if plan.population == 1 and plan.strategy == "jit":
        # Not by hand along an axis of one: XLA, as of jaxlib 0.10, splits no scatter inside, so that the
        # gradient of an embedding gathered whole batches of activations on every device.
        def seen(own: Any, shared: Any) -> Any:
            with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
                return local(own, shared)

        return seen
    split, whole = PartitionSpec("population"), PartitionSpec()
    manual = {"population", shards.AXIS} if plan.strategy == "shard_map" else {"population"}
    if plan.group == 1:
        # The compiler has nothing to split; and only where every axis is by hand may the function call back
        # to Python (`pure_callback`, `io_callback`).
        manual = set(mesh.axis_names)
    return jax.shard_map(
        local, mesh=mesh, in_specs=(split, whole), out_specs=split, axis_names=manual, check_vma=False
    )


class Executable(NamedTuple):
    """A compiled function.

    Attributes:
      run: the function, of placed arrays.
      compiled: what the compiler knows of it (`memory_analysis()`, `as_text()`).
    """

    run: Callable[..., Any]
    compiled: Any


def in_turn(run: Callable[..., Any], plan: Plan) -> Callable[..., Any]:
    """A compiled function which, where CPUs talk with each other, returns when it is done.

    Two such programs of jaxlib 0.10 were seen to deadlock when the second began before
    the first had ended: over gloo, and in one process.
    """
    if (plan.group == 1 and not several()) or jax.devices()[0].platform != "cpu":
        return run
    return lambda *arguments: jax.block_until_ready(run(*arguments))


def lower(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    plan: Plan,
    mesh: Mesh,
    *,
    out: Any = None,
    donate: bool,
) -> Callable[[], Executable]:
    """A function of the whole population, traced and ready to be compiled.

    Args:
      function: what is to be compiled.
      arguments: placed arrays, or shapes with shardings.
      plan: how it runs.
      mesh: the devices; if they are not there, only what the compiler knows of the function is of use.
      out: the shardings of its results, where they are to be fixed.
      donate: whether the first argument is given up.
    """
    donated, platform = (0,) if donate else (), mesh.devices.flat[0].platform
    finish = functools.partial(compiled_rightly, platform=platform, options=options_of(plan.kernels))
    if plan.strategy != "pmap":
        lowered = jax.jit(function, donate_argnums=donated, out_shardings=out).lower(*arguments)
        return lambda: Executable(in_turn(compiled := finish(lowered), plan), compiled)
    # pmap wants an argument that differs from device to device; the devices' numbers are one.
    devices = mesh.devices.flatten().tolist()
    mapped = jax.pmap(
        lambda number, *rest: function(*rest),
        axis_name=shards.AXIS,
        in_axes=(0, *(None for _ in arguments)),
        out_axes=None,
        devices=devices,
        donate_argnums=tuple(place + 1 for place in donated),
    )
    along = NamedSharding(Mesh(np.asarray(devices), (shards.AXIS,)), PartitionSpec(shards.AXIS))
    numbers = np.arange(plan.devices, dtype=np.int32)
    placed = functools.cache(lambda: jax.device_put(numbers, along))  # not before it runs
    lowered = mapped.lower(jax.ShapeDtypeStruct(numbers.shape, numbers.dtype, sharding=along), *arguments)

    def compile() -> Executable:
        compiled = finish(lowered)
        return Executable(in_turn(lambda *given: compiled(placed(), *given), plan), compiled)

    return compile


class Parts(NamedTuple):
    """What a population's functions are made of.

    Attributes:
      build: the experiment as a function of the config, laid out on the mesh.
      plan: how the members run.
      mesh: the devices.
      experiment: that of the first member, not laid out.
      members: placed on the devices; shapes with shardings where the devices are not there.
      arrays: likewise the sources' arrays, whole on every device; shapes of what stays on the host.
      carry: its shapes with shardings.
      layout: the shardings alone.
    """

    build: Build
    plan: Plan
    mesh: Mesh
    experiment: Experiment
    members: Any
    arrays: Any
    carry: Carry
    layout: Any


def parts_of(build: Build, members: Member, arrays: Any, plan: Plan, *, absent: Mesh | None = None) -> Parts:
    """Lays out a population: `members` of leaves `[plan.members, ...]`, the sources' `arrays` by split.

    Args:
      build: the experiment as a function of the config.
      members: the population.
      arrays: the sources' arrays.
      plan: how the members run.
      absent: devices to compile for that are not there, instead of this process's; nothing is placed.
    """
    mesh = mesh_of(plan) if absent is None else absent
    lay = put if absent is None else shapes_on
    laid_out = lambda config: on_mesh(build(config), plan)  # noqa: E731
    experiment = build(jax.tree.map(lambda leaf: leaf[0], members.config))
    carry = jax.eval_shape(jax.vmap(lambda member: one.init(build, member)), members)
    layout = jax.tree.map(lambda _: over_members(mesh), carry)
    layout = layout._replace(state=state_layout(experiment.learner, plan, mesh))
    return Parts(
        build=laid_out,
        plan=plan,
        mesh=mesh,
        experiment=experiment,
        members=lay(members, over_members(mesh)),
        arrays=placed(arrays, lambda array: lay(array, replicated(mesh))),
        carry=shapes_on(carry, layout),
        layout=layout,
    )


def shapes_on(tree: Any, layout: Any) -> Any:
    """The shapes of a tree's arrays, laid out by a sharding, or by a tree of shardings."""
    shapes = jax.eval_shape(lambda leaves: leaves, tree)
    shardings = jax.tree.map(lambda _: layout, shapes) if isinstance(layout, Sharding) else layout
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        shapes,
        shardings,
    )


def lifted(parts: Parts, function: Callable[[Any, Any], Any], *, manual: bool = False) -> Any:
    """A function of one member over all; only a training step may see its device's rows alone."""
    plan = parts.plan if manual else parts.plan._replace(strategy="jit")
    return lift(function, plan, parts.mesh)


def ready(
    parts: Parts,
    function: Any,
    arguments: Any,
    *,
    out: Any = None,
    donate: bool = False,
    manual: bool = False,
) -> Callable[[], Executable]:
    """`lower` of a lifted function; `manual` as for `lifted`."""
    plan = parts.plan if manual else parts.plan._replace(strategy="jit")
    return lower(function, arguments, plan, parts.mesh, out=out, donate=donate)


def placed(arrays: Any, beside: Callable[[Any], Any]) -> Any:
    """Arrays on the devices; shapes of what stays on the host as they are."""
    return jax.tree.map(lambda one: one if isinstance(one, jax.ShapeDtypeStruct) else beside(one), arrays)


def fetched(parts: Parts, source: Source, *, members: bool) -> Any:
    """The shapes and layouts of what a source fetches: of each member, or of all together."""

    def laid(one: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        sharding = by_rows(parts.mesh, parts.plan, one.shape[0], members=members)
        shape = (parts.plan.members, *one.shape) if members else one.shape
        return jax.ShapeDtypeStruct(shape, one.dtype, sharding=sharding)

    return jax.tree.map(laid, source.arrays)
