"""Choosing a plan by measurement, once for a program and a machine."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax

from fdl.experiment import Experiment
from fdl.parallel.candidates import candidates, unmeasured
from fdl.parallel.distributed import broadcast_from_first, processes, several
from fdl.parallel.kernels import has_onednn
from fdl.parallel.plan import Overrides, Plan, filled, plan_from, sizes_of
from fdl.parallel.sharding import rows_of
from fdl.serialization import digest
from fdl.storage import Folder
from fdl.text import innermost, named
from fdl.train import run as one
from fdl.train.folder import read_json, write_json
from fdl.train.program import Program, compile_program, stack_members
from fdl.train.run import Build, Carry, Member
from fdl.train.runtime import cpu, device_memory, machine, plans_folder
from fdl.train.strategy_check import check_agreement

SHARE_OF_MEMORY = 0.8
"""How much of a device's free memory a program may plan to use."""
WORTH_COMPILING = 5.0
"""How many times longer than a compilation the work left must be for another candidate to be tried:
plans that are worth measuring mostly differ by tens of percents, and where one is many times slower than
another the work left is long."""
MEASURE_SECONDS = 0.2
"""How long a candidate runs for its speed to be believed."""


class Work(NamedTuple):
    """What a plan is chosen for: members of one static structure, and the steps of each.

    Attributes:
      build: the experiment as a function of the config.
      experiment: that of the first member.
      configs: each member's config.
      keys: each member's root key `[members]`.
      arrays: the sources' arrays by split.
      steps: updates of each member.
    """

    build: Build
    experiment: Experiment
    configs: Sequence[Any]
    keys: jax.Array
    arrays: Any
    steps: int


class Choice(NamedTuple):
    """A plan and why it was taken; `seconds` is the measured time of one member's step, or NaN."""

    plan: Plan
    reason: str
    seconds: float


def autotune(
    work: Work,
    overrides: Overrides = Overrides(),  # noqa: B008
    *,
    remembered: Folder | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[Choice, Program]:
    """The plan for some work: remembered, forced, or measured now; with its compiled program.

    Measuring stops where it can no longer pay: a further candidate is compiled only while the work
    left, at the best speed seen, is long beside a compilation.

    Args:
      work: what is to run.
      overrides: what the user decides.
      remembered: the folder of plans that were measured before; the user's cache if None.
      say: told of every measurement, one line each.

    Raises:
      ValueError: batches that do not divide over the mesh, or a step that differs under the strategy.
    """
    plans = plans_for(work, overrides)
    if several():
        check_agreement(work.experiment, plans[0], work.keys[0])
        plan, program = _fit_memory(work, plans[0])
        why = "the mesh as given" if overrides.mesh else "unmeasured, as all must come to the same"
        return Choice(plan, f"all devices of {processes()} processes, {why}", float("nan")), program
    path = (remembered or plans_folder(None)) / f"{_key(work, plans)}.json"
    choice = _remembered(path, plans, say)
    if choice:
        program = compile_for(work, choice.plan)
        if program.memory_bytes <= _memory_limit():  # less may be free than there was
            return choice, program
    check_agreement(work.experiment, plans[0], work.keys[0])
    best, program = _measure_all(work, plans, say)
    decided = {"mesh": overrides.mesh, "strategy": overrides.strategy != "jit"}
    given = [word for word, value in decided.items() if value]
    if given:
        best = best._replace(reason=f"{' and '.join(given)} as given; {best.reason}")
    try:
        write_json(path, {**best._asdict(), "plan": best.plan._asdict()})
    except OSError as error:
        say(f"this plan will be measured again: {error}")
    return best, program


def _remembered(path: Folder, plans: Sequence[Plan], say: Callable[[str], None]) -> Choice | None:
    """What was measured before, if it can be used: a cache is never a reason to stop."""
    try:
        if (known := read_json(path)) is None:
            return None
        plan, reason, seconds = plan_from(known["plan"]), known["reason"], known["seconds"]
        one = next(one for one in plans if one._replace(members=plan.members, kernels=plan.kernels) == plan)
        if plan.kernels == "onednn" and not has_onednn():
            raise ValueError("this jaxlib has no oneDNN")
        whole = type(plan.members) is int and one.population <= plan.members <= one.members
        if not whole or plan.members % one.population or not isinstance(reason, str):
            raise ValueError(f"there is no such plan for it: {plan}")
        return Choice(one._replace(members=plan.members, kernels=plan.kernels), reason, float(seconds))
    except (ValueError, TypeError, KeyError, StopIteration, OSError) as error:
        why = named(innermost(error), most=200)
        say(f"the plan that was remembered in {path} cannot be used ({why}): measuring again")
        return None


def plans_for(work: Work, overrides: Overrides) -> list[Plan]:
    """The candidates on the devices that there are; one alone where several processes must come to the same.

    Raises:
      ValueError: a mesh with too many groups for the members, or without a part for every process; `pmap`
        in several processes.
    """
    members, mesh, strategy = overrides
    if several() and strategy == "pmap":
        raise ValueError(f"pmap runs in one process, and here are {processes()}; take jit or shard_map")
    devices, count = jax.devices(), min(members or len(work.configs), len(work.configs))
    rows = rows_of(work.experiment)
    on_host = any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(work.arrays))
    platform = devices[0].platform
    if mesh is None and strategy != "jit":
        mesh = {"data": len(devices)}
    if several() and mesh is not None:  # all have a part, in as many groups as there are members
        everywhere = filled(mesh, len(devices))
        mesh = everywhere if sizes_of(everywhere).get("population", 1) <= count else mesh
    if several() and mesh is None:
        return [unmeasured(count, len(devices), platform, rows=rows, on_host=on_host)]
    plans = candidates(
        count, len(devices), platform, rows=rows, on_host=on_host, mesh=mesh, strategy=strategy
    )
    if several() and plans[0].devices < len(devices):
        raise ValueError(
            f"the mesh takes {plans[0].devices} devices, but the {processes()} processes have {len(devices)} "
            "and each must have a part; give a mesh of all of them"
        )
    return plans[:1] if several() else plans


