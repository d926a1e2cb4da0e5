"""A sweep whose runs all go to their end in this process, to its result."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from fdl.parallel.distributed import several
from fdl.result import Result
from fdl.storage import Folder
from fdl.sweeps.assembled import assemble
from fdl.sweeps.check import named_fields
from fdl.sweeps.distinct import decided
from fdl.sweeps.population import train
from fdl.sweeps.scheduled import How
from fdl.sweeps.space import Sweep, Trial
from fdl.sweeps.twins import run_of
from fdl.sweeps.units import Group, Run, Trained, Unit, folder_of, read_unit, stored_units
from fdl.text import counted, some_of
from fdl.train.progress import Progress
from fdl.train.runtime import plans_folder


def trained_here(
    groups: Sequence[Group],
    space: Sweep,
    how: How,
    directory: Folder | None,
    began: float,
    program: Mapping[str, Any],
) -> Result:
    """What a sweep comes to that this process trains, without a scheduler; what is stored is only read.

    Args:
      groups: the trials by static structure, checked.
      space: the trials.
      how: how they are trained.
      directory: the sweep's.
      began: when it did, by `time.monotonic`.
      program: what all its runs share.
    """
    distinct = decided(groups, how.overrides, how.progress.say, how.reused)
    left = say_what_is_there(distinct.groups, how.progress)
    seen = {run_of(distinct.twins.get(run, Trial("", *run))) for run in how.inspected}
    trained = _train_all(distinct.groups, how._replace(inspected=seen), directory, left)
    seconds = time.monotonic() - began
    return assemble(space, trained, seconds=seconds, program=program, twins=distinct.twins)


def first_runs(space: Sweep, *, arms: int) -> set[Run]:
    """The first run of each of so many arms, from the first."""
    found: dict[str, Run] = {}
    for trial in space.trials:
        found.setdefault(trial.arm, (trial.config, trial.seed))
    return set(list(found.values())[:arms])


def steps_of(group: Group) -> int:
    """Of all the members together."""
    return group.experiment.steps * len(group.trials)


def _train_all(groups: Sequence[Group], how: How, directory: Folder | None, left: bool) -> list[Trained]:
    """Every trial, trained to its end; `left` is whether any is to be trained.

    What is stored is read once all is trained, so that what is held until then does not grow with the runs.
    """
    progress, trained, units, before = how.progress, [], [], 0
    stored = directory is not None and not several()  # what one host wrote, another may see late
    total = sum(map(steps_of, groups))
    for number, group in enumerate(groups, 1):
        if left:
            progress.say(f"program {number} of {len(groups)}:")
        own = progress._replace(step=lambda done, _, live, b=before: progress.step(b + done, total, live))
        with named_fields(group):
            for one in train(
                group,
                how.overrides,
                remembered=plans_folder(directory),
                saving=how.saving,
                progress=own,
                profiler=how.profiler,
                inspected=how.inspected,
                here=how.here,
                reused=how.reused,
            ):
                if stored:
                    units.append((group, one.unit))
                else:
                    trained.append(one)
        before += steps_of(group)
        progress.step(before, total, 0)
    return trained + [_read_again(group, unit) for group, unit in units]


def _read_again(group: Group, unit: Unit) -> Trained:
    """A unit that was finished a while ago."""
    if found := read_unit(group, unit):
        return found
    raise ValueError(
        f"{folder_of(group, unit)} was finished, and is no more; repeat, and it is trained again"
    )


def _words(group: Group) -> str:
    arms = list(dict.fromkeys(trial.arm for trial in group.trials))
    runs, steps = counted(len(group.trials), "run"), counted(group.experiment.steps, "step")
    return f"{runs} of {steps}: {some_of(arms)}"


def _is_whole(group: Group, unit: Unit) -> bool:
    """Whether a unit is finished, and all that it measured is there."""
    with contextlib.suppress(ValueError):
        return read_unit(group, unit) is not None
    return False


def say_what_is_there(groups: Sequence[Group], progress: Progress) -> bool:
    """Says what will run, and what has; whether anything is left to do."""
    finished, wanted = 0, sum(len(group.trials) for group in groups)
    for group in groups:
        done = {t[1:] for unit in stored_units(group) if _is_whole(group, unit) for t in unit.trials}
        finished += sum(trial[1:] in done for trial in group.trials)
    steps = sum(map(steps_of, groups))
    progress.say(
        f"plan: {counted(wanted, 'run')}, {counted(steps, 'step')} in all, {counted(len(groups), 'program')}"
    )
    for number, group in enumerate(groups, 1):
        progress.say(f"  program {number}: {_words(group)}")
    if finished:
        progress.say(f"{'all' if finished == wanted else finished} of them are finished already")
    return finished < wanted
