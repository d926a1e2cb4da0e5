"""Searches: a sampler asks for populations of trials, sweeps train them, and the sampler is told.

A work directory holds the runs as of any sweep, and in `searches/<mark>/` the trials of each search.
"""

import contextlib
import dataclasses
import functools
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from fdl.arguments import Count, checked
from fdl.cells import text, texts
from fdl.configs import at
from fdl.experiment import Experiment
from fdl.parallel.distributed import several
from fdl.parallel.plan import MeshSizes, Overrides, Strategy
from fdl.result import Better, Result
from fdl.serialization import digest, essence, to_json
from fdl.storage import Folder, folder
from fdl.sweeps.asking import Asking, Sampler, asked, check_sampler, check_storage, opened_study, tell
from fdl.sweeps.check import checked_groups
from fdl.sweeps.drawn import Space, edges
from fdl.sweeps.run import program_of, sweep
from fdl.sweeps.space import Sweep, Trial, arms_of, sweep_of
from fdl.train.check import check
from fdl.train.folder import check_place, held
from fdl.train.progress import Progress
from fdl.train.runtime import prepare
from fdl.train.saving import Saving, check_saving


class Search(NamedTuple):
    """What a search found.

    Attributes:
      config: the config that was chosen, by validation.
      judged: its runs from fresh seeds, which chose nothing: what is measured on test is of these alone.
      result: the runs that chose.
    """

    config: Any
    judged: Result
    result: Result


class _Goal(NamedTuple):
    """By what trials are judged: a metric of validation, which way it is better, and from which seeds."""

    metric: str
    better: Better
    seeds: list[int]


@checked
def search(
    experiment: Callable[[Any], Experiment],
    space: Space,
    *,
    trials: Count,
    metric: str | None = None,
    better: Better | None = None,
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
) -> Search:
    """Looks for the config with the best mean on validation, and judges it by seeds that did not choose it.

    A sampler of Optuna (extra `search`) is asked for a population of trials, they are trained as a sweep, and
    it is told the mean over seeds of each: a trial is one evaluation, however many its seeds. One with a run
    that failed is told as worse than any. A config that comes again is trained once.

    Args:
      experiment: `config -> Experiment`.
      space: where to look; of `fdl.space`.
      trials: how many in all; the same call with more goes on.
      metric: of validation; by default that by which the experiment keeps its best state.
      better: which way it is better; by default likewise.
      sampler: `tpe`, `cmaes` (asks real and whole numbers; choices are drawn at random), `qmc` (a scrambled
        Sobol sequence), `random`, or `gp` (needs PyTorch).
      seeds: those of each trial, how many or which.
      judges: how many others judge the chosen config.
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

    Raises:
      ValueError: as `sweep`; a metric that is not of validation or not there; a sampler whose library is not
        installed; or no trial came to a number.
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
    check_sampler(sampler)
    check_saving(saving, kept=bool(workdir))
    check_place(directory)
    check_storage(storage, directory)
    if several():
        raise ValueError("a search runs in one process; start it on one host, without --coordinator")
    prepare(directory)
    chosen_by = [trial.seed for trial in sweep_of([("", space.config)], seeds).trials]
    tried = Sweep(tuple(Trial(f"{i}", one, chosen_by[0]) for i, one in enumerate(edges(space))))
    program = program_of(experiment, tried) if directory else {}
    groups = checked_groups(experiment, tried, directory, overrides, program=program)
    goal = _Goal(*_goal(metric, better, groups[0].experiment), chosen_by)
    about = _identity(space, goal, sampler, draw_seed, population, program) if directory else {}
    train = functools.partial(
        sweep, experiment, workdir=directory, identity=identity, saving=saving, progress=progress
    )
    train = functools.partial(train, members=members, mesh=mesh, strategy=strategy)
    with _held(directory, {**(identity or {}), **program}, about, restart, progress) as place:
        with opened_study(digest(about), storage, place, goal.better) as study:
            asking = Asking(study, space, sampler, draw_seed, population)
            found = _train_all(asking, goal, train, trials, progress)
        return _judge(found, space, goal, judges, train, sampler)


class _Found(NamedTuple):
    """Trials in their order: their configs and values (None without one), and the runs of all."""

    configs: list[Any]
    values: list[float | None]
    arms: dict[Any, str]
    result: Result


def _goal(metric: str | None, better: Better | None, experiment: Experiment) -> tuple[str, Better]:
    """By which metric to choose, and which way it is better.

    Raises:
      ValueError: none is known, or it is not one of validation, or not there.
    """
    best = experiment.best
    metric = metric or (best.metric if best else None)
    if metric is None:
        raise ValueError("no metric to search by; give one of validation, as --metric validation/loss")
    if not metric.startswith("validation/"):
        raise ValueError(f"the metric is {metric!r}: what chooses may not judge; expected a validation/...")
    names = check(experiment)
    if metric not in names:
        raise ValueError(f"no metric {metric!r}; there are: {', '.join(names)}")
    if better is None and best and best.metric == metric:
        better = best.better
    if better is None:
        raise ValueError(f"which way is {metric} better? say --better higher, or lower")
    return metric, better


def _identity(
    space: Space, goal: _Goal, sampler: str, draw_seed: int, population: int, program: Mapping[str, Any]
) -> dict[str, Any]:
    """What decides which trials there are, beside their number."""
    fields = {
        name: [one.low, one.high, one.log, len(one.values), texts(one.condition.values()), [*one.condition]]
        for name, one in space.fields.items()
    }
    return {
        "kind": "search",
        "space": {"configs": [to_json(config) for config in edges(space)], "fields": fields},
        "goal": goal._asdict(),
        "asked": {"sampler": sampler, "draw_seed": draw_seed, "population": population},
        "program": digest(essence(program)),
    }


@contextlib.contextmanager
def _held(
    directory: Folder | None,
    shared: Mapping[str, Any],
    about: Mapping[str, Any],
    restart: bool,
    progress: Progress,
) -> Iterator[Folder | None]:
    """Claims a work directory, and keeps other processes out of the search's folder in it while it lasts."""
    with held(directory, shared, restart=restart, say=progress.say):
        pass  # each sweep holds it again
    place = directory / "searches" / digest(about) if directory else None
    with held(place, about, say=progress.say):
        yield place


