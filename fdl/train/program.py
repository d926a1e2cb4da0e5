"""A population's compiled program: `init`, `advance` and `evaluate` over a leading member axis."""

import concurrent.futures
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fdl.parallel.distributed import several
from fdl.parallel.kernels import onednn_calls
from fdl.parallel.plan import Plan, over_members
from fdl.parallel.sharding import put
from fdl.train import run as one
from fdl.train.functions import Advance, Evaluate, Functions
from fdl.train.inspecting import Inspect, compiled_inspect
from fdl.train.loop_on_device import on_device
from fdl.train.loop_on_host import on_host
from fdl.train.lowering import Parts, lifted, parts_of, ready
from fdl.train.run import Build, Carry, Member
from fdl.train.runtime import make_room


class Program(NamedTuple):
    """Compiled functions of a population; a carry that is given is given up (its memory is reused).

    Attributes:
      plan: how the members run.
      place: `place(members) -> members`, onto their devices.
      init: `init(members) -> carry`.
      advance: `advance(members, carry, start, end, asked) -> (carry, pulse)`; the steps `start` to `end`.
        Where data comes from the host and does not come, and `asked()` (never, if not given) says that the
        run is to stop, it raises `feed.Stalled` with the carry that there is.
      evaluate: `evaluate(members, carry, asked) -> (carry, rows)`; likewise, and the carry is not given up.
      inspect: `inspect(members, carry, index) -> {"samples": ..., ...}`, what the experiment shows of one
        member, not yet drawn; the carry is not given up. `None`: the experiment shows nothing.
      abstract: the carry's shapes, dtypes and shardings.
      compile_seconds: what compiling took.
      memory_bytes: peak memory of a step on one device, by the compiler's own analysis.
      onednn_calls: how many kernels of oneDNN's its steps call.
    """

    plan: Plan
    place: Callable[[Member], Member]
    init: Callable[[Member], Carry]
    advance: Advance
    evaluate: Evaluate
    inspect: Inspect | None
    abstract: Carry
    compile_seconds: float
    memory_bytes: int
    onednn_calls: int = 0


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
    if plan.group > 1 and not several():
        make_room(plan.devices)
    parts = parts_of(build, members, arrays, plan)
    lowered, connect = lower_program(parts)
    with concurrent.futures.ThreadPoolExecutor() as pool:  # the compiler runs outside Python's lock
        done = pool.map(lambda compile: compile(), lowered.values())
        compiled = dict(zip(lowered, done, strict=True))
    advance, evaluate = connect({name: executable.run for name, executable in compiled.items()})
    return Program(
        plan=plan,
        place=functools.partial(put, sharding=over_members(parts.mesh)),
        init=lambda members: compiled["init"].run(members, ()),
        advance=advance,
        evaluate=evaluate,
        inspect=compiled_inspect(parts),
        abstract=parts.carry,
        compile_seconds=time.perf_counter() - began,
        memory_bytes=_peak_memory(compiled["advance"].compiled),
        onednn_calls=onednn_calls(compiled["advance"].compiled) if plan.kernels == "onednn" else 0,
    )


def lower_program(parts: Parts) -> Functions:
    """A population's functions, ready to be compiled."""
    functions = (on_device if parts.plan.loop == "scan" else on_host)(parts)
    start = lifted(parts, lambda member, _: one.init(parts.build, member))
    functions.lowered["init"] = ready(parts, start, (parts.members, ()), out=parts.layout)
    return functions


def _peak_memory(compiled: Any) -> int:
    """Bytes on one device: arguments, temporaries and outputs that do not reuse an argument."""
    sizes = compiled.memory_analysis()
    if sizes is None:
        return 0
    outputs = sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    return sizes.argument_size_in_bytes + sizes.temp_size_in_bytes + max(outputs, 0)