def compile_for(work: Work, plan: Plan) -> Program:
    """The compiled program of some work under a plan."""
    first = slice(0, plan.members)
    members = stack_members(work.configs[first], work.keys[first], pad_to=plan.members)
    return compile_program(work.build, members, work.arrays, plan)


def _measure_all(work: Work, plans: list[Plan], say: Callable[[str], None]) -> tuple[Choice, Program]:
    best, program, tried, refused = None, None, [], None
    fastest: list[Plan] = []  # the best so far at the end
    for plan in _in_turn(plans, fastest):
        if best and plan.fsdp > plans[0].fsdp:  # only for what fits on no device
            continue
        try:
            fitting, candidate = _fit_memory(work, plan)
        except (NotImplementedError, jax.errors.JaxRuntimeError) as error:
            # What one plan cannot be compiled for, as a call back to Python on several devices, another may.
            refused = refused or error
            tried.append(f"cannot be compiled ({_short(error)}): {plan}")
            say(tried[-1])
            continue
        if candidate.memory_bytes > _memory_limit() and (best or plan is not plans[-1]):
            tried.append(f"{candidate.memory_bytes / 1e6:,.0f} MB a device are too many for {fitting}")
            say(tried[-1])
            continue
        if plan.kernels == "onednn" and not candidate.onednn_calls:
            continue  # the same program as before
        seconds = _seconds_per_step(work, candidate)
        say(f"{fitting}: {seconds * 1e6:.0f} µs a member and step")
        tried.append(f"{seconds * 1e6:.0f} µs {fitting}")
        if best is None or seconds < best.seconds:
            best, program = Choice(fitting, "", seconds), candidate
            fastest.append(fitting)
        left = best.seconds * work.steps * len(work.configs)
        if left < WORTH_COMPILING * candidate.compile_seconds:
            break
    if best is None or program is None:
        raise ValueError(f"the experiment compiles under no plan: {_short(refused)}") from refused
    others = f"fastest of {len(tried)}: {'; '.join(tried)}"
    reason = others if len(tried) > 1 else "the run is too short for trying others to pay"
    return best._replace(reason=reason), program


def _in_turn(plans: Sequence[Plan], fastest: Sequence[Plan]) -> Iterator[Plan]:
    """The candidates; and then the fastest of them by oneDNN's kernels, where there are any."""
    yield from plans
    if fastest and has_onednn():
        yield fastest[-1]._replace(kernels="onednn")


def _short(error: BaseException | None) -> str:
    """The first line of what a compiler says, which may go on with the whole program."""
    return next(iter(str(error).strip().splitlines()), "")[:200]


def _fit_memory(work: Work, plan: Plan) -> tuple[Plan, Program]:
    """The plan, with fewer members where the compiler's own analysis says that they do not fit."""
    limit = _memory_limit()
    program = compile_for(work, plan)
    while program.memory_bytes > limit and plan.members > plan.population:
        each = max(1, int(plan.members / plan.population * limit / program.memory_bytes))
        each = min(each, plan.members // plan.population - 1)
        plan = plan._replace(members=each * plan.population)
        program = compile_for(work, plan)
    return plan, program


def _memory_limit() -> float:
    return broadcast_from_first(lambda: SHARE_OF_MEMORY * device_memory())


def _seconds_per_step(work: Work, program: Program) -> float:
    """Measured seconds of one member's step."""
    plan = program.plan
    real = min(plan.members, len(work.configs))
    members = stack_members(work.configs[:real], work.keys[:real], pad_to=plan.members)
    members = program.place(members)
    carry, done, steps = program.init(members), 0, 1
    while True:
        end = min(done + steps, work.steps)
        began = time.perf_counter()
        carry, pulse = program.advance(members, carry, done, end)
        jax.block_until_ready((carry, pulse))
        elapsed = time.perf_counter() - began
        # The first call warms up; a run that ends within the measurement is measured on what it has.
        if done and (elapsed > MEASURE_SECONDS or end == work.steps):
            return elapsed / max(end - done, 1) / real
        if end == work.steps:
            return elapsed / end / real
        done, steps = (
            end,
            max(1, min(steps * 8, int(steps * 1.5 * MEASURE_SECONDS / max(elapsed, 1e-6)))) if done else 1,
        )


def _key(work: Work, plans: list[Plan]) -> str:
    """The program's fingerprint: its code as the compiler gets it, the work and the machine."""
    members = stack_members(work.configs[:1], work.keys[:1], pad_to=1)
    member = jax.tree.map(lambda leaf: leaf[0], members)

    def start_and_step(member: Member, arrays: Any) -> Carry:
        experiment = one.experiment_of(work.build, member)
        build = lambda _: experiment  # noqa: E731
        return one.advance_once(build, member, arrays, one.init(build, member))

    code = jax.jit(start_and_step).lower(member, work.arrays).as_text()
    return digest([code, machine(), cpu(), os.environ.get("XLA_FLAGS"), len(work.configs), work.steps, plans])
