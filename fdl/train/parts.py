"""What a population's functions are made of: members, arrays and a carry, laid out on a mesh."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh, Sharding

from fdl.experiment import Experiment, Source
from fdl.parallel.layout import on_mesh, state_layout
from fdl.parallel.lift import Executable, lift, lower
from fdl.parallel.plan import Plan, mesh_of, split_over, whole_on
from fdl.parallel.spread import by_rows, put
from fdl.train import member as one
from fdl.train.member import Build, Carry, Member


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
    layout = jax.tree.map(lambda _: split_over(mesh), carry)
    layout = layout._replace(state=state_layout(experiment.learner, plan, mesh))
    return Parts(
        build=laid_out,
        plan=plan,
        mesh=mesh,
        experiment=experiment,
        members=lay(members, split_over(mesh)),
        arrays=placed(arrays, lambda array: lay(array, whole_on(mesh))),
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


def lifted(parts: Parts, function: Callable[[Any, Any], Any], *, by_hand: bool = False) -> Any:
    """A function of one member over all; only a training step may see its device's rows alone."""
    plan = parts.plan if by_hand else parts.plan._replace(strategy="jit")
    return lift(function, plan, parts.mesh)


def ready(
    parts: Parts,
    function: Any,
    arguments: Any,
    *,
    out: Any = None,
    donate: bool = False,
    by_hand: bool = False,
) -> Callable[[], Executable]:
    """`fdl.parallel.lift.lower` of a lifted function; `by_hand` as for `lifted`."""
    plan = parts.plan if by_hand else parts.plan._replace(strategy="jit")
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
