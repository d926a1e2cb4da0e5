"""A population's compiled program: `init`, `advance` and `evaluate` over a leading member axis."""

import concurrent.futures
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fdl.parallel.plan import Plan, lift, mesh_of, split_over, whole_on
from fdl.train import member as one
from fdl.train.feed import Feed
from fdl.train.member import Build, Carry, Member, Row


class Pulse(NamedTuple):
    """What the loop reads after every call; copies, so that it can be read while the next call runs.

    Attributes:
      step: updates done, int32 `[members]`.
      live: bool `[members]`.
      failed: as in `Carry`, int32 `[members]`.
    """

    step: jax.Array
    live: jax.Array
    failed: jax.Array


class Program(NamedTuple):
    """Compiled functions of a population; a carry that is given is given up (its memory is reused).

    Attributes:
      plan: how the members run.
      place: `place(members) -> members`, onto their devices.
      init: `init(members) -> carry`.
      advance: `advance(members, carry, start, end) -> (carry, pulse)`; the steps from `start` to `end`.
      evaluate: `evaluate(members, carry) -> (carry, rows)`.
      abstract: the carry's shapes, dtypes and shardings.
      compile_seconds: what compiling took.
      memory_bytes: peak memory of a step on one device, by the compiler's own analysis.
    """

    plan: Plan
    place: Callable[[Member], Member]
    init: Callable[[Member], Carry]
    advance: Callable[[Member, Carry, int, int], tuple[Carry, Pulse]]
    evaluate: Callable[[Member, Carry], tuple[Carry, Row]]
    abstract: Carry
    compile_seconds: float
    memory_bytes: int


def stack_members(configs: Sequence[Any], keys: jax.Array, *, pad_to: int) -> Member:
    """Members of one static structure as one tree `[pad_to, ...]`; padding repeats the last, not live.

    Args:
      configs: each member's config.
      keys: each member's root key `[len(configs)]`.
      pad_to: members in the program.
    """
    count = len(configs)
    chosen = [min(index, count - 1) for index in range(pad_to)]
    stacked = jax.tree.map(lambda *leaves: jnp.asarray(leaves, jnp.float32), *(configs[i] for i in chosen))
    return Member(stacked, keys[jnp.asarray(chosen)], jnp.arange(pad_to) < count)


def compile_program(build: Build, members: Member, arrays: Any, plan: Plan) -> Program:
    """Compiles a population's functions; nothing runs yet.

    Args:
      build: the experiment as a function of the config.
      members: leaves `[plan.members, ...]`; others of the same structure may run later.
      arrays: the sources' arrays by split.
      plan: how the members run.
    """
    began = time.perf_counter()
    mesh = mesh_of(plan)
    place = functools.partial(jax.device_put, device=split_over(mesh))
    beside = functools.partial(jax.device_put, device=whole_on(mesh))
    members, arrays = place(members), _placed(arrays, beside)
    lifted = functools.partial(lift, plan=plan, mesh=mesh)
    init = jax.jit(lifted(lambda member, _: one.init(build, member)))
    carry = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=split_over(mesh)),
        jax.eval_shape(init, members, ()),
    )
    make = functools.partial(_on_device, build, members, arrays, carry, lifted, beside)
    if plan.loop == "calls":
        make = functools.partial(_on_host, build, members, arrays, carry, lifted, place, beside)
    lowered, connect = make()
    lowered["init"] = init.lower(members, ())
    with concurrent.futures.ThreadPoolExecutor() as pool:  # the compiler runs outside Python's lock
        done = pool.map(lambda each: each.compile(), lowered.values())
        compiled = dict(zip(lowered, done, strict=True))
    advance, evaluate = connect(compiled)
    return Program(
        plan=plan,
        place=place,
        init=lambda members: compiled["init"](members, ()),
        advance=advance,
        evaluate=evaluate,
        abstract=carry,
        compile_seconds=time.perf_counter() - began,
        memory_bytes=_peak_memory(compiled["advance"]),
    )


def _on_device(
    build: Build, members: Any, arrays: Any, carry: Any, lifted: Any, beside: Any
) -> tuple[dict[str, Any], Any]:
    """The functions that loop over steps and batches inside the program."""

    def one_advance(own: Any, shared: Any) -> tuple[Carry, Pulse]:
        carry = one.advance(build, own[1], shared[0], own[0], shared[1])
        return carry, _pulse(carry)

    lift_advance = lifted(one_advance)
    lift_evaluate = lifted(lambda own, shared: one.evaluate(build, own[1], shared, own[0]))
    advance = jax.jit(lambda carry, m, a, end: lift_advance((carry, m), (a, end)), donate_argnums=0)
    evaluate = jax.jit(lambda carry, m, a: lift_evaluate((carry, m), a), donate_argnums=0)
    number = lambda value: beside(jnp.int32(value))  # noqa: E731
    lowered = {
        "advance": advance.lower(carry, members, arrays, number(0)),
        "evaluate": evaluate.lower(carry, members, arrays),
    }

    def connect(compiled: dict[str, Any]) -> tuple[Any, Any]:
        return (
            lambda members, carry, _, end: compiled["advance"](carry, members, arrays, number(end)),
            lambda members, carry: compiled["evaluate"](carry, members, arrays),
        )

    return lowered, connect


