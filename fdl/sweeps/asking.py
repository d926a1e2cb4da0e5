"""Asking an Optuna sampler for the trials of a search, and telling it what they came to.

Optuna's storage is the only state. A sampler is made anew for every trial, its random numbers named by the
search's seed and the trial's number: a trial depends on what was told before it, not on who asks.
"""

import contextlib
import importlib.util
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from math import inf
from pathlib import Path
from typing import Any, Literal, NamedTuple

from fdl.cells import texts
from fdl.result import Better
from fdl.serialization import digest
from fdl.storage import Folder, in_bucket
from fdl.sweeps.distributions import Distribution
from fdl.sweeps.drawn import TRIES, Space, config_of, interval_of, is_whole, values_in
from fdl.text import named

Sampler = Literal["tpe", "cmaes", "nsgaii", "qmc", "random", "gp"]
"""Tree-structured Parzen estimator, CMA-ES, NSGA-II, a Sobol sequence, independent draws, Gaussian
process."""
_NEEDS = {"cmaes": "cmaes", "gp": "torch"}
"""What a sampler needs beside Optuna."""
_DATABASE = "trials.db"
_CONSTRAINT = "allowed"
_LEAST = 4
"""The fewest points that CMA-ES takes for a generation here; of smaller populations it chooses its own."""


class Asking(NamedTuple):
    """The trials of a search, in the order of their numbers.

    Attributes:
      study: Optuna's study.
      space: where the search looks.
      sampler: which sampler asks.
      draw_seed: names its random numbers.
      population: how many trials are asked before they are told.
    """

    study: Any
    space: Space
    sampler: Sampler
    draw_seed: int
    population: int


def check_sampler(sampler: Sampler, population: int, *, several: bool) -> None:
    """Raises `ValueError` for a sampler whose libraries are not installed, or that cannot search by several
    metrics or with such a population."""
    if importlib.util.find_spec("optuna") is None:
        raise ValueError("a search needs the extra 'search': pip install fdl[search]")
    library = _NEEDS.get(sampler)
    if library and importlib.util.find_spec(library) is None:
        raise ValueError(f"the sampler {sampler} needs {library}: pip install {library}")
    if several and sampler == "cmaes":
        raise ValueError("the sampler cmaes knows one metric alone; with several take tpe, nsgaii, qmc or gp")
    if sampler == "nsgaii" and population < 2:
        raise ValueError(f"population is {population}; the sampler nsgaii has generations of 2 or more")


def check_storage(storage: str | None, folder: Folder | None) -> None:
    """Raises `ValueError` where trials cannot be kept."""
    if storage is not None and folder is None:
        raise ValueError("a storage keeps trials, but not their runs; give a workdir too")
    if storage is None:
        if folder is not None and in_bucket(folder):
            raise ValueError(
                f"{folder} is in a bucket, where no SQLite file can be; give a storage beside it"
            )
    elif "://" in storage:
        _check_driver(storage)
    elif not Path(storage).absolute().parent.is_dir():
        raise ValueError(
            f"storage is {storage!r}; expected a database's URL, or a file in a folder that is there"
        )


def _check_driver(url: str) -> None:
    """Raises `ValueError` for what is no database's URL, or where its driver is not installed."""
    from sqlalchemy.engine import make_url

    try:
        make_url(url).get_dialect().import_dbapi()
    except ModuleNotFoundError as error:
        raise ValueError(
            f"the search's storage is in a database whose driver, {error.name}, is not installed; for "
            "PostgreSQL: pip install fdl[postgresql]"
        ) from None
    except Exception as error:  # of SQLAlchemy's own kinds
        raise ValueError(f"the search's storage cannot be opened: {named(error, most=300)}") from error


@contextlib.contextmanager
def opened_study(
    name: str, storage: str | None, folder: Folder | None, better: Iterable[Better]
) -> Iterator[Any]:
    """Optuna's study of a name, which is made where there is none; quiet while it lasts.

    Args:
      name: the study's.
      storage: a database's URL, or the path of a journal; a SQLite file in `folder` if not given.
      folder: where that is; without it trials are kept in memory.
      better: which way each of a trial's values is better.

    Raises:
      ValueError: the storage cannot be opened.
    """
    import optuna

    level = optuna.logging.get_verbosity()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", message="Constraints have been set, but")  # it draws again
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        opened = None
        try:
            opened = _storage(storage, folder)
            way = optuna.study.StudyDirection
            directions = [way.MAXIMIZE if one == "higher" else way.MINIMIZE for one in better]
            yield optuna.create_study(
                study_name=name, storage=opened, directions=directions, load_if_exists=True
            )
        finally:
            optuna.logging.set_verbosity(level)
            if isinstance(opened, optuna.storages.RDBStorage):
                opened.remove_session()
                opened.engine.dispose()


def asked(asking: Asking, first: int) -> tuple[int, list[Any]]:
    """The number and the values of the next trial, from the number `first` on, that the space allows: as it
    was asked, also by a process that has died since.

    One that it does not allow is kept as pruned for a constraint: TPE learns from it, others draw again.

    Raises:
      ValueError: a thousand in a row are not allowed.
    """
    for number in range(first, first + TRIES):
        row = _row(asking, number)
        if asking.space.allows(config_of(asking.space, row)):
            return number, row
        trial = asking.study.get_trials(deepcopy=False)[number]
        if not trial.state.is_finished():
            _live(asking, trial).set_constraint(_CONSTRAINT, 1.0)
            asking.study.tell(number, state=_pruned())
    raise ValueError(
        f"the space allows none of {TRIES} configs in a row that {asking.sampler} asked for; loosen its "
        "constraints, or narrow the fields to where they hold"
    )


