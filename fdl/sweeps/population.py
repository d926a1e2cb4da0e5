"""Populations: trials of one static structure, trained together through the loop of a single run."""

import functools
import itertools
import os
import socket
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import jax

from fdl.parallel.distributed import broadcast_from_first, is_first
from fdl.parallel.plan import Overrides
from fdl.serialization import digest, file_name, fingerprints
from fdl.storage import Folder
from fdl.sweeps import decided
from fdl.sweeps.packing import beginning
from fdl.sweeps.programs import Reused, chosen, plan_now, program_for, said_by, structure_of, work_of
from fdl.sweeps.space import Trial
from fdl.sweeps.units import Group, Run, Segment, Trained, Unit, folder_of, read_unit, stored_units, told_of
from fdl.train.check import built
from fdl.train.folder import alone_in, write_sealed
from fdl.train.identity import of_structure
from fdl.train.loop import execute
from fdl.train.profiling import Profiler
from fdl.train.program import Program, stack_members
from fdl.train.progress import Progress, progress_of
from fdl.train.resume import Begin
from fdl.train.rows import best_of, metric_names
from fdl.train.rows_file import Sum
from fdl.train.run import Build, Carry, evaluation_steps
from fdl.train.saving import Saving
from fdl.train.stored_prediction import store_prediction


def groups_of(
    build: Build, trials: Sequence[Trial], *, folder: Folder | None, known: Mapping[Any, Group] | None = None
) -> list[Group]:
    """The trials by static structure, in the order of their first trial.

    Args:
      build: the experiment as a function of the config.
      trials: of any structures.
      folder: that of their units.
      known: groups of the same experiment and folder by structure: such a one keeps all but its trials.
        Others are without their identities.
    """
    found: dict[Any, list[Trial]] = {}
    for trial in trials:
        found.setdefault(jax.tree.structure(trial.config), []).append(trial)
    return [
        known[kind]._replace(trials=same)
        if known and kind in known
        else Group(build, built(build, same[0].config), same, folder, {})
        for kind, same in found.items()
    ]


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


def train(
    group: Group,
    overrides: Overrides,
    *,
    remembered: Folder,
    saving: Saving,
    progress: Progress,
    profiler: Profiler,
    inspected: Collection[Run] = (),
    here: Mapping[str, Any] | None = None,
    reused: Reused,
) -> Iterator[Trained]:
    """Trains what is missing of a group, unit by unit; what is stored and finished is only read.

    Args:
      group: the trials and their folder.
      overrides: what the user decides of how they run.
      remembered: the folder of plans that were measured before.
      saving: when to save.
      progress: told of the progress, in steps of all the group's members together.
      profiler: traces some steps of the first unit that is trained.
      inspected: the runs to look at.
      here: who trains, as `fdl.train.history.here` tells it.
      reused: what is known of the experiment's programs; takes what is found out now.
    """
    units = decided_units(group, overrides, reused, remembered=remembered, say=progress.say)
    before, total = 0, group.experiment.steps * len(group.trials)
    asked = {trial[1:] for trial in group.trials}  # a stored unit may have others too
    for unit in units:
        named = [{"arm": trial.arm, "seed": trial.seed} for trial in unit.trials]
        counted = sum(trial[1:] in asked for trial in unit.trials)
        own = progress_of(progress, named, before=before, total=total, counted=counted)
        before += group.experiment.steps * counted
        yield trained(
            group,
            unit,
            overrides,
            reused,
            saving=saving,
            progress=own,
            profiler=profiler,
            inspected=inspected,
            here=here,
        )


