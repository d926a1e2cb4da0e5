"""What directories hold, as a result: from their files alone, without the experiment's code."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fdl.cells import identities, text
from fdl.result import Result
from fdl.serialization import differences, digest, essence, from_json
from fdl.storage import Folder
from fdl.sweeps.assembled import Told, assemble, tabulated
from fdl.sweeps.distinct import entries_of, trained_trial
from fdl.sweeps.schedule_folder import last_schedule, schedules_in
from fdl.sweeps.schedule_loading import opened_schedule
from fdl.sweeps.space import Sweep, Trial
from fdl.sweeps.stored_runs import ConfigKey, StoredRun, fields_of, shown_config, stored_unit, told_in
from fdl.sweeps.units import Trained
from fdl.train.folder import identity_in
from fdl.train.identity import computed

_SHOWN = 4
"""So many differences are listed."""


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
            told = told_in(path.parent)
            trials = [Trial(m["arm"], from_json(cls, m["config"]), m["seed"]) for m in told["members"]]
            unit = stored_unit(path.parent, told, trials, looks=False)
            if any(end["status"] == "running" for end in unit.ends):
                trained.append(unit)
                continue
            finished[name] = unit
        trained.append(finished[name])
    entries = entries_of(directory).values()
    twins = {(from_json(cls, one.config), one.seed): trained_trial(cls, one) for one in entries}
    result = assemble(space, trained, seconds=None, twins=twins)
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
    """What a work directory holds: every run that has been evaluated, whichever command trained it, or what a
    scheduler led there.

    Args:
      directory: where it is. Where it holds several schedules, or one beside runs without a scheduler, the
        folder in it that is meant: `units`, or `schedules/NAME`.

    Raises:
      ValueError: it is no work directory, nothing is measured there yet, several things are, or a file is
        damaged.
      OSError: a file cannot be read.
    """
    if directory.name == "units" and identity_in(directory.parent):
        return _opened_units(directory.parent)
    if directory.parent.name == "schedules" and identity_in(directory.parent.parent):
        return _opened_schedule(directory)
    plain = any((directory / "units").glob("*/unit.json"))
    schedules = schedules_in(directory) if identity_in(directory) else []
    if len(schedules) + plain > 1:
        last = last_schedule(directory)
        places = [*([directory / "units"] if plain else []), *schedules]
        told = ", ".join(f"{place} (led last)" if place == last else str(place) for place in places)
        raise ValueError(
            f"{directory} holds several things that are no one result, as schedulers stopped arms: give one "
            f"of {told}"
        )
    return _opened_schedule(schedules[0]) if schedules else _opened_units(directory)


def _opened_units(directory: Folder) -> Opened:
    """A work directory's runs that no scheduler led."""
    identity = identity_in(directory)
    paths = sorted((directory / "units").glob("*/unit.json")) if identity else []
    if identity is None or not paths:
        raise ValueError(
            f"{directory} holds no runs; expected a work directory, which `fdl run` and `fdl sweep` name"
        )
    told = [told_in(path.parent) for path in paths]
    trained = [stored_unit(path.parent, one) for path, one in zip(paths, told, strict=True)]
    if not any(unit.rows for unit in trained):
        raise ValueError(f"{directory} holds no evaluation yet; look again once one is done")
    held = _runs(directory, paths, told)
    runs = [Told(one.arm, fields_of(one.run.config), one.run.seed, one.place, one.run.member) for one in held]
    names = _names(runs)
    runs = [
        run._replace(arm=names[_config(run)], of=names[shown_config(one.of)] if one.of else "")
        for run, one in zip(runs, held, strict=True)
    ]
    runs.sort(key=_order)
    result = tabulated(runs, trained, tuple(runs[0].fields))
    configs_by_arm = {run.arm: dict(run.fields) for run in runs}
    result = dataclasses.replace(result, meta={"configs": configs_by_arm, **result.meta})
    places = {(shown_config(one.run.config), one.run.seed): one.run for one in held}
    return _opened(directory, identity, result, places)


def _opened_schedule(place: Folder) -> Opened:
    """What a scheduler led, by its folder in a work directory."""
    directory = place.parent.parent
    found = opened_schedule(place, {}, looks=True)
    if found is None or found.result.frame.empty:
        raise ValueError(f"{place} holds no evaluation yet; look again once one is done")
    return _opened(directory, identity_in(directory) or {}, found.result, found.runs)


class _Held(NamedTuple):
    """A run of a directory: its arm, its unit's number, where it is and, of one that has another's numbers,
    the config of that."""

    arm: str
    place: int
    run: StoredRun
    of: Mapping[str, Any] | None = None


def _runs(directory: Folder, paths: Sequence[Folder], told: Sequence[Mapping[str, Any]]) -> list[_Held]:
    """The runs that units hold, and after them those that have the numbers of one of these."""
    found: dict[str, _Held] = {}
    for place, (path, one) in enumerate(zip(paths, told, strict=True)):
        for index, member in enumerate(one["members"]):
            config, seed = member["config"], member["seed"]
            run = StoredRun(directory, path.parent, index, config, seed, one["structure"])
            found[member["fingerprint"]] = _Held(member["arm"], place, run)
    for mark, entry in entries_of(directory).items():
        if mark not in found and (there := found.get(entry.of)):
            run = there.run._replace(config=entry.config, seed=entry.seed, structure=entry.structure)
            found[mark] = _Held(entry.arm, there.place, run, there.run.config)
    return list(found.values())


def _opened(
    directory: Folder,
    identity: dict[str, Any],
    result: Result,
    places: dict[tuple[ConfigKey, int], StoredRun],
) -> Opened:
    meaning = digest(essence(computed(identity)))
    meta = {"name": directory.name, "identities": dict.fromkeys(result.meta["configs"], meaning)}
    evaluated: list[dict[str, Any]] = []
    for run in places.values():
        data = {split: rows for split, rows in run.structure["data"].items() if split != "train"}
        evaluated += [data] if data not in evaluated else []
    result = dataclasses.replace(result, meta={**meta, **result.meta})
    return Opened(directory, identity, evaluated, {config for config, _ in places}, result, places)


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