def _on_host(
    build: Build, members: Any, arrays: Any, carry: Any, lifted: Any, place: Any, beside: Any
) -> tuple[dict[str, Any], Any]:
    """The functions that loop on the host, a call a step: on CPUs, convolutions inside a loop on the
    device are many times slower, and data that stays on the host comes a batch at a time."""
    experiment = build(jax.tree.map(lambda leaf: leaf[0], members.config))
    batches = {split: source.batches for split, source in experiment.evaluation.items()}
    feeds = {
        split: Feed(source, place if split == "train" else beside, end=batches.get(split, experiment.steps))
        for split, source in one.sources_of(experiment).items()
        if source.fetch
    }
    given = {split: () if split in feeds else part for split, part in arrays.items()}

    def once(own: Any, shared: Any) -> Carry:
        carry, member, fetched = own
        train = {"train": fetched} if "train" in feeds else {}
        return one.advance_once(build, member, shared | train, carry)

    def measure(split: str) -> Any:
        def part(own: Any, shared: Any) -> Any:
            return one.measure(build, own[1], {split: shared[0]}, own[0], split, shared[1])

        lifted_part = lifted(part)
        return jax.jit(lambda carry, m, data, index: lifted_part((carry, m), (data, index)))

    lift_once, lift_close = lifted(once), lifted(lambda own, _: one.close(build, own[1], own[0], own[2]))
    advance = jax.jit(lambda carry, m, fetched, a: lift_once((carry, m, fetched), a), donate_argnums=0)
    pulse = jax.jit(lambda carry: jax.tree.map(jnp.copy, _pulse(carry)))
    close = jax.jit(lambda carry, m, sums: lift_close((carry, m, sums), ()), donate_argnums=0)
    measures = {split: measure(split) for split in batches}
    shapes = _widened(arrays["train"], members.live) if "train" in feeds else ()
    lowered = {"advance": advance.lower(carry, members, shapes, given), "pulse": pulse.lower(carry)}

    def connect(compiled: dict[str, Any]) -> tuple[Any, Any]:
        def advance(members: Member, carry: Carry, start: int, end: int) -> tuple[Carry, Pulse]:
            for step in range(start, end):
                fetched = feeds["train"].of(members.key, step) if "train" in feeds else ()
                carry = compiled["advance"](carry, members, fetched, given)
            return carry, compiled["pulse"](carry)

        def evaluated(members: Member, carry: Carry, split: str, index: int) -> Any:
            data = feeds[split].of(None, index) if split in feeds else given[split]
            return measures[split](carry, members, data, beside(jnp.int32(index)))

        def evaluate(members: Member, carry: Carry) -> tuple[Carry, Row]:
            sums = {}
            for split, count in batches.items():
                parts = (evaluated(members, carry, split, index) for index in range(count))
                sums[split] = functools.reduce(functools.partial(jax.tree.map, jnp.add), parts)
            return close(carry, members, sums)

        return advance, evaluate

    return lowered, connect


def _placed(arrays: Any, beside: Callable[[Any], Any]) -> Any:
    """Arrays on the devices; shapes of what stays on the host as they are."""
    return jax.tree.map(lambda one: one if isinstance(one, jax.ShapeDtypeStruct) else beside(one), arrays)


def _widened(shapes: Any, live: jax.Array) -> Any:
    """The shapes of one member's rows as those of all members', `[members, ...]`."""
    return jax.tree.map(
        lambda one: jax.ShapeDtypeStruct((*live.shape, *one.shape), one.dtype, sharding=live.sharding), shapes
    )


def _pulse(carry: Carry) -> Pulse:
    return Pulse(carry.step + 0, one.is_live(carry), carry.failed + 0)


def _peak_memory(compiled: Any) -> int:
    """Bytes on one device: arguments, temporaries and outputs that do not reuse an argument."""
    sizes = compiled.memory_analysis()
    if sizes is None:
        return 0
    outputs = sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    return sizes.argument_size_in_bytes + sizes.temp_size_in_bytes + max(outputs, 0)
