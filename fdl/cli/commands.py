"""The commands that take an experiment's file: what they read, and what they run."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from fdl.aot import command as aot
from fdl.cli import budget, executors, reports, seeds_needed, until_decided
from fdl.cli.beginning import after, begin
from fdl.cli.ending import finish, is_own, reported, stopped, tried_on
from fdl.cli.flags import is_elsewhere, parse, seat, workdir
from fdl.cli.following import followed
from fdl.cli.forecasts import plan_here
from fdl.cli.options import (
    OPTIONS,
    ProfileOptions,
    RunOptions,
    SweepOptions,
)
from fdl.cli.progress import shown
from fdl.cli.search_command import search_in
from fdl.cli.sinks import check_sinks, sinks
from fdl.cli.trials import space_of
from fdl.configs import replaced
from fdl.experiment_file import ExperimentFile, load_file, stored_source
from fdl.parallel import abort, distributed
from fdl.report.terminal import PLAIN
from fdl.result import Result
from fdl.serialization import digest, essence, fingerprint, to_json
from fdl.storage import Folder
from fdl.sweeps import Executor, Scheduler, Sweep, Trial, program_of, stored, sweep
from fdl.sweeps.loading import so_far
from fdl.sweeps.run import changed_at_once
from fdl.sweeps.schedule_folder import last_schedule
from fdl.sweeps.schedule_loading import last_so_far
from fdl.sweeps.units import Trained
from fdl.train.chosen import Chosen
from fdl.train.runtime import prepare


def execute(command: str, words: Sequence[str]) -> int:
    """Runs `command` on the file that is the first of `words`; returns the exit code."""
    if not words or words[0].startswith("-"):
        raise ValueError(
            f"fdl {command} needs an experiment's file first, as fdl {command} experiments/first.py"
        )
    if command in ("run", "sweep", "search") and distributed.join(seat(words)):
        abort.watch()
    if command in ("sweep", "search") and is_elsewhere(words):
        jax.config.update("jax_platforms", "cpu")  # the devices are the workers'
    prepare(workdir(words))
    file = load_file(Path(words[0]))
    options, changed, columns = parse(f"fdl {command} {words[0]}", OPTIONS[command], file.config, words[1:])
    if command != "plan" and (best := options.result()):
        file = file._replace(experiment=Chosen(file.experiment, best))
    console = Console(stderr=options.json, quiet=not distributed.is_first())
    made = reports.made([command, *words])
    if command == "run":
        return _run(file, options, changed, made, console)
    if command == "search":
        return search_in(file, options, changed, made, console)
    if command == "plan" and options.topology and not (file.sweep or columns):
        space = aot.single(file, changed, options.seeds)
    else:
        space = space_of(file.config, file.sweep, changed, columns, options.seeds)
    if command == "sweep":
        file = until_decided.check_until_decided(file, options, space)
    if command == "plan" and file.scheduler:
        console.print("SCHEDULER is left out of account: this is what all arms take to their end", **PLAIN)
    plans_seeds = command == "plan" and seeds_needed.is_asked(options)
    if command == "plan" and options.topology:
        return aot.plan_for(Path(words[0]), file, options.target(), space, console, as_json=options.json)
    if command == "plan" and not plans_seeds:
        return plan_here(file, options, space, console)
    mark = digest(essence(program_of(file.experiment, space)))
    directory = options.directory(Path("runs") / file.name / mark)
    if plans_seeds:
        return seeds_needed.plan_seeds(file, options, space, directory, console)
    if command == "sweep":
        return swept(file, options, space, directory, made, console)
    if options.seeds is None:
        file, space = until_decided.as_decided(file, space, directory)
    result = stored(file.experiment, space, workdir=directory, scheduler=file.scheduler)
    return reported(file, options, result, space, directory, made, console)


run, sweep_file, search_file, plan, report_of = (functools.partial(execute, name) for name in OPTIONS)
"""The commands that take an experiment's file."""


def swept(
    file: ExperimentFile,
    options: SweepOptions,
    space: Sweep,
    directory: Folder,
    made: dict[str, str],
    console: Console,
) -> int:
    """Trains what is missing of a sweep's trials, and reports; returns the exit code."""
    executor, late = executors.executor_of(options, file.path, directory), list[Exception]()
    result, space = _sweep(file, options, space, directory, console, executor, late.append)
    if left := budget.unfinished(space, result):
        return stopped(file, options, result, space, directory, made, console, left)
    assert result is not None
    code = finish(file, options, result, space, directory, made, console)
    if late:  # of what keeps it elsewhere: what was measured is reported all the same
        raise late[0]
    return code


