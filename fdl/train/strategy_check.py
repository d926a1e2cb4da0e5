"""Whether a learner takes the right step where every device runs it by itself on its rows of a batch."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from fdl import rng
from fdl.experiment import Experiment, Metrics, Source, State
from fdl.parallel.plan import Plan, mesh_of, over_members, replicated
from fdl.parallel.sharding import on_mesh, put, state_layout
from fdl.train.lowering import lift, lower

FARTHEST = 0.05
"""How far apart two changes of an array may be, as a share of the change: what is wrong differs by far more,
and rounding by far less but where it decides a gradient's sign."""
# The largest of 4 differences that rounding makes, and a margin, as 4 draws may miss a larger one.
_NUDGES, _SPREAD = 4, 3.0


def check_agreement(experiment: Experiment, plan: Plan, key: jax.Array) -> None:
    """Takes a run's first step as the plan says and, on the same mesh, by `jit`, and compares the states.

    A learner whose gradients are not averaged over the devices, or that draws the same numbers for the rows
    of every device, changes its state otherwise. Every array's change is compared by its norm. Some gradients
    are zero but for rounding, which Adam makes as large as the others: so where changes differ, the step by
    `jit` is also taken from states that differ by rounding, and what its changes differ by is allowed. It
    costs compiling two steps, and the memory of four states. It sees nothing where a first step changes
    nothing, as plain SGD at a rate of zero does.

    Args:
      experiment: what is to be run.
      plan: how; where its strategy is `jit`, or the rows are not split along `data`, nothing is checked.
      key: the run's root key.

    Raises:
      ValueError: the steps differ; it names the first array that does.
    """
    if plan.strategy == "jit" or plan.data == 1:
        return
    plan = plan._replace(members=plan.population, across="map", loop="calls")
    by_compiler = plan._replace(strategy="jit")
    mesh = mesh_of(plan)
    before = first_state(experiment, plan, key)
    layout = jax.tree.map(lambda leaf: leaf.sharding, before)
    # By hand first: a step that cannot be taken so says it at once.
    by_hand = jax.device_put(first_step(experiment, plan, key)(before)[0], layout)
    step = first_step(experiment, by_compiler, key)
    after = step(before)[0]
    norms = jax.jit(_norms, out_shardings=replicated(mesh))
    size, moved, apart = np.asarray(norms(before, after, before, by_hand))
    del by_hand
    allowed = FARTHEST * moved + 1e-7 * size + 1e-9 * np.sqrt(np.sum(np.square(moved)))
    if not np.all(apart <= allowed):
        nudge, noise = jax.jit(_nudged, out_shardings=layout), np.zeros_like(apart)
        for number in range(_NUDGES):
            nudged = nudge(before, jax.random.fold_in(key, number))
            noise = np.maximum(noise, norms(before, after, nudged, step(nudged)[0])[2])
        allowed = allowed + _SPREAD * noise
    for name, far, most, change in zip(_names(before), apart, allowed, moved, strict=True):
        if np.isfinite(change) and not far <= most:
            raise ValueError(
                f"a first step by {plan.strategy} changes {name} otherwise than one by jit (changes of norm "
                f"{change:.2g} differ by {far:.2g}): the learner's own gradients or random draws do not go "
                "through fdl.shards; take --strategy jit"
            )


def first_state(experiment: Experiment, plan: Plan, key: jax.Array) -> State:
    """The states, all alike, of the plan's members before their first step, leaves `[members, ...]`."""
    plan = plan._replace(strategy="jit")
    mesh, learner = mesh_of(plan), on_mesh(experiment, plan).learner
    start = lift(lambda own, _: learner.init(own), plan, mesh)
    keys = _widened(rng.stream(key, "init"), plan, mesh)
    return jax.jit(start, out_shardings=state_layout(experiment.learner, plan, mesh))(keys, ())


def first_step(
    experiment: Experiment, plan: Plan, key: jax.Array
) -> Callable[[State], tuple[State, Metrics]]:
    """The step of all members, compiled; it is not their first alone, but always on the first batch.

    Returns:
      `step(states) -> (states, metrics)`, leaves `[members, ...]`, of a state as of `first_state`.

    Raises:
      ValueError: batches whose rows do not divide over the devices.
    """
    mesh, laid_out = mesh_of(plan), on_mesh(experiment, plan)
    source, data_key = experiment.train, rng.stream(key, "data")
    own_key = jax.random.fold_in(rng.stream(key, "step"), 0)

    def step(state: State, shared: Any) -> tuple[State, Metrics]:
        arrays, data_key, own_key = shared
        batch = source.batch(arrays, jnp.int32(0), data_key)
        return laid_out.learner.step(state, batch, own_key)

    shared = put((_arrays(source, data_key), data_key, own_key), replicated(mesh))
    layout = state_layout(experiment.learner, plan, mesh)
    shapes = jax.eval_shape(experiment.learner.init, key)
    states = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(
            (plan.members, *leaf.shape), leaf.dtype, sharding=sharding
        ),
        shapes,
        layout,
    )
    out = (layout, over_members(mesh))
    run = lower(lift(step, plan, mesh), (states, shared), plan, mesh, out=out, donate=False)().run
    return lambda states: run(states, shared)


def _arrays(source: Source, key: jax.Array) -> Any:
    if source.fetch is None:
        return source.arrays
    return source.fetch(0, np.asarray(jax.random.key_data(key)), slice(None))


def _widened(key: jax.Array, plan: Plan, mesh: Mesh) -> jax.Array:
    return put(jnp.broadcast_to(key, (plan.members,)), over_members(mesh))


def _floats(state: State) -> list[tuple[Any, jax.Array]]:
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return [(path, leaf) for path, leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact)]


def _names(state: State) -> list[str]:
    return [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in _floats(state)]


def _norms(before: State, after: State, other_before: State, other_after: State) -> jax.Array:
    """Of every array of floats the norm, that of its change, and of the two changes' difference, `[3, A]`."""
    rows = []
    states = (before, after, other_before, other_after)
    for a, b, c, d in zip(*([leaf for _, leaf in _floats(state)] for state in states), strict=True):
        change, other = b - a, d - c
        rows.append([jnp.linalg.norm(x.ravel().astype(_wide(x))) for x in (a, change, other - change)])
    return jnp.asarray(rows).reshape(-1, 3).T


def _wide(x: jax.Array) -> Any:
    return jnp.promote_types(x.dtype, jnp.float32)


def _nudged(state: State, key: jax.Array) -> State:
    """The state with each float moved by about its rounding error."""

    def nudge(leaf: jax.Array) -> jax.Array:
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            return leaf
        return leaf * (1 + jnp.finfo(leaf.dtype).eps * jax.random.normal(key, leaf.shape, leaf.dtype))

    return jax.tree.map(nudge, state)
