"""A population's compiled program: `init`, `advance` and `evaluate` over a leading member axis."""

import concurrent.futures
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fdl.parallel.distributed import several
from fdl.parallel.plan import Plan, over_members, replicated
from fdl.parallel.sharding import assembled, put, readable
from fdl.train import run as one
from fdl.train.lowering import Executable, Parts, fetched, in_turn, lifted, parts_of, ready
from fdl.train.prefetch import Feed, Stalled, never
from fdl.train.rows import Row
from fdl.train.run import Build, Carry, Member
from fdl.train.runtime import make_room

Asked = Callable[[], bool]
"""Whether a run is to stop."""


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
      advance: `advance(members, carry, start, end, asked) -> (carry, pulse)`; the steps `start` to `end`.
        Where data comes from the host and does not come, and `asked()` (never, if not given) says that the
        run is to stop, it raises `feed.Stalled` with the carry that there is.
      evaluate: `evaluate(members, carry, asked) -> (carry, rows)`; likewise, and the carry is not given up.
      abstract: the carry's shapes, dtypes and shardings.
      compile_seconds: what compiling took.
      memory_bytes: peak memory of a step on one device, by the compiler's own analysis.
    """

    plan: Plan
    place: Callable[[Member], Member]
    init: Callable[[Member], Carry]
    advance: Callable[..., tuple[Carry, Pulse]]
    evaluate: Callable[..., tuple[Carry, Row]]
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
        abstract=parts.carry,
        compile_seconds=time.perf_counter() - began,
        memory_bytes=_peak_memory(compiled["advance"].compiled),
    )


def lower_program(parts: Parts) -> tuple[dict[str, Callable[[], Executable]], Any]:
    """A population's functions by name, ready to be compiled, and `connect(run)`, which makes `advance` and
    `evaluate` of a `Program` from the compiled ones."""
    lowered, connect = (_on_device if parts.plan.loop == "scan" else _on_host)(parts)
    start = lifted(parts, lambda member, _: one.init(parts.build, member))
    lowered["init"] = ready(parts, start, (parts.members, ()), out=parts.layout)
    return lowered, connect


def _on_device(parts: Parts) -> tuple[dict[str, Callable[[], Executable]], Any]:
    """The functions that loop over steps and batches inside the program."""
    members, arrays, carry = parts.members, parts.arrays, parts.carry

    def one_advance(own: Any, shared: Any) -> tuple[Carry, Pulse]:
        carry = one.advance(parts.build, own[1], shared[0], own[0], shared[1])
        return carry, _pulse(carry)

    lift_advance = lifted(parts, one_advance, manual=True)
    lift_evaluate = lifted(parts, lambda own, shared: one.evaluate(parts.build, own[1], shared, own[0]))
    whole, read = replicated(parts.mesh), readable(parts.mesh)
    number = lambda value: put(np.int32(value), whole)  # noqa: E731
    lowered = {
        "advance": ready(
            parts,
            lambda carry, m, a, end: lift_advance((carry, m), (a, end)),
            (carry, members, arrays, jax.ShapeDtypeStruct((), jnp.int32, sharding=whole)),
            out=(parts.layout, read),
            donate=True,
            manual=True,
        ),
        "evaluate": ready(
            parts,
            lambda carry, m, a: lift_evaluate((carry, m), a),
            (carry, members, arrays),
            out=(parts.layout, read),
            donate=True,
        ),
    }

    def connect(run: dict[str, Any]) -> tuple[Any, Any]:
        return (
            lambda members, carry, _, end, asked=never: run["advance"](carry, members, arrays, number(end)),
            lambda members, carry, asked=never: run["evaluate"](carry, members, arrays),
        )

    return lowered, connect


def _on_host(parts: Parts) -> tuple[dict[str, Callable[[], Executable]], Any]:
    """The functions that loop on the host, a call a step: on CPUs, convolutions inside a loop on the
    device are many times slower, and data that stays on the host comes a batch at a time."""
    members, arrays, carry = parts.members, parts.arrays, parts.carry
    whole, read = replicated(parts.mesh), readable(parts.mesh)
    experiment = parts.experiment
    batches = {name: source.batches for name, source in experiment.evaluation.items()}
    hosted = {name: source for name, source in one.sources_of(experiment).items() if source.fetch}
    shapes = {name: fetched(parts, source, members=name == "train") for name, source in hosted.items()}
    feeds = {
        name: Feed(
            source,
            functools.partial(assembled, shapes=shapes[name], members=name == "train"),
            end=batches.get(name, experiment.steps),
        )
        for name, source in hosted.items()
    }
    given = {name: () if name in feeds else part for name, part in arrays.items()}

    own_experiment = functools.partial(one.experiment_of, parts.build)

    def once(own: Any, shared: Any) -> Carry:
        carry, member, fetched = own
        train = {"train": fetched} if "train" in feeds else {}
        return one.advance_once(parts.build, member, shared | train, carry)

    def measure(name: str) -> Any:
        def part(own: Any, shared: Any) -> Any:
            return one.measure(own_experiment(own[1]), {name: shared[0]}, own[0], name, shared[1])

        lifted_part = lifted(parts, part)
        run = jax.jit(lambda carry, m, data, index: lifted_part((carry, m), (data, index)))
        return in_turn(run, parts.plan)

    lift_once = lifted(parts, once, manual=True)
    lift_close = lifted(parts, lambda own, _: one.close(own_experiment(own[1]), own[0], own[2]))
    closed = jax.jit(
        lambda carry, m, sums: lift_close((carry, m, sums), ()),
        donate_argnums=0,
        out_shardings=(parts.layout, read),
    )
    close = in_turn(closed, parts.plan)
    measures = {name: measure(name) for name in batches}
    lowered = {
        "advance": ready(
            parts,
            lambda carry, m, fetched, a: lift_once((carry, m, fetched), a),
            (carry, members, shapes.get("train", ()), given),
            out=parts.layout,
            donate=True,
            manual=True,
        ),
        "pulse": ready(parts, lambda carry: jax.tree.map(jnp.copy, _pulse(carry)), (carry,), out=read),
    }

    def connect(run: dict[str, Any]) -> tuple[Any, Any]:
        def advance(
            members: Member, carry: Carry, start: int, end: int, asked: Asked = never
        ) -> tuple[Carry, Pulse]:
            for step in range(start, end):
                try:
                    fetched = feeds["train"].of(members.key, step, asked) if "train" in feeds else ()
                except Stalled:
                    raise Stalled(step, carry) from None
                carry = run["advance"](carry, members, fetched, given)
            return carry, run["pulse"](carry)

        def evaluated(members: Member, carry: Carry, name: str, index: int, asked: Asked) -> Any:
            data = feeds[name].of(None, index, asked) if name in feeds else given[name]
            return measures[name](carry, members, data, put(np.int32(index), whole))

        def evaluate(members: Member, carry: Carry, asked: Asked = never) -> tuple[Carry, Row]:
            sums = {}
            for name, count in batches.items():
                parts = (evaluated(members, carry, name, index, asked) for index in range(count))
                sums[name] = functools.reduce(functools.partial(jax.tree.map, jnp.add), parts)
            return close(carry, members, sums)

        return advance, evaluate

    return lowered, connect


def _pulse(carry: Carry) -> Pulse:
    return Pulse(carry.step + 0, one.is_live(carry), carry.failed + 0)


def _peak_memory(compiled: Any) -> int:
    """Bytes on one device: arguments, temporaries and outputs that do not reuse an argument."""
    sizes = compiled.memory_analysis()
    if sizes is None:
        return 0
    outputs = sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    return sizes.argument_size_in_bytes + sizes.temp_size_in_bytes + max(outputs, 0)
