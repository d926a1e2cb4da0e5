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
    members, arrays = place(members), jax.device_put(arrays, whole_on(mesh))
    lifted = functools.partial(lift, plan=plan, mesh=mesh)
    init = jax.jit(lifted(functools.partial(one.init, build)))
    carry = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=split_over(mesh)),
        jax.eval_shape(init, members, arrays),
    )
    functions = _on_device if plan.loop == "scan" else _on_host
    lowered, connect = functions(build, members, arrays, carry, lifted)
    lowered["init"] = init.lower(members, arrays)
    with concurrent.futures.ThreadPoolExecutor() as pool:  # the compiler runs outside Python's lock
        done = pool.map(lambda each: each.compile(), lowered.values())
        compiled = dict(zip(lowered, done, strict=True))
    advance, evaluate = connect(compiled)
    return Program(
        plan=plan,
        place=place,
        init=lambda members: compiled["init"](members, arrays),
        advance=advance,
        evaluate=evaluate,
        abstract=carry,
        compile_seconds=time.perf_counter() - began,
        memory_bytes=_peak_memory(compiled["advance"]),
    )


def _on_device(
    build: Build, members: Any, arrays: Any, carry: Any, lifted: Any
) -> tuple[dict[str, Any], Any]:
    """The functions that loop over steps and batches inside the program."""

    def one_advance(own: Any, shared: Any) -> tuple[Carry, Pulse]:
        carry = one.advance(build, own[1], shared[0], own[0], shared[1])
        return carry, _pulse(carry)

    lift_advance = lifted(one_advance)
    lift_evaluate = lifted(lambda own, shared: one.evaluate(build, own[1], shared, own[0]))
    advance = jax.jit(lambda carry, m, a, end: lift_advance((carry, m), (a, end)), donate_argnums=0)
    evaluate = jax.jit(lambda carry, m, a: lift_evaluate((carry, m), a), donate_argnums=0)
    lowered = {
        "advance": advance.lower(carry, members, arrays, _beside(arrays, 0)),
        "evaluate": evaluate.lower(carry, members, arrays),
    }

    def connect(compiled: dict[str, Any]) -> tuple[Any, Any]:
        return (
            lambda members, carry, _, end: compiled["advance"](carry, members, arrays, _beside(arrays, end)),
            lambda members, carry: compiled["evaluate"](carry, members, arrays),
        )

    return lowered, connect


def _on_host(build: Build, members: Any, arrays: Any, carry: Any, lifted: Any) -> tuple[dict[str, Any], Any]:
    """The functions that loop on the host, a call a step: on CPUs, convolutions inside a loop on the
    device are many times slower."""
    config = jax.tree.map(lambda leaf: leaf[0], members.config)
    batches = {split: source.batches for split, source in build(config).evaluation.items()}
    lift_once = lifted(lambda own, shared: one.advance_once(build, own[1], shared, own[0]))
    lift_close = lifted(lambda own, _: one.close(build, own[1], own[0], own[2]))

    def measure(split: str) -> Any:
        part = lifted(lambda own, shared: one.measure(build, own[1], shared[0], own[0], split, shared[1]))
        return jax.jit(lambda carry, m, a, index: part((carry, m), (a, index)))

    once = jax.jit(lambda carry, m, a: lift_once((carry, m), a), donate_argnums=0)
    pulse = jax.jit(lambda carry: jax.tree.map(jnp.copy, _pulse(carry)))
    close = jax.jit(lambda carry, m, sums: lift_close((carry, m, sums), ()), donate_argnums=0)
    measures = {split: measure(split) for split in batches}
    lowered = {"advance": once.lower(carry, members, arrays), "pulse": pulse.lower(carry)}

    def connect(compiled: dict[str, Any]) -> tuple[Any, Any]:
        def advance(members: Member, carry: Carry, start: int, end: int) -> tuple[Carry, Pulse]:
            for _ in range(start, end):
                carry = compiled["advance"](carry, members, arrays)
            return carry, compiled["pulse"](carry)

        def evaluate(members: Member, carry: Carry) -> tuple[Carry, Row]:
            sums = {}
            for split, function in measures.items():
                parts = (function(carry, members, arrays, _beside(arrays, i)) for i in range(batches[split]))
                sums[split] = functools.reduce(functools.partial(jax.tree.map, jnp.add), parts)
            return close(carry, members, sums)

        return advance, evaluate

    return lowered, connect


def _beside(arrays: Any, value: int) -> jax.Array:
    """A scalar on the devices where the arrays are."""
    leaves = jax.tree.leaves(arrays)
    return jax.device_put(jnp.int32(value), leaves[0].sharding if leaves else None)


def _pulse(carry: Carry) -> Pulse:
    return Pulse(carry.step + 0, one.is_live(carry), carry.failed + 0)


def _peak_memory(compiled: Any) -> int:
    """Bytes on one device: arguments, temporaries and outputs that do not reuse an argument."""
    sizes = compiled.memory_analysis()
    if sizes is None:
        return 0
    outputs = sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    return sizes.argument_size_in_bytes + sizes.temp_size_in_bytes + max(outputs, 0)
