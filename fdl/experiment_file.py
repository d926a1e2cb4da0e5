"""An experiment's file, loaded."""

import contextlib
import dataclasses
import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, NamedTuple

from fdl.configs import is_config
from fdl.experiment import Experiment
from fdl.identity import installed, meaning
from fdl.result import Better, Result, check_better
from fdl.serialization import digest, essence
from fdl.stats import Verdict, judge_claims
from fdl.stats.claims import check_claims
from fdl.sweeps import Scheduler, Space, Sweep
from fdl.sweeps.check import check_fields, check_space
from fdl.train.user_errors import told


class ExperimentFile(NamedTuple):
    """What an experiment's file defines.

    Attributes:
      name: the file's name without `.py`.
      question: the docstring's first line.
      detail: the rest of the docstring.
      source: the file's text.
      config: its class `Config`.
      experiment: its function `experiment`.
      sweep: its `SWEEP`, if it has one.
      claim: its function `claim`, or one that judges its `CLAIMS`, if it has either.
      search: its `SEARCH`, if it has one.
      scheduler: its `SCHEDULER`, if it has one.
      front: its `FRONT`: by metric which way it is better, of the front on its report.
      path: the file.
      asked: what its claims ask, the functions of each by its id.
      accel: its `ACCEL`: the sweep of the source's own size, which takes an accelerator, if it has one.
      figure: its function `figure` of a result, which `fdl reproduce` draws instead of the differences.
    """

    name: str
    question: str
    detail: str
    source: str
    config: type
    experiment: Callable[[Any], Experiment]
    sweep: Sweep | None
    claim: Callable[[Result], Verdict] | None
    search: Space | None
    path: Path
    scheduler: Scheduler | None = None
    asked: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    figure: Callable[[Result], Any] | None = None
    accel: Sweep | None = None
    front: Mapping[str, Better] = MappingProxyType({})


def stored_source(file: ExperimentFile) -> dict[str, Any]:
    """What a work directory's identity records of the file when its first run begins, beside what its runs
    mean; see `criteria` too."""
    about = {"path": str(file.path.resolve()), "given": str(file.path), "source": file.source}
    return {"experiment_file": {**about, "criteria": criteria(file)}}


def criteria(file: ExperimentFile) -> dict[str, str]:
    """A digest of what each of the file's claims asks, by its id (`claim`, where it is one function): of the
    code of its criterion and its control, and of the values that they read; a comment changes nothing."""
    found = {name: meaning(functions) for name, functions in file.asked.items()}
    return {name: digest(essence({"code": one.code, "values": one.values})) for name, one in found.items()}


def load_file(path: Path) -> ExperimentFile:
    """Imports an experiment's file.

    Raises:
      ValueError: there is no such file, it cannot be imported, or it lacks `Config` or `experiment`.
    """
    if not path.is_file() or path.suffix != ".py":
        raise ValueError(f"{path} is not a Python file; name an experiment's file, as experiments/first.py")
    name = path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    known = sys.modules.get(name)
    if spec is None or spec.loader is None or (known and not hasattr(known, "__experiment__")):
        raise ValueError(f"{path} has the name of another module, {name!r}; rename the file")
    module = importlib.util.module_from_spec(spec)
    module.__dict__["__experiment__"] = str(path)
    sys.modules[name] = module  # so that its functions are found by name
    try:
        source = path.read_text(encoding="utf-8")
        with _beside(path.parent.resolve()), told(str(path)):
            try:
                spec.loader.exec_module(module)
            except SyntaxError as error:
                raise ValueError(f"{error.filename or path} line {error.lineno}: {error.msg}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start})") from None
    return _contents(module, path, source)


@contextlib.contextmanager
def _beside(folder: Path) -> Iterator[None]:
    """Lets files in a folder be imported, as `python FILE` does; those of an earlier file are loaded anew."""
    # By their dictionaries: modules of others may have a `__getattr__` that warns, or imports more.
    for name in [name for name, one in sys.modules.items() if "__beside__" in getattr(one, "__dict__", ())]:
        del sys.modules[name]
    if str(folder) in sys.path:
        sys.path.remove(str(folder))
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file and Path(file).is_relative_to(folder) and not installed(file):
            sys.modules[name].__dict__["__beside__"] = str(folder)


