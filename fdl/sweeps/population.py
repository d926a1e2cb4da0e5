"""Populations: trials of one static structure, trained together through the loop of a single run.

A unit's folder holds:

    unit.json          its members, its plan, what they read; written before anything runs
    metrics.jsonl      a line per member and evaluation
    checkpoints/       see `fdl.train.checkpoint`
    done.json          how every member ended, what it cost, and which rows there are; written last

Beside the folders is the file of `fdl.sweeps.decided` while the units of one decision are being written.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fdl.experiment import Experiment
from fdl.parallel.distributed import broadcast_from_first, is_first, several
from fdl.parallel.plan import Overrides, Plan, on_all, on_devices, plan_from
from fdl.serialization import digest, fingerprints, from_json, to_json
from fdl.storage import Folder
from fdl.sweeps import decided
from fdl.sweeps.space import Trial
from fdl.train.autotune import Work, autotune, compile_for
from fdl.train.check import built
from fdl.train.folder import check_same, read_sealed, write_sealed
from fdl.train.history import Part
from fdl.train.identity import of_structure
from fdl.train.loop import execute
from fdl.train.profiling import Profiler
from fdl.train.program import Program, stack_members
from fdl.train.progress import Progress, progress_of
from fdl.train.resume import ROWS
from fdl.train.rows import best_of, metric_names
from fdl.train.rows_file import Sum, lacking, read
from fdl.train.run import Build, arrays_of, evaluation_steps
from fdl.train.saving import Saving

_LOST = "it says which runs its folder holds: move that folder away and repeat, and they are trained again"


class Unit(NamedTuple):
    """Trials that are trained together.

    Attributes:
      trials: the members, in their order.
      plan: how they run; it is stored, so that a resumed run computes the same bits.
      reason: why that plan was chosen.
    """

    trials: list[Trial]
    plan: Plan
    reason: str


class Trained(NamedTuple):
    """What a unit came to.

    Attributes:
      unit: what was trained.
      rows: as `fdl.train.loop.Outcome.rows`.
      ends: as `fdl.train.loop.Outcome.ends`.
      cost: numbers for the report: compile and train seconds, memory, steps, members a second.
      parts: as `fdl.train.loop.Outcome.parts`.
    """

    unit: Unit
    rows: list[dict[str, Any]]
    ends: list[dict[str, Any]]
    cost: dict[str, Any]
    parts: list[Part]


class Group(NamedTuple):
    """Trials that share one program, and where each is or will be trained.

    Attributes:
      build: the experiment as a function of the config.
      experiment: the experiment at the first trial's config; what is static is the same for all.
      trials: the trials that are asked for.
      folder: the sweep's folder of units, or `None` to keep all in memory.
      identity: what decides the runs' numbers beside config and seed, part of every fingerprint; empty where
        all is kept in memory.
      fingerprint: of a trial, computed once; where there is an identity.
    """

    build: Build
    experiment: Experiment
    trials: list[Trial]
    folder: Folder | None
    identity: Mapping[str, Any]
    fingerprint: Callable[[Trial], str] | None = None


def groups_of(build: Build, trials: Sequence[Trial], *, folder: Folder | None) -> list[Group]:
    """The trials by static structure, in the order of their first trial; without their identities."""
    found: dict[Any, list[Trial]] = {}
    for trial in trials:
        found.setdefault(jax.tree.structure(trial.config), []).append(trial)
    return [Group(build, built(build, same[0].config), same, folder, {}) for same in found.values()]


def identified(group: Group, program: Mapping[str, Any]) -> Group:
    """A group that knows what decides its runs' numbers, as one with a folder must.

    Args:
      group: the group.
      program: what it shares with all others, `fdl.train.identity.of_program`.
    """
    config = group.trials[0].config
    structure = broadcast_from_first(lambda: of_structure(group.build, config, seen=program["seen"]))
    identity = {"program": program, "structure": structure}
    told = fingerprints(identity)
    once = functools.cache(lambda trial: told(trial.config, trial.seed))
    return group._replace(identity=identity, fingerprint=once)


def work_of(group: Group, trials: Sequence[Trial]) -> Work:
    """What the plan for some of a group's trials is chosen for."""
    keys = jnp.stack([jax.random.key(trial.seed) for trial in trials])
    configs = [trial.config for trial in trials]
    return Work(
        group.build, group.experiment, configs, keys, arrays_of(group.experiment), group.experiment.steps
    )


def train(
    group: Group, overrides: Overrides, *, saving: Saving, progress: Progress, profiler: Profiler
) -> Iterator[Trained]:
    """Trains what is missing of a group, unit by unit; what is stored and finished is only read.

    Args:
      group: the trials and their folder.
      overrides: what the user decides of how they run.
      saving: when to save.
      progress: told of the progress, in steps of all the group's members together.
      profiler: traces some steps of the first unit that is trained.
    """
    programs: dict[Plan, Program] = {}
    if group.folder:
        broadcast_from_first(lambda: decided.complete(group.folder))
    stored = stored_units(group)
    known = {(trial.config, trial.seed) for unit in stored for trial in unit.trials}
    missing = [trial for trial in group.trials if (trial.config, trial.seed) not in known]
    if missing:
        work = work_of(group, missing)
        choice, program = autotune(work, overrides, say=progress.say)
        progress.say(f"{choice.plan}: {choice.reason}")
        programs[choice.plan] = program
        size = min(choice.plan.members, overrides.members or len(missing))  # a plan's members may be padded
        parts = (missing[start : start + size] for start in range(0, len(missing), size))
        new = [Unit(part, choice.plan, choice.reason) for part in parts]
        if group.folder and is_first():
            decided.store(group.folder, {_folder(group, unit).name: _told(group, unit) for unit in new})
        stored = stored + new
    before, total = 0, group.experiment.steps * len(group.trials)
    for unit in stored:
        named = [{"arm": trial.arm, "seed": trial.seed} for trial in unit.trials]
        own = progress_of(progress, named, before=before, total=total)
        before += group.experiment.steps * len(unit.trials)
        try:
            finished = read_unit(group, unit)
        except ValueError as fault:
            progress.say(str(fault))
            finished = None
        if finished is None:
            plan = (on_all if several() else on_devices)(unit.plan, len(jax.devices()))
            if plan != unit.plan:
                progress.say(f"begun on {unit.plan.devices} devices, going on with {plan.devices}: {plan}")
            elif _other_mesh(plan, overrides):
                progress.say(f"begun as {plan}, and goes on so, bit for bit; another mesh needs --restart")
            if plan not in programs:
                programs[plan] = compile_for(work_of(group, unit.trials), plan)
            finished = _train_unit(group, unit, programs[plan], saving, own, profiler)
        yield finished


