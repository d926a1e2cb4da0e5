"""What directories hold, as a result: from their files alone, without the experiment's code."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fdl.cells import Identity, identities, text
from fdl.parallel.plan import plan_from
from fdl.result import Result
from fdl.serialization import cell_of, differences, digest, essence, from_json
from fdl.storage import Folder
from fdl.sweeps.assembled import Told, assemble, tabulated
from fdl.sweeps.space import Sweep, Trial
from fdl.sweeps.units import LOST, Trained, Unit, done_of
from fdl.train.folder import identity_in, read_sealed
from fdl.train.identity import computed
from fdl.train.inspecting import stored_inspections
from fdl.train.resume import ROWS
from fdl.train.rows_file import read

ConfigKey = tuple[Identity, ...]
"""What tells a config from others in a table."""
_SHOWN = 4
"""So many differences are listed."""


class StoredRun(NamedTuple):
    """Where a run is stored.

    Attributes:
      directory: the work directory.
      unit: the folder of those that were trained with it.
      member: its place among them.
      config: its config, as `fdl.serialization.to_json` wrote it.
      seed: its seed.
      structure: what its static structure means, see `fdl.train.identity.of_structure`.
    """

    directory: Folder
    unit: Folder
    member: int
    config: Mapping[str, Any]
    seed: int
    structure: Mapping[str, Any]


def so_far(directory: Folder, space: Sweep, finished: dict[str, Trained]) -> Result | None:
    """What a directory holds of a sweep's trials now, running ones too; None before the first evaluation.

    Read from the files alone while others write them, by one process without the rest.

    Args:
      directory: where the runs are; of this sweep's experiment.
      space: the trials, in whose order and by whose names they are told.
      finished: units that were read before, by the names of their folders; those that are new are added.

    Raises:
      ValueError: a file is damaged.
      OSError: a file cannot be read.
    """
    cls, trained = type(space.trials[0].config), []
    for path in sorted((directory / "units").glob("*/unit.json")):
        name = path.parent.name
        if name not in finished:
            told = read_sealed(path, of=name, fix=LOST) or {}
            trials = [Trial(m["arm"], from_json(cls, m["config"]), m["seed"]) for m in told["members"]]
            unit = _unit(path.parent, told, trials, looks=False)
            if any(end["status"] == "running" for end in unit.ends):
                trained.append(unit)
                continue
            finished[name] = unit
        trained.append(finished[name])
    result = assemble(space, trained, seconds=None)
    return result if len(result.frame) else None


class Opened(NamedTuple):
    """A work directory.

    Attributes:
      directory: where it is.
      identity: what its runs mean, beside their configs.
      evaluated: on which data they are evaluated, a description each.
      configs: those of its runs.
      result: what they measured.
      runs: where each is, by its config and seed.
    """

    directory: Folder
    identity: dict[str, Any]
    evaluated: list[dict[str, Any]]
    configs: set[ConfigKey]
    result: Result
    runs: dict[tuple[ConfigKey, int], StoredRun]


def opened_directory(directory: Folder) -> Opened:
    """What a work directory holds: every run that has been evaluated, whichever command trained it.

    Raises:
      ValueError: it is no work directory, nothing is measured there yet, or a file is damaged.
      OSError: a file cannot be read.
    """
    identity = identity_in(directory)
    paths = sorted((directory / "units").glob("*/unit.json")) if identity else []
    if identity and not paths and any((directory / "schedules").glob("*")):
        raise ValueError(
            f"{directory} holds a sweep that a scheduler led, which is read with the experiment's code: "
            "by `fdl report FILE`, or by the same fdl.sweep(..., scheduler=...), which trains what is missing"
        )
    if identity is None or not paths:
        raise ValueError(
            f"{directory} holds no runs; expected a work directory, which `fdl run` and `fdl sweep` name"
        )
    told = [read_sealed(path, of=path.parent.name, fix=LOST) or {} for path in paths]
    trained = [
        _unit(path.parent, one, [Trial(member["arm"], None, member["seed"]) for member in one["members"]])
        for path, one in zip(paths, told, strict=True)
    ]
    if not any(unit.rows for unit in trained):
        raise ValueError(f"{directory} holds no evaluation yet; look again once one is done")
    configs = [[_shown(member["config"]) for member in one["members"]] for one in told]
    runs = [
        Told(member["arm"], configs[place][index], member["seed"], place, index)
        for place, one in enumerate(told)
        for index, member in enumerate(one["members"])
    ]
    names = _names(runs)
    runs = [run._replace(arm=names[_config(run)]) for run in sorted(runs, key=_order)]
    result = tabulated(runs, trained, tuple(runs[0].fields))
    meaning = digest(essence(computed(identity)))
    meta = {
        "name": directory.name,
        "configs": {run.arm: dict(run.fields) for run in runs},
        "identities": {run.arm: meaning for run in runs},
    }
    evaluated: list[dict[str, Any]] = []
    for one in told:
        data = {split: rows for split, rows in one["structure"]["data"].items() if split != "train"}
        evaluated += [data] if data not in evaluated else []
    result = dataclasses.replace(result, meta={**meta, **result.meta})
    places = {
        (shown_config(member["config"]), member["seed"]): StoredRun(
            directory, path.parent, index, member["config"], member["seed"], one["structure"]
        )
        for path, one in zip(paths, told, strict=True)
        for index, member in enumerate(one["members"])
    }
    return Opened(directory, identity, evaluated, set(names), result, places)


def shown_config(config: Mapping[str, Any]) -> ConfigKey:
    """What tells a stored config from others in a table."""
    return tuple(identities(_shown(config).values()))


def _unit(path: Folder, told: Mapping[str, Any], trials: list[Trial], *, looks: bool = True) -> Trained:
    """A unit, finished or not; what was shown of its runs too, or nothing of that."""
    unit = Unit(trials, plan_from(told["plan"]), told["reason"])
    done, fault = done_of(path)
    if fault:
        raise ValueError(f"{fault}; the command that trained it makes it again from what there is")
    rows, shown = read(path / ROWS).rows, stored_inspections(path) if looks else []
    if done is None:
        return Trained(unit, rows, [{"status": "running"}] * len(trials), {"members": len(trials)}, [], shown)
    return Trained(unit, rows, done["ends"], done["cost"], done["parts"], shown)


def _shown(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: cell_of(value) for name, value in config.items()}


def _config(run: Told) -> ConfigKey:
    return tuple(identities(run.fields.values()))


def _order(run: Told) -> Any:
    """By the fields' values, numbers by size and before all else, then by seed."""
    numbers = [value if isinstance(value, int | float) else None for value in run.fields.values()]
    return [
        (number is None, number or 0, str(value))
        for number, value in zip(numbers, run.fields.values(), strict=True)
    ], run.seed


