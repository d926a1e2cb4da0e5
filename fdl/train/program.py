"""A population's compiled program: `init`, `advance` and `evaluate` over a leading member axis."""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fdl import tree
from fdl.parallel.plan import Plan, lift, mesh_of, split_over, whole_on
from fdl.train import member as one
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
      members: the members, on their devices.
      init: `init() -> carry`.
      advance: `advance(carry, start, end) -> (carry, pulse)`; takes the steps from `start` to `end`.
      evaluate: `evaluate(carry) -> (carry, rows)`.
      abstract: the carry's shapes, dtypes and shardings.
      compile_seconds: what compiling took.
      memory_bytes: peak memory of a step on one device, by the compiler's own analysis.
    """

    plan: Plan
    members: Member
    init: Callable[[], Carry]
    advance: Callable[[Carry, int, int], tuple[Carry, Pulse]]
    evaluate: Callable[[Carry], tuple[Carry, Row]]
    abstract: Carry
    compile_seconds: float
    memory_bytes: int


def stack_members(configs: list[Any], seeds: list[int], *, pad_to: int) -> Member:
    """Members of one static structure as one tree `[pad_to, ...]`; padding repeats the last, not live."""
    lost = pad_to - len(seeds)
    configs, seeds = configs + configs[-1:] * lost, seeds + seeds[-1:] * lost
    stacked = jax.tree.map(lambda *leaves: jnp.asarray(leaves, jnp.float32), *configs)
    keys = tree.stack([jax.random.key(seed) for seed in seeds])
    return Member(stacked, keys, jnp.arange(pad_to) < pad_to - lost)


def compile_program(build: Build, members: Member, arrays: Any, plan: Plan) -> Program:
    """Compiles a population's functions; nothing runs yet.

    Args:
      build: the experiment as a function of the config.
      members: leaves `[plan.members, ...]`.
      arrays: the sources' arrays by split.
      plan: how the members run.
    """
    began = time.perf_counter()
    mesh = mesh_of(plan)
    members = jax.device_put(members, split_over(mesh))
    arrays = jax.device_put(arrays, whole_on(mesh))
    lifted = functools.partial(lift, plan=plan, mesh=mesh)

    init = jax.jit(lifted(lambda own, shared: one.init(build, own, shared))).lower(members, arrays).compile()
    shapes = jax.eval_shape(lifted(lambda own, shared: one.init(build, own, shared)), members, arrays)
    abstract = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=split_over(mesh)), shapes
    )
    make = _scan_advance if plan.loop == "scan" else _calls_advance
    advance, step = make(build, members, arrays, abstract, lifted)
    evaluate = (_scan_evaluate if plan.loop == "scan" else _calls_evaluate)(
        build, members, arrays, abstract, lifted
    )
    return Program(
        plan=plan,
        members=members,
        init=lambda: init(members, arrays),
        advance=advance,
        evaluate=evaluate,
        abstract=abstract,
        compile_seconds=time.perf_counter() - began,
        memory_bytes=_peak_memory(step),
    )


def _scan_advance(build: Build, members: Any, arrays: Any, abstract: Any, lifted: Any) -> Any:
    def advance(own: Any, shared: Any) -> tuple[Carry, Pulse]:
        carry = one.advance(build, own[0], shared[0], own[1], shared[1])
        return carry, _pulse(carry)

    lift_advance = lifted(advance)
    jitted = jax.jit(lambda carry, m, a, end: lift_advance((m, carry), (a, end)), donate_argnums=0)
    compiled = jitted.lower(abstract, members, arrays, _end(arrays, 0)).compile()

    def call(carry: Carry, start: int, end: int) -> tuple[Carry, Pulse]:
        del start
        return compiled(carry, members, arrays, _end(arrays, end))

    return call, compiled


def _calls_advance(build: Build, members: Any, arrays: Any, abstract: Any, lifted: Any) -> Any:
    step = lifted(lambda own, shared: one.advance_once(build, own[0], shared, own[1]))
    jitted = jax.jit(lambda carry, m, a: step((m, carry), a), donate_argnums=0)
    compiled = jitted.lower(abstract, members, arrays).compile()
    pulse = jax.jit(lambda carry: jax.tree.map(jnp.copy, jax.vmap(_pulse)(carry))).lower(abstract).compile()

    def call(carry: Carry, start: int, end: int) -> tuple[Carry, Pulse]:
        for _ in range(start, end):
            carry = compiled(carry, members, arrays)
        return carry, pulse(carry)

    return call, compiled


def _scan_evaluate(build: Build, members: Any, arrays: Any, abstract: Any, lifted: Any) -> Any:
    evaluate = lifted(lambda own, shared: one.evaluate(build, own[0], shared, own[1]))
    jitted = jax.jit(lambda carry, m, a: evaluate((m, carry), a), donate_argnums=0)
    compiled = jitted.lower(abstract, members, arrays).compile()
    return lambda carry: compiled(carry, members, arrays)


def _calls_evaluate(build: Build, members: Any, arrays: Any, abstract: Any, lifted: Any) -> Any:
    """A call a batch: on CPUs, convolutions inside a loop on the device are far slower."""
    config = jax.tree.map(lambda leaf: leaf[0], members.config)
    batches = {split: source.batches for split, source in build(config).evaluation.items()}

    def add(split: str) -> Any:
        def measured(own: Any, shared: Any) -> Any:
            return one.measure(build, own[0], shared[0], own[1], split, shared[1])

        lift_measure = lifted(measured)
        jitted = jax.jit(lambda m, carry, a, index: lift_measure((m, carry), (a, index)))
        return jitted.lower(members, abstract, arrays, _end(arrays, 0)).compile()

    measures = {split: add(split) for split in batches}
    lift_close = lifted(lambda own, shared: one.close(build, *own))
    close = jax.jit(lambda carry, m, sums: lift_close((m, carry, sums), ()), donate_argnums=0)

    def call(carry: Carry) -> tuple[Carry, Row]:
        sums = {}
        for split, measure in measures.items():
            for index in range(batches[split]):
                part = measure(members, carry, arrays, _end(arrays, index))
                sums[split] = jax.tree.map(jnp.add, sums[split], part) if index else part
        return close(carry, members, sums)

    return call


def _end(arrays: Any, value: int) -> jax.Array:
    leaves = jax.tree.leaves(arrays)
    scalar = jnp.int32(value)
    return jax.device_put(scalar, leaves[0].sharding) if leaves else scalar


def _pulse(carry: Carry) -> Pulse:
    return Pulse(carry.step + 0, one.is_live(carry), carry.failed + 0)


def _peak_memory(compiled: Any) -> int:
    """Bytes on one device: arguments, temporaries and outputs that do not reuse an argument."""
    sizes = compiled.memory_analysis()
    if sizes is None:
        return 0
    outputs = sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    return sizes.argument_size_in_bytes + sizes.temp_size_in_bytes + max(outputs, 0)