def _check_sweep(name: str, sweep: Any, path: Path, config: type) -> None:
    try:
        check_space(sweep, kept=True)
    except ValueError as error:
        raise ValueError(f"{path}: {name}: {error}") from error
    if not isinstance(sweep.trials[0].config, config):
        raise ValueError(f"{path}: {name} has configs of {type(sweep.trials[0].config)}; expected Config's")


def _check_search(space: Any, path: Path, config: type) -> None:
    if not isinstance(space, Space):
        raise ValueError(f"{path}: SEARCH is a {type(space).__name__}; expected fdl.space(Config(), ...)")
    if not isinstance(space.config, config):
        raise ValueError(f"{path}: SEARCH has a config of {type(space.config)}; expected Config's")


def _check_front(front: Any, path: Path) -> None:
    if not (isinstance(front, dict) and len(front) > 1 and all(isinstance(name, str) for name in front)):
        raise ValueError(
            f"{path}: FRONT is {front!r}; expected two metrics or more and which way each is better, as "
            '{"test/accuracy": "higher", "test/bytes": "lower"}'
        )
    try:
        for side in front.values():
            check_better(side)
    except ValueError as error:
        raise ValueError(f"{path}: FRONT: {error}") from error


def _claim_of(claims: Any, claim: Any, path: Path) -> Callable[[Result], Verdict]:
    """The function that judges a file's `CLAIMS`."""
    if claim is not None:
        raise ValueError(f"{path} has both claim and CLAIMS; make the function one of the CLAIMS")
    try:
        check_claims(claims)
    except ValueError as error:
        raise ValueError(f"{path}: CLAIMS: {error}") from error
    return functools.partial(judge_claims, claims=claims)


def judged(claim: Callable[[Result], Verdict], result: Result) -> Verdict:
    """What a claim says of a result.

    Raises:
      ValueError: it fails, or says nothing.
    """
    with told("claim(result)"):
        verdict = claim(result)
    if not isinstance(verdict, Verdict):
        raise ValueError(
            f"claim(result) is a {type(verdict).__name__}; expected a verdict, as fdl.compare(...).verdict"
        )
    return verdict


def _contents(module: ModuleType, path: Path, source: str) -> ExperimentFile:
    config: Any = getattr(module, "Config", None)
    experiment: Any = getattr(module, "experiment", None)
    if config is None or not is_config(config):
        raise ValueError(f"{path} has no config; write `@fdl.config` above a `class Config:` with its fields")
    fields = dataclasses.fields(config)
    required = [f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING]
    if required:
        raise ValueError(f"{path}: the config field {required[0]!r} has no default; give it one")
    if experiment is None:
        raise ValueError(f"{path} has no function `experiment`; write `def experiment(config: Config): ...`")
    check_fields(config)
    question, _, detail = (module.__doc__ or path.stem).strip().partition("\n")
    sweep, claim = getattr(module, "SWEEP", None), getattr(module, "claim", None)
    claims, figure = getattr(module, "CLAIMS", None), getattr(module, "figure", None)
    for what, value in (("experiment", experiment), ("claim", claim), ("figure", figure)):
        if value is not None and not callable(value):
            raise ValueError(f"{path}: {what} is {value!r}; expected a function")
    accel = getattr(module, "ACCEL", None)
    for what, trials in (("SWEEP", sweep), ("ACCEL", accel)):
        if trials is not None:
            _check_sweep(what, trials, path, config)
    asked = {} if claim is None else {"claim": {"criterion": claim}}
    if claims is not None:
        claim = _claim_of(claims, claim, path)
        asked = {one.id: {"criterion": one.criterion, "control": one.control} for one in claims}
    search = getattr(module, "SEARCH", None)
    if search is not None:
        _check_search(search, path, config)
    scheduler = getattr(module, "SCHEDULER", None)
    if scheduler is not None and not isinstance(scheduler, Scheduler):
        raise ValueError(
            f"{path}: SCHEDULER is a {type(scheduler).__name__}; expected fdl.successive_halving(...), "
            "fdl.asha(...), fdl.hyperband(...), fdl.pbt(...) or an fdl.Scheduler"
        )
    front = getattr(module, "FRONT", {})
    if front != {}:
        _check_front(front, path)
    return ExperimentFile(
        path.stem,
        question,
        detail.strip(),
        source,
        config,
        experiment,
        sweep,
        claim,
        search,
        path,
        scheduler,
        asked,
        figure,
        accel,
        front,
    )