def _row(asking: Asking, number: int) -> list[Any]:
    """The values of the space's fields in a trial."""
    study, space = asking.study, asking.space
    trials = study.get_trials(deepcopy=False)
    study.sampler = _sampler(asking, number, refused=number > 0 and bool(trials[number - 1].constraints))
    if number == len(trials):
        trial = study.ask()
        if trial.number != number:
            raise ValueError("another process asks for trials of this search; let one of them run")
        return values_in(space, lambda name: _suggested(trial, space, name))
    found = trials[number]
    with contextlib.suppress(KeyError):
        return values_in(space, lambda name: _value(space.fields[name], found.params[name]))
    # The process died while it asked: what it asked is kept, and the rest comes from the same random numbers.
    again = _live(asking, found)
    for name, distribution in found.distributions.items():
        if name not in again.relative_params:
            study.sampler.sample_independent(study, found, name, distribution)
    return values_in(space, lambda name: _suggested(again, space, name))


def _live(asking: Asking, trial: Any) -> Any:
    """A trial that Optuna keeps, to go on with."""
    import optuna

    return optuna.trial.Trial(asking.study, trial._trial_id)


def tell(
    asking: Asking,
    number: int,
    values: Sequence[float] | None,
    stopped: tuple[int, float] | None = None,
) -> None:
    """Tells a trial's values, or None where it has none: samplers then take it for worse than any.

    One that was stopped is told as pruned with its step and its value there: TPE takes it for worse than all
    that came to their end, for better than those that were stopped before, and by its value among those of
    the same step; CMA-ES and the Gaussian process pass over it, NSGA-II takes it for worse than any. What has
    been told stays as it is.
    """
    trial = asking.study.get_trials(deepcopy=False)[number]
    if trial.state.is_finished():
        return
    if stopped and stopped[0] not in trial.intermediate_values:
        step, there = stopped
        _live(asking, trial).report(there, step)
    if values is None and asking.sampler == "nsgaii":  # what is pruned belongs to no generation
        way = type(asking.study.directions[0])
        asking.study.tell(number, [-inf if one == way.MAXIMIZE else inf for one in asking.study.directions])
    elif values is None:
        asking.study.tell(number, state=_pruned())
    else:
        asking.study.tell(number, list(values))


def _pruned() -> Any:
    import optuna

    return optuna.trial.TrialState.PRUNED


def _storage(storage: str | None, folder: Folder | None) -> Any:
    import optuna
    from optuna.storages.journal import JournalFileBackend

    if storage is None and folder is None:
        return optuna.storages.InMemoryStorage()
    if storage is not None and "://" not in storage:
        return optuna.storages.JournalStorage(JournalFileBackend(storage))
    try:
        return optuna.storages.RDBStorage(storage or _database(Path(str(folder))))
    except Exception as error:  # of the database's own library, whichever that is
        raise ValueError(f"the search's storage cannot be opened: {named(error, most=300)}") from error


def _database(folder: Path) -> str:
    """The URL of the SQLite file in a folder. Its tables are made elsewhere: they are all there, or none."""
    import optuna

    place = folder.absolute() / _DATABASE
    if not place.exists():
        new = place.with_name(f"{_DATABASE}.new")
        new.unlink(missing_ok=True)
        optuna.storages.RDBStorage(f"sqlite:///{new}").engine.dispose()
        os.replace(new, place)
    return f"sqlite:///{place}"


def _sampler(asking: Asking, number: int, *, refused: bool) -> Any:
    """The sampler that asks for one trial; whether the one before was refused for a constraint."""
    from optuna import samplers

    each, common = (int(digest([asking.draw_seed, which]), 16) % 2**32 for which in (number, "all"))
    free = samplers.RandomSampler(seed=each)
    if asking.sampler == "tpe":
        conditional = any(one.condition for one in asking.space.fields.values())
        return samplers.TPESampler(seed=each, multivariate=True, group=conditional, constant_liar=True)
    if asking.sampler == "cmaes":  # it adds the trial's number to its seed
        size = asking.population if asking.population >= _LEAST else None
        return samplers.CmaEsSampler(
            seed=common, independent_sampler=free, popsize=size, warn_independent_sampling=False
        )
    if asking.sampler == "nsgaii":
        return samplers.NSGAIISampler(seed=each, population_size=asking.population)
    if asking.sampler == "qmc":  # one sequence, whose next point the storage knows; a kill may skip one
        return samplers.QMCSampler(
            seed=common, scramble=True, independent_sampler=free, warn_independent_sampling=False
        )
    if asking.sampler == "gp" and not refused:  # it would choose the very point again
        return samplers.GPSampler(seed=each, independent_sampler=free, warn_independent_sampling=False)
    return free


def _suggested(trial: Any, space: Space, name: str) -> Any:
    distribution = space.fields[name]
    if distribution.values:
        return _value(distribution, trial.suggest_categorical(name, texts(distribution.values)))
    low, high = interval_of(space.config, name, distribution)
    suggest = trial.suggest_int if is_whole(space.config, name) else trial.suggest_float
    return suggest(name, low, high, log=distribution.log)


def _value(distribution: Distribution, found: Any) -> Any:
    """A field's value, of what Optuna keeps of it: of a choice its text."""
    if not distribution.values:
        return found
    return distribution.values[texts(distribution.values).index(found)]