def _train_all(
    asking: Asking, goal: _Goal, train: Callable[..., Result], trials: int, progress: Progress
) -> _Found:
    """Asks, trains and tells population by population; what is finished is only read."""
    known: dict[Any, float | None] = {}
    arms: dict[Any, str] = {}
    results, configs = [], []
    for start in range(0, trials, asking.population):
        numbers = range(start, min(start + asking.population, trials))
        rows = [asked(asking, number) for number in numbers]
        named = arms_of(asking.space.config, asking.space.fields, rows)
        new: dict[Any, str] = {}
        for number, (name, config) in zip(numbers, named, strict=True):
            if config not in arms:
                new.setdefault(config, f"{number}: {name}")  # unlike any other, whatever digits it shows
        if new:
            arms |= new
            result = train(sweep_of([(arm, config) for config, arm in new.items()], goal.seeds), inspect=0)
            known |= {config: _mean(result, arm, goal) for config, arm in new.items()}
            results.append(result)
        for number, (_, config) in zip(numbers, named, strict=True):
            tell(asking, number, known[config])
            configs.append(config)
        _say(progress, arms, known, goal, done=len(configs), trials=trials)
    values = [known[config] for config in configs]
    if set(values) == {None}:
        raise ValueError(f"no trial has a finite {goal.metric} from all its seeds; search among other values")
    return _Found(configs, values, arms, functools.reduce(operator.add, results))


def _mean(result: Result, arm: str, goal: _Goal) -> float | None:
    """A trial's value: the mean of its seeds' runs, if all came to a number."""
    last = result.last()
    if goal.metric not in last:
        return None
    values = last.loc[last["arm"] == arm, goal.metric].to_numpy(float)
    return float(values.mean()) if len(values) == len(goal.seeds) and np.isfinite(values).all() else None


def _say(
    progress: Progress,
    arms: Mapping[Any, str],
    known: Mapping[Any, float | None],
    goal: _Goal,
    *,
    done: int,
    trials: int,
) -> None:
    finite = {arms[config]: value for config, value in known.items() if value is not None}
    if not finite:
        progress.say(f"trials: {done} of {trials}, none with a finite {goal.metric}")
        return
    arm = (max if goal.better == "higher" else min)(finite, key=lambda one: finite[one])
    progress.say(f"trials: {done} of {trials}; the best {goal.metric} is {text(finite[arm])}, of {arm}")


def _judge(
    found: _Found, space: Space, goal: _Goal, judges: int, train: Callable[..., Result], sampler: str
) -> Search:
    """The chosen config, trained from fresh seeds."""
    over = tuple(dict.fromkeys(name.partition(".")[0] for name in space.fields))
    choose = functools.partial(Result.best, over=over, by=goal.metric, better=goal.better, seeds=goal.seeds)
    arm = str(choose(found.result).runs()["arm"][0])
    config = next(one for one, name in found.arms.items() if name == arm)
    fresh = list(itertools.islice((seed for seed in itertools.count() if seed not in goal.seeds), judges))
    result = train(sweep_of([(arm, config)], fresh), inspect=1)
    judged = choose(found.result + result).where(seed=fresh)
    trials = [
        {"trial": number, **{name: at(one, name) for name in space.fields}, goal.metric: value}
        for number, (one, value) in enumerate(zip(found.configs, found.values, strict=True))
    ]
    told = {**goal._asdict(), "sampler": sampler, "judges": fresh, "trials": trials}
    meta = {**judged.meta, "configs": {arm: judged.meta["configs"][arm]}, "search": told}
    return Search(config, dataclasses.replace(judged, meta=meta), found.result)
