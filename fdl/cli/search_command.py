"""`fdl search`: looks for a good config in the file's SEARCH, and shows what it has while it looks."""

import dataclasses
from pathlib import Path
from typing import Any

from rich.console import Console

from fdl.cli import executors
from fdl.cli.beginning import after, begin
from fdl.cli.ending import finish
from fdl.cli.following import followed
from fdl.cli.options import SearchOptions
from fdl.cli.progress import shown
from fdl.cli.reports import table_place
from fdl.cli.sinks import check_sinks, sinks
from fdl.cli.trials import searched
from fdl.experiment_file import ExperimentFile, stored_source
from fdl.report.files import write_table
from fdl.report.search_table import runs_of_trials
from fdl.result import Result
from fdl.serialization import digest, essence
from fdl.storage import Folder
from fdl.sweeps import Search, Sweep, Trial, program_of, search
from fdl.sweeps.led import joined_populations
from fdl.sweeps.populations import Population, PopulationsSoFar
from fdl.train import Progress


def search_in(
    file: ExperimentFile,
    options: SearchOptions,
    changed: dict[str, Any],
    made: dict[str, str],
    console: Console,
) -> int:
    """Searches, and reports what was chosen; returns the exit code."""
    space = searched(file.search, changed)
    base = Sweep((Trial("base", space.config, 0),))
    mark = digest(essence(program_of(file.experiment, base)))
    directory = options.directory(Path("runs") / file.name / mark)
    metric, better = options.goal()
    executor = executors.executor_of(options, file.path, directory)
    check_sinks(options.tensorboard, options.wandb)
    first = begin(file, options, directory, console)
    looks_on, late = _LooksOn(directory), list[Exception]()
    with (
        sinks(options.tensorboard, options.wandb, directory) as kept,
        shown(console) as (progress, stand),
        followed(
            after(progress, first),
            looks_on.read,
            looks_on.place,
            stand if options.watch else None,
            kept,
            elsewhere=executor is not None,
            failed=late.append,
            write=looks_on.write,
        ) as told,
    ):
        found = search(
            file.experiment,
            space,
            trials=options.trials,
            metric=metric,
            better=better,
            sampler=options.sampler,
            seeds=options.seeds,
            judges=options.judges,
            population=options.population,
            draw_seed=options.draw_seed,
            storage=options.storage,
            workdir=directory,
            identity={"kind": "sweep", **stored_source(file)},
            members=options.members,
            mesh=options.sizes(),
            strategy=options.strategy,
            saving=options.saving(),
            restart=options.restart,
            progress=looks_on.told_too(told),
            scheduler=file.scheduler,
            executor=executor,
        )
    first()
    code = _reported(file, options, found, looks_on, directory, made, console)
    if late:  # of what keeps it elsewhere: what was found is reported all the same
        raise late[0]
    return code


class _LooksOn:
    """What others see of a search while it runs."""

    def __init__(self, directory: Folder) -> None:
        self.directory, self.so_far = directory, PopulationsSoFar(directory)
        self.now: Population | None = None

    def told_too(self, progress: Progress) -> Progress:
        """The same, by which this one knows too what is trained now."""

        def asked(population: Population) -> None:
            self.now = population
            progress.asked(population)

        return progress._replace(asked=asked)

    def read(self) -> Result | None:
        """What is measured so far."""
        return self.so_far.read(self.now) if self.now else None

    def place(self) -> Folder | None:
        """The table's folder."""
        return table_place(self.directory, self.now.search) if self.now else None

    def write(self, result: Result, place: Folder) -> None:
        """Writes the table of what is measured so far, and of what is asked."""
        write_table(runs_of_trials(result, self.now.trials if self.now else None), place)


def _reported(
    file: ExperimentFile,
    options: SearchOptions,
    found: Search,
    looks_on: _LooksOn,
    directory: Folder,
    made: dict[str, str],
    console: Console,
) -> int:
    """The report of the runs that judge, and the table of all."""
    assert looks_on.now
    runs, name = found.judged.runs(), looks_on.now.search
    judged = Sweep(tuple(map(Trial, runs["arm"], runs["arm"].map(found.front), runs["seed"])))
    whole = dataclasses.replace(found.judged, selection=None)
    table = runs_of_trials(joined_populations([found.result, whole]))
    write_table(table, table_place(directory, name))
    bare = file._replace(sweep=None, claim=None)
    return finish(bare, options, found.judged, judged, directory, made, console, search=(name, table))
