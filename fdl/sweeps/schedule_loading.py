"""A sweep that a scheduler leads, read from its files alone: also while it runs, and without its code.

The race is run once more, from what is stored: legs are those of the stored units, and decisions the stored
ones, with the configs that these give. Where no more is stored, all that wait go on as they are, over no
steps: that is what is still running.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax

from fdl.result import Result
from fdl.serialization import digest
from fdl.storage import Folder
from fdl.sweeps.assembled import Told, tabulated
from fdl.sweeps.lineages import lineages_of, names_after
from fdl.sweeps.racing import Decided, Leg, Race, Ran, State, race
from fdl.sweeps.schedule_folder import last_schedule, schedule_in
from fdl.sweeps.schedule_result import as_one, led
from fdl.sweeps.schedulers import Curves, Next, Scheduler
from fdl.sweeps.space import Trial
from fdl.sweeps.stored_decisions import as_told, decisions_in, going_in
from fdl.sweeps.stored_runs import (
    ConfigKey,
    StoredRun,
    fields_of,
    shown_arm,
    shown_config,
    stored_unit,
    told_in,
)
from fdl.sweeps.units import Trained

NOWHERE: State = "", 0
"""Where the state of a run is that has not begun."""


class Schedule(NamedTuple):
    """What is stored of a schedule.

    Attributes:
      result: what is measured so far, arms in the sweep's order.
      runs: where each run's last state is, by what tells its arm from others and its seed; of those that
        have begun.
    """

    result: Result
    runs: dict[tuple[ConfigKey, int], StoredRun]


def last_so_far(directory: Folder, finished: dict[str, Trained]) -> Result | None:
    """What the schedule that was led last in a directory has come to; None before its first evaluation.
    Arguments and errors as of `opened_schedule`."""
    place = last_schedule(directory)
    return schedule_so_far(place, finished) if place else None


def schedule_so_far(place: Folder, finished: dict[str, Trained]) -> Result | None:
    """What a schedule has come to; None before its first evaluation. Arguments and errors as of
    `opened_schedule`."""
    found = opened_schedule(place, finished, looks=False)
    return found.result if found and len(found.result.frame) else None


def opened_schedule(place: Folder, finished: dict[str, Trained], *, looks: bool) -> Schedule | None:
    """What a schedule's folder holds, also while others write it; None before its first unit.

    Args:
      place: the folder.
      finished: units that were read before, by the names of their folders; those that are new are added.
      looks: whether to read what was shown of its runs too.

    Raises:
      ValueError: a file is damaged.
      OSError: a file cannot be read.
    """
    about = schedule_in(place)
    if about is None:
        return None
    decisions = decisions_in(place)  # before the units: those that they are about are there then
    stored = _Stored(place, about, finished, looks)
    trials = [Trial(one["arm"], one["config"], one["seed"]) for one in about["trials"]]
    went, ended = _replayed(about, trials, decisions, stored)
    trained = [stored.units[name] for name in stored.order]
    if not trained:
        return None
    configs = {(one["arm"], one["seed"]): one["config"] for one in about["trials"]}
    names, lineages = names_after(went), lineages_of(went, fields_of)
    runs = [Told(names[t.arm], fields_of(t.config), t.seed, 0, i) for i, t in enumerate(trials)]
    result = tabulated(runs, [as_one(trials, went, trained)], tuple(runs[0].fields))
    meta = {**result.meta, "configs": {run.arm: dict(run.fields) for run in runs}}
    result = dataclasses.replace(result, meta=meta)
    scheduler = _scheduler(about["schedule"], {}, [])
    steps = about["evaluations"][-1]
    result = led(result, lineages, scheduler, went, trained, steps=steps, name=place.name, ended=ended)
    keys = {
        run: shown_arm(names[run[0]]) if names[run[0]] in lineages else shown_config(config)
        for run, config in configs.items()
    }
    return Schedule(result, {(keys[run], run[1]): where for run, where in stored.places().items()})


def _replayed(
    about: Mapping[str, Any],
    trials: Sequence[Trial],
    decisions: Mapping[tuple[int, int], Mapping[str, Any]],
    stored: "_Stored",
) -> tuple[Race, bool]:
    """How the race went as far as it is stored, and whether that is to its end."""
    names = list(dict.fromkeys(trial.arm for trial in trials))
    scheduler = _scheduler(about["schedule"], decisions, names)
    found = race(trials, scheduler, about["evaluations"], stored.train, check=lambda going, *_: going)
    known = [one for one in found.decided if _is_as_stored(one, decisions, names)]
    heard = {names[arm] for one in known for arm in set(one.arms) - {going.arm for going in one.going}}
    left = {arm: one for arm, one in found.left.items() if arm in heard}
    ends = {
        run: {**end, "status": "running"}
        if end["status"] == "finished" and run[0] in found.left and run[0] not in left
        else end
        for run, end in found.ends.items()
    }
    ended = all(end["status"] != "running" for end in ends.values())
    return found._replace(decided=known, left=left, ends=ends), ended


def _scheduler(
    schedule: Mapping[str, Any], decisions: Mapping[tuple[int, int], Mapping[str, Any]], names: list[str]
) -> Scheduler:
    """The stored scheduler, which decides as is stored; else that all go on."""

    def decide(curves: Curves, configs: Sequence[Any], key: jax.Array) -> list[Next]:
        del configs, key
        population = min(curves.waiting) // (schedule["population"] or len(names))
        told = decisions.get((population, curves.steps[-1]))
        going = going_in(told, names) if told else []
        needed = {arm for one in going for arm in (one.arm, one.copy) if arm is not None}
        return going if told and needed <= set(curves.waiting) else list(map(Next, curves.waiting))

    data = {name: schedule[name] for name in Scheduler._fields if name not in ("decide", "rungs")}
    return Scheduler(**data, rungs=tuple(schedule["rungs"]), decide=decide)


def _is_as_stored(
    one: Decided, decisions: Mapping[tuple[int, int], Mapping[str, Any]], names: Sequence[str]
) -> bool:
    return decisions.get((one.population, one.step)) == as_told(one, names, dict)


class _Stored:
    """The units of one schedule; `train` is what `race` asks for, and `order` those that it gave."""

    def __init__(
        self, place: Folder, about: Mapping[str, Any], finished: dict[str, Trained], looks: bool
    ) -> None:
        self.place, self.order = place, list[str]()
        self.groups = {(one["arm"], one["seed"]): one["group"] for one in about["trials"]}
        self.units, self.told = dict[str, Trained](), dict[str, dict[str, Any]]()
        self.legs: dict[tuple[str | None, str, int, int, State | None], State] = {}
        self.last: dict[tuple[str, int], State] = {}
        paths = (path.parent for path in (place / "units").glob("*/unit.json"))
        # Where a unit was packed anew after its plan was lost, that which has come to its end counts.
        for folder in sorted(paths, key=lambda folder: (folder / "done.json").exists()):
            self._add(folder, finished, looks)

    def _add(self, folder: Folder, finished: dict[str, Trained], looks: bool) -> None:
        name = folder.name
        self.told[name] = told_in(folder)
        unit = finished.get(name) or stored_unit(folder, self.told[name], looks=looks)
        if all(end["status"] != "running" for end in unit.ends):
            finished[name] = unit
        self.units[name], segment = unit, unit.unit.segment
        assert segment
        for member, told in enumerate(self.told[name]["members"]):
            state = segment.states[member] if segment.states else None
            begun = digest(told["config"]), told["seed"], segment.start, state
            self.legs[told["arm"], *begun] = name, member
            self.legs[None, *begun] = name, member

    def train(self, legs: Sequence[Leg], start: int, until: int) -> list[Ran]:
        """What legs came to, as far as it is stored."""
        del until
        found = [self._where(leg, start) for leg in legs]
        units = {
            where[0]: self.groups[leg.trial.arm, leg.trial.seed]
            for leg, where in zip(legs, found, strict=True)
            if where
        }
        self.order += sorted(units, key=lambda name: units[name])
        return [self._ran(leg, where, start) for leg, where in zip(legs, found, strict=True)]

    def _where(self, leg: Leg, start: int) -> State | None:
        """Where a leg is stored; of arms that are the same run from there on, one alone may be trained."""
        begun = digest(leg.trial.config), leg.trial.seed, start, leg.state
        return self.legs.get((leg.trial.arm, *begun)) or self.legs.get((None, *begun))

    def _ran(self, leg: Leg, where: State | None, start: int) -> Ran:
        if where is None:
            return Ran([], {"status": "running", "step": start}, leg.state or NOWHERE)
        name, member = where
        self.last[leg.trial.arm, leg.trial.seed] = where
        rows = [row for row in self.units[name].rows if row["member"] == member]
        end = self.units[name].ends[member]
        step = end.get("step", max((row["step"] for row in rows), default=start))
        return Ran(rows, {**end, "step": step}, where)

    def places(self) -> dict[tuple[str, int], StoredRun]:
        """Where each run's last state is."""
        found = {}
        for run, (name, member) in self.last.items():
            told = self.told[name]
            config, folder = told["members"][member]["config"], self.place / "units" / name
            found[run] = StoredRun(
                self.place.parent.parent, folder, member, config, run[1], told["structure"]
            )
        return found
