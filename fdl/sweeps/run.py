"""Sweeps from Python: trials in, one tidy result out."""

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

from fdl.experiment import Experiment
from fdl.parallel.distributed import broadcast_from_first
from fdl.parallel.plan import MeshSizes, Overrides, Strategy
from fdl.result import Result
from fdl.storage import Folder, folder
from fdl.sweeps.assembled import assemble
from fdl.sweeps.check import check_apart, check_inspect, check_space, checked_groups
from fdl.sweeps.distinct import recorded
from fdl.sweeps.executor import Executor
from fdl.sweeps.in_process import first_runs
from fdl.sweeps.leading import message_for
from fdl.sweeps.lineages import as_changed
from fdl.sweeps.population import groups_of, identified
from fdl.sweeps.programs import Reused
from fdl.sweeps.raced import raced
from fdl.sweeps.rehearsal import rehearse
from fdl.sweeps.schedule_check import check_scheduler
from fdl.sweeps.scheduled import How, place_of_schedule, schedule_of
from fdl.sweeps.schedulers import Scheduler
from fdl.sweeps.space import Sweep
from fdl.sweeps.trained_by import trained_by
from fdl.sweeps.units import finished_of
from fdl.train import history
from fdl.train.folder import check_place, check_same, held, identity_in
from fdl.train.identity import of_program
from fdl.train.profiling import Profiler, place_of
from fdl.train.progress import Progress, harmless
from fdl.train.runtime import prepare
from fdl.train.saving import Saving, check_saving, in_vain


def sweep(
    experiment: Callable[[Any], Experiment],
    space: Sweep,
    *,
    workdir: Folder | str | None = None,
    identity: Mapping[str, Any] | None = None,
    members: int | None = None,
    mesh: MeshSizes | None = None,
    strategy: Strategy = "jit",
    saving: Saving = Saving(),  # noqa: B008
    restart: bool = False,
    progress: Progress = Progress(),  # noqa: B008
    claim: Callable[[Result], Any] | None = None,
    profile: bool | Folder | str = False,
    inspect: int = 8,
    executor: Executor | None = None,
    scheduler: Scheduler | None = None,
) -> Result:
    """Trains every trial that is not finished yet, and gives what all of them measured.

    Args:
      experiment: `config -> Experiment`.
      space: the trials; from `grid`, `zip_`, `sample`, `ablate`, or a sum of them.
      workdir: where everything goes; the same call resumes from it. `None` touches no disk.
      identity: JSON-able data that says what the directory holds, beside the experiment: its code, with all
        that it reaches outside installed packages, its values and its data are known without being told.
      members: members in a program; by memory and measured speed if not given.
      mesh: over how many devices members (`population`), rows (`data`, `fsdp`), parameters (`fsdp`) and
        hidden units (`tensor`) are split, as `{"data": 4}`; by measured speed if not given. A pair,
        `{"data": (2, 4)}`, says over how many slices of TPUs or nodes of GPUs, and over how many devices
        within each.
      strategy: how rows are split: see `fdl.parallel.plan.Plan`.
      saving: when to save.
      restart: move what the directory holds aside and start again; nothing is deleted.
      progress: told of the progress.
      claim: what will be asked of the result: it is called before anything is trained, on made-up numbers.
      profile: as for `train.fit`, of the first program with steps left; in `workdir` if True.
      inspect: of how many arms, from the first, the experiment's `inspect` looks at the first seed's run.
      executor: who trains; this process if not given. Another needs a `workdir`, sends `experiment` by name,
        so no closure, and calls nothing but `say` and `step` of `progress`.
      scheduler: which arms go on at which steps, as `fdl.successive_halving(...)`; all to the end if None.

    Raises:
      ValueError: a bad config or experiment (see `fdl.check`), a traced value that decides Python control
        flow (it names the field), a mesh that does not fit, a claim about a metric that is not there, or a
        directory that is none, holds something else or is in use.
      Interrupted: SIGTERM, SIGHUP or SIGINT came, and all is saved.
      OSError: the directory cannot be written; earlier checkpoints are intact.

    Example:
      >>> import fdl, numpy as np
      >>> from fdl import data, tasks
      >>> @fdl.config
      ... class Config:
      ...     rate: float = 1.0
      ...
      >>> rows = {"x": np.eye(4, dtype=np.float32), "y": np.array([1, -1, 1, -1], np.float32)}
      >>> splits = data.Splits(rows, rows, rows)
      >>> experiment = lambda config: tasks.perceptron(splits, steps=4, rate=config.rate)
      >>> result = fdl.sweep(experiment, fdl.grid(Config(), rate=(0.1, 1.0), seeds=2), members=4)
      >>> len(result.frame), result.fields
      (16, ('rate',))
    """
    check_saving(saving, kept=bool(workdir))
    check_inspect(inspect)
    progress = harmless(progress)
    check_space(space, kept=bool(workdir))
    directory = folder(workdir) if workdir else None
    prepare(directory)
    began = time.monotonic()
    check_place(directory)
    profiler = Profiler(place_of(profile, directory), progress.say)
    overrides, looked_at = Overrides(members, mesh, strategy), first_runs(space, arms=inspect)
    if executor:
        check_apart(directory, profile=bool(profile))
        assert directory
        message_for(executor, experiment, space, directory, overrides, saving, looked_at)  # or it cannot be
    program = program_of(experiment, space)
    shared = program if directory else None
    own = Overrides(members) if executor else overrides  # the mesh is one of the workers' devices
    groups = checked_groups(experiment, space, directory, own, program=shared)
    changed = [] if scheduler is None else check_scheduler(scheduler, groups, space)
    if claim:
        made_up = functools.partial(assemble, space, seconds=0.0)
        rehearse(claim, groups, lambda units: as_changed(made_up(units), changed), say=progress.say)
    about = {**(identity or {}), **(shared or {})}
    here = history.here(experiment)
    how = How(overrides, saving, progress, profiler, looked_at, here, Reused())
    with held(directory, about, restart=restart, say=progress.say), profiler:
        if line := in_vain(saving, directory):
            progress.say(line)
        return trained_by(executor, experiment, groups, space, scheduler, how, directory, began, program)