def _other_mesh(plan: Plan, overrides: Overrides) -> bool:
    """Whether the user asks for another mesh or strategy than a plan has."""
    if overrides.mesh is None and overrides.strategy == "jit":
        return False
    sizes = (overrides.mesh or {}).items()
    return plan.strategy != overrides.strategy or any(getattr(plan, axis) != size for axis, size in sizes)


def stored_units(group: Group) -> list[Unit]:
    """The units in the folder that hold at least one of the group's trials.

    Raises:
      ValueError: one holds runs of the same config and seed on other data, or with other functions in it.
    """
    folder = group.folder
    if not folder:
        return []
    wanted = {_fingerprint(group, trial) for trial in group.trials}
    named = {digest([to_json(trial.config), trial.seed]) for trial in group.trials}
    cls, units = type(group.trials[0].config), []
    for name in broadcast_from_first(lambda: sorted(path.parent.name for path in folder.glob("*/unit.json"))):
        data = broadcast_from_first(
            lambda name=name: read_sealed(folder / name / "unit.json", of=name, fix=_LOST)
        )
        same = wanted & {member["fingerprint"] for member in data["members"]}
        if same or named & {digest([member["config"], member["seed"]]) for member in data["members"]}:
            check_same(folder.parent, data.get("structure", {}), group.identity.get("structure", {}))
        if same:
            trials = [Trial(m["arm"], from_json(cls, m["config"]), m["seed"]) for m in data["members"]]
            units.append(Unit(trials, plan_from(data["plan"]), data["reason"]))
    return units


def read_unit(group: Group, unit: Unit) -> Trained | None:
    """A finished unit as its folder holds it, or `None`.

    Raises:
      ValueError: what it holds is not what it ended with.
    """
    if not group.folder:
        return None
    folder = _folder(group, unit)
    done, fault = broadcast_from_first(lambda: _done(folder))
    if fault:
        raise ValueError(f"{fault}; the command that trained it makes it again from what there is")
    return done and Trained(unit, read(folder / ROWS).rows, done["ends"], done["cost"], done["parts"])


def _done(folder: Folder) -> tuple[dict[str, Any] | None, str | None]:
    """A finished unit's `done.json`, and what is wrong with it or with the rows that it stands for."""
    try:
        done = read_sealed(folder / "done.json", of=folder.name, fix="with it how its runs ended")
    except ValueError as error:
        return None, str(error)
    return done, lacking(read(folder / ROWS).rows, done["rows"], folder / ROWS) if done else None


def _train_unit(
    group: Group, unit: Unit, program: Program, saving: Saving, progress: Progress, profiler: Profiler
) -> Trained:
    work = work_of(group, unit.trials)
    directory = _folder(group, unit) if group.folder else None
    outcome = execute(
        program,
        stack_members(work.configs, work.keys, pad_to=unit.plan.members),
        evaluation_steps(group.experiment),
        metric_names(group.experiment),
        directory=directory,
        saving=saving,
        progress=progress,
        profiler=profiler,
    )
    cost = {
        "members": len(unit.trials),
        "plan": str(program.plan),
        "reason": unit.reason,
        "compile_seconds": program.compile_seconds,
        "train_seconds": outcome.seconds,
        "steps": group.experiment.steps,
        "memory_bytes": program.memory_bytes,
        "members_per_second": len(unit.trials) / outcome.seconds,
    }
    if best := best_of(group.experiment):
        cost["best"] = best.metric
    if directory and is_first():
        done = {"ends": outcome.ends, "cost": cost, "parts": outcome.parts, "rows": Sum(outcome.rows).told()}
        write_sealed(directory / "done.json", done, of=directory.name)
    return Trained(unit, outcome.rows, outcome.ends, cost, outcome.parts)


def _told(group: Group, unit: Unit) -> dict[str, Any]:
    """What a unit's `unit.json` says."""
    members = [
        {
            "arm": trial.arm,
            "config": to_json(trial.config),
            "seed": trial.seed,
            "fingerprint": _fingerprint(group, trial),
        }
        for trial in unit.trials
    ]
    return {
        "members": members,
        "plan": unit.plan._asdict(),
        "reason": unit.reason,
        "structure": group.identity["structure"],
        "versions": group.identity["program"]["versions"],
    }


def _folder(group: Group, unit: Unit) -> Folder:
    assert group.folder is not None
    return group.folder / digest([_fingerprint(group, trial) for trial in unit.trials])


def _fingerprint(group: Group, trial: Trial) -> str:
    assert group.fingerprint is not None
    return group.fingerprint(trial)
