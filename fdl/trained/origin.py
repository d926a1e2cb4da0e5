"""The experiment that trained a run, found again: its file of today, the source that was stored, or a
function that the user gives; and in what it differs from what was trained."""

import difflib
import inspect
import tempfile
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax

from fdl import tree
from fdl.configs import is_config
from fdl.experiment import Best, Experiment, Inputs, Learner, Source, State
from fdl.experiment_file import load_file
from fdl.serialization import differences, essence, from_json
from fdl.sweeps.stored_runs import StoredRun
from fdl.train.check import built
from fdl.train.chosen import Chosen
from fdl.train.folder import identity_in
from fdl.train.identity import of_built, of_program, with_defaults
from fdl.train.run import Build
from fdl.train.stored_prediction import stored_prediction

STORED = "stored"
"""What is given as an experiment for the source that was stored with the run."""
_SHOWN = 4
"""So many differences are listed."""


class Recovered(NamedTuple):
    """An experiment as a run has it.

    Attributes:
      config: the run's.
      experiment: the experiment of it.
      changed: what is not as it was when the run was trained, a line each; by these it may compute otherwise.
      diff: in which lines the file differs from the source that was stored; `""` where it does not, or where
        none was stored.
      file: the file; None of a function, and of the source that was stored.
      missing: why the experiment can do nothing but predict, by the program that was stored; `""` where it is
        whole.
    """

    config: Any
    experiment: Experiment
    changed: tuple[str, ...]
    diff: str
    file: Path | None = None
    missing: str = ""


class NotHere(ValueError):
    """The experiment of a run cannot be made on this machine, as its file or its data is not there.

    Attributes:
      config: the run's config, where its class is known.
    """

    def __init__(self, why: str, config: Any = None) -> None:
        super().__init__(why)
        self.config = config


class _Found(NamedTuple):
    """A function `experiment`, the class of its configs, and of a file its text and place."""

    build: Build
    config: type
    source: str | None = None
    file: Path | None = None


def recovered(run: StoredRun, experiment: Callable[[Any], Experiment] | Path | str | None) -> Recovered:
    """The experiment of a stored run.

    Args:
      run: where it is.
      experiment: a function of the config whose parameter is annotated with the config's class; an
        experiment's file; `STORED`, which runs the source that is in the directory; or None, for the file
        that trained the run, as it is today.

    Raises:
      NotHere: the file or the data is not here.
      ValueError: the file fails; or another experiment, whose config has other fields.
    """
    identity = identity_in(run.directory) or {}
    recorded = identity.get("experiment_file")
    with tempfile.TemporaryDirectory() as place:  # for the stored source, which is looked at as a file
        try:
            found = _found(run, recorded, experiment, Path(place))
        except OSError as error:
            raise NotHere(f"the experiment's file cannot be run here: {error}") from error
        return _described(run, identity, found)


def from_stored(run: StoredRun, absent: NotHere) -> Recovered:
    """What the program that was stored with a run can do: an experiment that predicts, and no more.

    Args:
      run: where it is.
      absent: why there is no more.

    Raises:
      ValueError: no such program was stored, or it cannot be read.
      OSError: likewise.
    """
    try:
        stored = stored_prediction(run.unit)
    except ValueError as error:
        raise ValueError(f"{absent}; and without it {error}") from error

    def predict(state: State, batch: Any) -> Mapping[str, jax.Array]:
        return stored.call(run.config, tree.named_leaves(state), tree.named_leaves(batch))

    def nothing(*_: Any) -> Any:
        raise absent

    made = Experiment(
        Learner(nothing, nothing, nothing, predict=predict),
        train=Source((), nothing, 1),
        evaluation={},
        steps=1,
        evaluate_every=1,
        inputs=Inputs(stored.row, None, stored.classes, stored.read),
    )
    config = SimpleNamespace(**run.config) if absent.config is None else absent.config
    return Recovered(config, made, (), "", missing=str(absent))


def _described(run: StoredRun, identity: Mapping[str, Any], found: _Found) -> Recovered:
    """The experiment at the run's config, compared with what was trained."""
    build = Chosen(found.build, Best(**identity["best"])) if "best" in identity else found.build
    config = from_json(found.config, run.config)
    plain = with_defaults(config)
    try:
        made = built(build, config)
        at_defaults = made if plain == config else built(build, plain)
    except OSError as error:
        raise NotHere(
            f"the experiment cannot be made here, as its data is not there: {error}; give experiment=, a "
            "function that makes the same of data that is, or take the parameters alone: "
            "fdl.load(...).variables()",
            config,
        ) from error
    changed = [
        *_changes(identity, of_program(build, found.config), ("code", "values", "settings")),
        *_changes(run.structure, of_built(plain, at_defaults), ("functions", "data", "constants")),
    ]
    recorded = identity.get("experiment_file")
    diff = diff_of(recorded["source"], found.source) if recorded and found.source else ""
    return Recovered(config, made, tuple(changed), diff, found.file)


def _found(run: StoredRun, recorded: Any, experiment: Any, empty: Path) -> _Found:
    if experiment is None or experiment == STORED:
        if recorded is None:
            raise NotHere(
                f"{run.directory} does not say which file trained it, as runs of fdl.sweep and of earlier "
                "versions do not; give experiment=, the function or its file"
            )
        if experiment == STORED:
            path = empty / Path(recorded["path"]).name
            path.write_text(recorded["source"], encoding="utf-8")
            return _of_file(path)._replace(file=None)
        paths = [Path(recorded["path"]), Path(recorded["given"])]
        if not (there := [path for path in paths if path.is_file()]):
            raise NotHere(
                f"{run.directory} was trained by {paths[0]}, which is not here; give experiment=, the file's "
                f"place or the function, or experiment={STORED!r} to run the source that was stored with it"
            )
        return _of_file(there[0])
    if isinstance(experiment, str | Path):
        return _of_file(Path(experiment))
    return _Found(experiment, _config_of(experiment))


def _of_file(path: Path) -> _Found:
    file = load_file(path)
    return _Found(file.experiment, file.config, file.source, path.absolute())


def _config_of(experiment: Any) -> type:
    """The class of a function's configs, by its annotation."""
    if not callable(experiment):
        raise ValueError(
            f"experiment is {experiment!r}; expected a function of a config, a file, or {STORED!r}"
        )
    try:
        hints = typing.get_type_hints(experiment)
        first = next(iter(inspect.signature(experiment).parameters))
    except (NameError, TypeError, ValueError, StopIteration):
        hints, first = {}, ""
    config = hints.get(first)
    if config is None or not is_config(config):
        raise ValueError(
            "experiment= is a function whose config has no class that is known; annotate its parameter, as "
            "`def experiment(config: Config)`"
        )
    return config


def _changes(old: Mapping[str, Any], new: Mapping[str, Any], names: tuple[str, ...]) -> list[str]:
    before, now = ({k: v for k, v in one.items() if k in names} for one in (old, new))
    lines = [] if essence(before) == essence(now) else differences(before, now)
    return [*lines[:_SHOWN], *([f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else [])]


def diff_of(before: str, now: str) -> str:
    """In which lines a file differs from what was stored of it; `""` where it does not."""
    old, new = (text.splitlines(keepends=True) for text in (before, now))
    return "".join(difflib.unified_diff(old, new, "as it was stored", "as it is today"))