def _run(
    file: ExperimentFile, options: RunOptions, changed: dict[str, Any], made: dict[str, str], console: Console
) -> int:
    if options.seed < 0:
        raise ValueError(f"--seed is {options.seed}; expected a whole number >= 0")
    config = replaced(file.config(), changed)
    space = Sweep((Trial("run", config, options.seed),))
    mark = fingerprint(config, seed=options.seed, identity=program_of(file.experiment, space))
    directory = options.directory(Path("runs") / file.name / mark)
    identity = {"kind": "run", "config": to_json(config), "seed": options.seed, **stored_source(file)}
    first = begin(file, options, directory, console)
    result = _train(file, options, space, directory, identity, console, first)
    return finish(file._replace(sweep=None), options, result, space, directory, made, console)


def _sweep(
    file: ExperimentFile,
    options: SweepOptions,
    space: Sweep,
    directory: Folder,
    console: Console,
    executor: Executor | None,
    failed: Callable[[Exception], None],
) -> tuple[Result | None, Sweep]:
    """What a sweep measured, and its trials: with `--until-decided` as many as were needed, with `--budget`
    what was finished in time, or None. What keeps it elsewhere may have `failed` when all is measured."""
    limit = None if options.budget is None else budget.seconds_of(options.budget)
    if limit is not None and executor is not None:
        raise ValueError("--budget is for runs in this process alone; leave out it or the executor's flags")
    check_sinks(options.tensorboard, options.wandb, functools.partial(_changed, file, space))
    identity = {"kind": "sweep", **stored_source(file)}
    how = {"executor": executor, "scheduler": file.scheduler, "failed": failed}
    first = begin(file, options, directory, console)
    later = dataclasses.replace(options, restart=False, profile=False)
    several, asked = itertools.chain([options], itertools.repeat(later)), [space]

    def train(trials: Sweep) -> Result:
        asked.append(trials)
        result = _train(file, next(several), trials, directory, identity, console, first, **how)
        if options.until_decided:
            until_decided.keep_asked(trials, directory)
        return result

    with budget.within(limit) as spent:
        try:
            if not options.until_decided:
                return train(space), space
            say = functools.partial(console.print, **PLAIN)
            return until_decided.until_decided(file, options, space, train, say)
        except KeyboardInterrupt:
            if not spent():
                raise
    return budget.ended(file, asked[-1], directory), asked[-1]


def _changed(file: ExperimentFile, space: Sweep) -> list[str]:
    """The arms that a file's scheduler is known to change."""
    return changed_at_once(file.experiment, space, file.scheduler) if file.scheduler else []


def _train(
    file: ExperimentFile,
    options: ProfileOptions,
    space: Sweep,
    directory: Folder,
    identity: dict[str, Any],
    console: Console,
    first: Callable[[], None],
    executor: Executor | None = None,
    scheduler: Scheduler | None = None,
    failed: Callable[[Exception], None] | None = None,
) -> Result:
    saving, mesh = options.saving(), options.sizes()
    finished: dict[str, Trained] = {}

    def read() -> Result | None:
        return last_so_far(directory, finished) if scheduler else so_far(directory, space, finished)

    def place() -> Folder | None:
        sure, schedule = not getattr(options, "until_decided", False), scheduler and last_schedule(directory)
        name = schedule.name if schedule else None
        return reports.running_place(directory, space, own=is_own(file, space), sure=sure, schedule=name)

    tensorboard, wandb = (getattr(options, name, None) for name in ("tensorboard", "wandb"))
    with (
        sinks(tensorboard, wandb, directory) as kept,
        shown(console) as (progress, stand),
        followed(
            after(progress, first),
            read,
            place,
            stand if getattr(options, "watch", False) else None,
            kept,
            elsewhere=executor is not None,
            failed=failed,
        ) as told,
    ):
        result = sweep(
            file.experiment,
            space,
            workdir=directory,
            identity=identity,
            members=getattr(options, "members", None),
            mesh=mesh,
            strategy=options.strategy,
            saving=saving,
            restart=options.restart,
            progress=told,
            claim=tried_on(file, space),
            profile=options.profile,
            inspect=getattr(options, "inspect", 1),
            executor=executor,
            scheduler=scheduler,
        )
    first()
    return result