def _names(runs: Sequence[Told]) -> dict[ConfigKey, str]:
    """What the arm of each config is called: two commands may have given one name to two configs, or two
    names to one."""
    called: dict[ConfigKey, str] = {}
    fields: dict[str, dict[ConfigKey, Mapping[str, Any]]] = {}
    for run in sorted(runs, key=lambda run: run.arm):
        name = called.setdefault(_config(run), run.arm)
        fields.setdefault(name, {})[_config(run)] = run.fields
    names = {}
    for name, alike in fields.items():
        differing = [i for i, values in enumerate(zip(*alike, strict=True)) if len(set(values)) > 1]
        for config, values in alike.items():
            words = [f"{list(values)[i]}={text(config[i][1])}" for i in differing]
            names[config] = f"{name} ({', '.join(words)})" if words else name
    return names


def check_comparable(one: Opened, other: Opened) -> None:
    """Raises `ValueError` where the runs of two directories are no answer to one question."""
    mine, yours = computed(one.identity), computed(other.identity)
    if essence(mine) == essence(yours):
        return
    what = "; ".join(differences(mine, yours)[:_SHOWN])
    where = f"{one.directory} and {other.directory} hold other experiments ({what})"
    if one.configs & other.configs:
        raise ValueError(f"{where} with runs of the same config; load them one by one")
    if any(data not in other.evaluated for data in one.evaluated):
        raise ValueError(f"{where}, evaluated on other data; load them one by one")