def decided_units(
    group: Group,
    overrides: Overrides,
    reused: Reused,
    *,
    remembered: Folder,
    say: Callable[[str], None],
    workers: int = 1,
) -> list[Unit]:
    """All units of a group: those in its folder, and those of what is missing, decided now and stored.

    Args:
      group: the trials and their folder.
      overrides: what the user decides of how they run.
      reused: as for `train`.
      remembered: the folder of plans that were measured before.
      say: told of every measurement.
      workers: over how many the missing trials are spread, where the user does not say the members.
    """
    if group.folder:
        broadcast_from_first(lambda: decided.complete(group.folder))
    stored = stored_units(group)
    known = {(trial.config, trial.seed) for unit in stored for trial in unit.trials}
    missing = [trial for trial in group.trials if (trial.config, trial.seed) not in known]
    if not missing:
        return stored
    most = overrides.members or -(-len(missing) // workers)
    own = overrides._replace(members=most)
    choice = chosen(group, missing, own, reused, remembered=remembered, say=say)
    size = min(choice.plan.members, most)  # a plan's members may be padded
    new = [
        Unit(part, choice.plan, choice.reason, choice.seconds)
        for part in parted(missing, size, even=workers > 1 and overrides.members is None)
    ]
    if group.folder and is_first():
        # For other processes, and later ones; here the program itself tells what compiling it took.
        program = reused.programs[structure_of(group), choice.plan]
        told = [new[0]._replace(compile_seconds=program.compile_seconds), *new[1:]]
        decided.store(group.folder, {folder_of(group, unit).name: told_of(group, unit) for unit in told})
    return stored + new


def trained(
    group: Group,
    unit: Unit,
    overrides: Overrides,
    reused: Reused,
    *,
    saving: Saving,
    progress: Progress,
    profiler: Profiler,
    inspected: Collection[Run] = (),
    here: Mapping[str, Any] | None = None,
) -> Trained:
    """What a unit came to: read where it is finished, else trained from where it left off.

    No two processes train a unit at once: the second waits, and then finds it finished.

    Args:
      group: the group that it is of.
      unit: the unit, which is stored, if the group has a folder.
      overrides: as for `train`, and so all others.
      reused: what is known of the experiment's programs; takes what is compiled now.
      saving: when to save.
      progress: told of the progress, in steps of the unit's members together.
      profiler: traces some steps.
      inspected: the runs to look at.
      here: who trains.
    """
    if found := finished_unit(group, unit, progress.say):
        return found
    with alone_in(folder_of(group, unit) if group.folder else None, say=progress.say):
        if found := finished_unit(group, unit, lambda _: None):
            return found
        plan = plan_now(unit.plan, overrides, progress.say)
        looked_at = {i: shown_as(trial) for i, trial in enumerate(unit.trials) if trial[1:] in inspected}
        program = program_for(group, unit.trials, plan, reused)
        begin = functools.partial(beginning, group, unit, program, {}) if unit.segment else None
        found, _ = train_unit(
            group, unit, program, looked_at, saving, progress, profiler, here, begin, reused=reused
        )
        return found


def finished_unit(group: Group, unit: Unit, say: Callable[[str], None]) -> Trained | None:
    """A finished unit, or None where it is not, or lacks something, which is said."""
    try:
        return read_unit(group, unit)
    except ValueError as fault:
        say(str(fault))
        return None


def parted(trials: list[Trial], most: int, *, even: bool) -> Iterator[list[Trial]]:
    """Trials in their order in as few parts of at most so many as there can be; the last part is the shorter
    one, or all are of nearly equal lengths."""
    count = -(-len(trials) // most)
    ends = [len(trials) * n // count if even else min(n * most, len(trials)) for n in range(count + 1)]
    return (trials[start:end] for start, end in itertools.pairwise(ends))


def train_unit(
    group: Group,
    unit: Unit,
    program: Program,
    inspected: Mapping[int, str],
    saving: Saving,
    progress: Progress,
    profiler: Profiler,
    here: Mapping[str, Any] | None,
    begin: Begin | None = None,
    *,
    reused: Reused,
) -> tuple[Trained, Carry]:
    """Trains a unit, from where its folder left off; what it came to, and its members' last carry."""
    start, end, _ = unit.segment or Segment(0, group.experiment.steps)
    work = work_of(group, unit.trials)
    directory = folder_of(group, unit) if group.folder else None
    if directory and is_first() and group.experiment.learner.predict:
        store_prediction(directory, functools.partial(said_by, group, reused))
    began = time.time()
    outcome = execute(
        program,
        stack_members(work.configs, work.keys, pad_to=unit.plan.members),
        [step for step in evaluation_steps(group.experiment) if start < step <= end],
        metric_names(group.experiment),
        directory=directory,
        saving=saving,
        progress=progress,
        profiler=profiler,
        inspected=inspected,
        here=here,
        begin=begin,
    )
    compiling = program.compile_seconds + unit.compile_seconds
    cost = {
        "members": len(unit.trials),
        "plan": str(program.plan),
        "devices": program.plan.devices,
        "program": digest([str(jax.tree.structure(unit.trials[0].config)), str(program.plan)]),
        "reason": unit.reason,
        **({"compile_seconds": compiling} if compiling else {}),
        "train_seconds": outcome.seconds,
        "worker": f"{socket.gethostname()} {os.getpid()}",
        "began": began,
        "ended": time.time(),
        "steps": end - start,
        "memory_bytes": program.memory_bytes,
        "members_per_second": len(unit.trials) / outcome.seconds,
    }
    if best := best_of(group.experiment):
        cost["best"] = best.metric
    if outcome.restarts:
        cost["restarts"] = outcome.restarts
    if directory and is_first():
        done = {"ends": outcome.ends, "cost": cost, "parts": outcome.parts, "rows": Sum(outcome.rows).told()}
        write_sealed(directory / "done.json", done, of=directory.name)
    trained = Trained(unit, outcome.rows, outcome.ends, cost, outcome.parts, outcome.inspections)
    return trained, outcome.carry


def shown_as(trial: Trial) -> str:
    """The folder of what is shown of a run."""
    return file_name(f"{trial.arm} seed={trial.seed}")