def program_of(experiment: Callable[[Any], Experiment], space: Sweep) -> dict[str, Any]:
    """What all runs of a sweep share and a directory is claimed by; see `fdl.train.identity.of_program`.

    Raises:
      ValueError: the sweep has no trials, or is not one.
    """
    check_space(space)
    return broadcast_from_first(lambda: of_program(experiment, type(space.trials[0].config)))


def stored(
    experiment: Callable[[Any], Experiment],
    space: Sweep,
    *,
    workdir: Folder,
    scheduler: Scheduler | None = None,
) -> Result:
    """What a sweep's directory holds of its finished trials; trains nothing.

    Raises:
      ValueError: none is finished, or the directory holds another experiment's; or, with a scheduler, it has
        not come to its end.
    """
    program = program_of(experiment, space)
    found = identity_in(workdir)
    if found is not None:
        check_same(workdir, {k: v for k, v in found.items() if k in program or k == "best"}, program)
    groups = groups_of(experiment, space.trials, folder=workdir / "units")
    groups = [identified(group, program) for group in groups]
    if scheduler is not None:
        check_scheduler(scheduler, groups, space)
        return raced(groups, space, scheduler, None, workdir, None, program)
    distinct = recorded(groups)
    finished = finished_of(distinct.groups)
    if not finished:
        raise ValueError(f"{workdir} holds no finished run of this sweep; run `fdl sweep` first")
    return assemble(space, finished, seconds=None, program=program, twins=distinct.twins)


def changed_at_once(experiment: Callable[[Any], Experiment], space: Sweep, scheduler: Scheduler) -> list[str]:
    """The arms that a scheduler would change at its first rung, by made-up curves; errors as of `sweep`."""
    return check_scheduler(scheduler, checked_groups(experiment, space, None), space)


def schedule_place(
    experiment: Callable[[Any], Experiment], space: Sweep, scheduler: Scheduler, workdir: Folder
) -> Folder:
    """The folder in a work directory of what a scheduler leads."""
    program = program_of(experiment, space)
    groups = groups_of(experiment, space.trials, folder=None)
    groups = [identified(group, program) for group in groups]
    return place_of_schedule(workdir, schedule_of(scheduler, groups, space))
