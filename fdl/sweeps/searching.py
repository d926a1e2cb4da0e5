"""Searches: a sampler asks for populations of trials, sweeps train them, and the sampler is told.

A work directory holds the runs as of any sweep, and in `searches/<mark>/` the trials of each search.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from fdl.arguments import Count, checked
from fdl.cells import text
from fdl.experiment import Experiment
from fdl.parallel.distributed import several
from fdl.parallel.plan import MeshSizes, Overrides, Strategy
from fdl.result import Better, Result
from fdl.serialization import digest
from fdl.storage import Folder, folder
from fdl.sweeps.asking import Asking, Sampler, asked, check_sampler, check_storage, opened_study, tell
from fdl.sweeps.check import check_apart, checked_groups
from fdl.sweeps.drawn import Space, typical
from fdl.sweeps.executor import Executor
from fdl.sweeps.goal import Goal, Values, goal_of, pareto_front, values_of
from fdl.sweeps.in_process import first_runs
from fdl.sweeps.judging import Found, Search, from_fresh_seeds
from fdl.sweeps.leading import message_for
from fdl.sweeps.led import at_rungs, check_stays, goal_of_led, train_population
from fdl.sweeps.populations import Population, arm_of_trial
from fdl.sweeps.programs import Reused
from fdl.sweeps.run import program_of
from fdl.sweeps.schedule_check import check_scheduler
from fdl.sweeps.scheduled import How
from fdl.sweeps.schedulers import Scheduler
from fdl.sweeps.search_place import held_search, search_identity
from fdl.sweeps.space import Sweep, Trial, arms_of, sweep_of
from fdl.train import history
from fdl.train.folder import check_place
from fdl.train.profiling import Profiler
from fdl.train.progress import Progress, harmless
from fdl.train.runtime import prepare
from fdl.train.saving import Saving, check_saving

Each = Callable[[Sweep, Sequence[Result], Iterable[Any]], Result]
"""`train(population, results, configs)`, the latter those of earlier populations."""


@checked
def search(
    experiment: Callable[[Any], Experiment],
    space: Space,
    *,
    trials: Count,
    metric: str | Sequence[str] | None = None,
    better: Better | Sequence[Better] | None = None,
    sampler: Sampler = "tpe",
    seeds: int | Iterable[int] = 1,
    judges: Count = 8,
    population: Count = 16,
    draw_seed: int = 0,
    storage: str | None = None,
    workdir: Folder | str | None = None,
    identity: Mapping[str, Any] | None = None,
    members: Count | None = None,
    mesh: MeshSizes | None = None,
    strategy: Strategy = "jit",
    saving: Saving = Saving(),  # noqa: B008
    restart: bool = False,
    progress: Progress = Progress(),  # noqa: B008
    scheduler: Scheduler | None = None,
    executor: Executor | None = None,
) -> Search:
    """Looks for the config with the best mean on validation, and judges it by seeds that did not choose it;
    with several metrics, for the configs of their Pareto front.

    A sampler of Optuna (extra `search`) is asked for a population of trials, they are trained as a sweep, and
    it is told the mean over seeds of each: a trial is one evaluation, however many its seeds. One with a run
    that failed is told as worse than any. A config that comes again is trained once, and one that the space
    does not allow is no trial. Where a scheduler leads each population, a trial that it stops is told as
    pruned, with its value there, and is not chosen.

    Args:
      experiment: `config -> Experiment`.
      space: where to look; of `fdl.space`.
      trials: how many in all; the same call with more goes on.
      metric: of validation, one or several; by default that by which the experiment keeps its best state.
      better: which way it is better, of each; by default likewise.
      sampler: `tpe`, `cmaes` (for one metric; asks real and whole numbers, draws choices at random), `nsgaii`
        (a generation a population), `qmc` (a scrambled Sobol sequence), `random`, or `gp` (needs PyTorch).
      seeds: those of each trial, how many or which.
      judges: how many others judge the chosen config, or each of the front.
      population: trials that are asked before the first of them is told.
      draw_seed: names the sampler's random numbers: the same, with all else alike, gives the same trials.
      storage: where Optuna keeps trials: a database's URL, or a file for its journal; a SQLite file in
        `workdir` if not given.
      workdir: as for `sweep`. The same call goes on, also after `kill -9`: what is finished is only read.
      identity: as for `sweep`, and so `members`, `mesh`, `strategy`, `saving`, `restart` and `progress`.
      members: members in a program.
      mesh: the sizes of the mesh's axes.
      strategy: how rows are split.
      saving: when to save.
      restart: move what the directory holds aside, trials too; those of a `storage` elsewhere stay.
      progress: told of the progress.
      scheduler: which trials of a population go on at which steps, as `fdl.asha(...)`; all if None. With one
        `trials` are whole populations, and `metric` and `better` by default its own.
      executor: who trains each population, as for `sweep`; this process if not given.

    Raises:
      ValueError: as `sweep`; a metric that is not of validation or not there; a sampler whose library is not
        installed, or that knows one metric alone; a space that allows nothing; no trial came to a number; or
        a scheduler that changes arms, as `fdl.pbt`: a trial is one config.
      Interrupted: as `sweep`.
      OSError: as `sweep`.

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
      >>> space = fdl.space(Config(), rate=fdl.log_uniform(0.1, 1.0))
      >>> goal = {"metric": "validation/accuracy", "better": "higher"}
      >>> found = fdl.search(experiment, space, trials=2, population=2, judges=2, **goal)
      >>> found.judged.runs()["seed"].tolist()  # seed 0 chose
      [1, 2]
    """
    directory, overrides = folder(workdir) if workdir else None, Overrides(members, mesh, strategy)
    check_sampler(sampler, population, several=not isinstance(metric, str | None) and len(metric) > 1)
    check_saving(saving, kept=bool(workdir))
    check_place(directory)
    check_storage(storage, directory)
    if several():
        raise ValueError("a search runs in one process; start it on one host, without --coordinator")
    prepare(directory)
    chosen_by = [trial.seed for trial in sweep_of([("", space.config)], seeds).trials]
    tried = Sweep(tuple(Trial(f"{i}", one, chosen_by[0]) for i, one in enumerate(typical(space))))
    program, reused = program_of(experiment, tried), Reused()
    shared, own = program if directory else None, overrides
    if executor:
        check_apart(directory, profile=False)
        assert directory
        message_for(executor, experiment, tried, directory, overrides, saving, ())  # or it cannot be sent
        own = Overrides(members)  # the mesh is one of the workers' devices
    groups = checked_groups(experiment, tried, directory, own, program=shared, reused=reused)
    if scheduler is not None:
        check_stays(check_scheduler(scheduler, groups, tried))
        metric, better = goal_of_led(scheduler, metric, better, trials=trials, population=population)
    goal = goal_of(metric, better, groups[0].experiment, chosen_by)
    about = {}
    if directory:
        asks = {"sampler": sampler, "draw_seed": draw_seed, "population": population}
        steps = groups[0].experiment.steps
        about = search_identity(space, goal, asks, program, scheduler, steps)
    known_by = {**(identity or {}), **program}
    progress = harmless(progress)
    profiler, here = Profiler(None, progress.say), history.here(experiment)
    how = How(overrides, saving, progress, profiler, (), here, reused)
    train = functools.partial(train_population, experiment, executor)
    told = (directory, known_by, program)
    name = digest(about) if directory else ""

    def each(population: Sweep, before: Sequence[Result], configs: Iterable[Any]) -> Result:
        progress.asked(Population(population, tuple(before), scheduler is not None, name))
        return train(scheduler, how, *told, population, before, configs)

    def judged(space: Sweep, before: Sequence[Result]) -> Result:
        progress.asked(Population(space, tuple(before), False, name))
        return train(None, how._replace(inspected=first_runs(space, arms=1)), *told, space, (), ())

    with held_search(directory, known_by, about, restart, progress) as place:
        with opened_study(digest(about), storage, place, goal.better.values()) as study:
            asking = Asking(study, space, sampler, draw_seed, population)
            found = _train_all(asking, goal, each, trials, progress)
        return from_fresh_seeds(found, space, goal, judges, judged, sampler)


def _train_all(asking: Asking, goal: Goal, train: Each, trials: int, progress: Progress) -> Found:
    """Asks, trains and tells population by population; what is finished is only read."""
    known: dict[Any, Values | None] = {}
    arms: dict[Any, str] = {}
    rungs: dict[str, tuple[int, float]] = {}
    results, configs, following = [], [], 0
    while len(configs) < trials:
        numbers, rows = [], []
        for _ in range(min(asking.population, trials - len(configs))):
            number, row = asked(asking, following)
            numbers, rows, following = [*numbers, number], [*rows, row], number + 1
        named = arms_of(asking.space.config, asking.space.fields, rows)
        new: dict[Any, str] = {}
        for trial, (name, config) in enumerate(named, len(configs)):
            if config not in arms:
                new.setdefault(config, arm_of_trial(trial, name))
        if new:
            population = sweep_of([(arm, config) for config, arm in new.items()], goal.seeds)
            result = train(population, results, arms)
            arms |= new
            known |= {config: values_of(result, arm, goal) for config, arm in new.items()}
            rungs |= at_rungs(result)
            results.append(result)
        for number, (_, config) in zip(numbers, named, strict=True):
            tell(asking, number, known[config], rungs.get(arms[config]))
            configs.append(config)
        _say(progress, arms, known, goal, done=len(configs), trials=trials)
    values = [known[config] for config in configs]
    if set(values) == {None}:
        raise ValueError(f"no trial has a finite {goal} from all its seeds; search among other values")
    return Found(configs, values, arms, results, following - trials)


def _say(
    progress: Progress,
    arms: Mapping[Any, str],
    known: Mapping[Any, Values | None],
    goal: Goal,
    *,
    done: int,
    trials: int,
) -> None:
    finite = {arms[config]: values for config, values in known.items() if values is not None}
    told = f"trials: {done} of {trials}"
    if not finite:
        progress.say(f"{told}, none with a finite {goal}")
        return
    best = pareto_front(finite, goal.better.values())
    if len(goal.better) > 1:
        progress.say(f"{told}; {len(best)} on the front of {goal}")
    else:
        progress.say(f"{told}; the best {goal} is {text(finite[best[0]][0])}, of {best[0]}")
