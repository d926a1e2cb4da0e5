"""Units: trials that are trained together, and the folders that hold them.

A unit's folder holds:

    unit.json          its members, its plan, what they read; written before anything runs
    metrics.jsonl      a line per member and evaluation
    inspections.jsonl  a line for each file in inspections/, see `fdl.train.inspecting`
    checkpoints/       see `fdl.train.checkpoint`
    done.json          how every member ended, what it cost, and which rows there are; written last

Beside the folders is the file of `fdl.sweeps.decided` while the units of one decision are being written.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from fdl.experiment import Experiment
from fdl.inspection import Inspection
from fdl.parallel.distributed import broadcast_from_first, is_first
from fdl.parallel.plan import Plan, plan_from
from fdl.serialization import digest, from_json, to_json
from fdl.storage import Folder
from fdl.sweeps.space import Trial
from fdl.train.folder import check_same, read_sealed
from fdl.train.history import Part
from fdl.train.inspecting import stored_inspections
from fdl.train.resume import ROWS
from fdl.train.rows_file import lacking, read
from fdl.train.run import Build

LOST = "it says which runs its folder holds: move that folder away and repeat, and they are trained again"
"""What to do about a damaged `unit.json`."""

Run = tuple[Any, int]
"""A config and a seed."""


class Segment(NamedTuple):
    """Of which of its members' steps a unit is, where a scheduler decides between them.

    Attributes:
      start: updates done before.
      until: updates done after; a rung, or the end.
      states: for each member the name of the unit from whose last state it goes on, and which of its members
        that was; empty at step 0.
    """

    start: int
    until: int
    states: tuple[tuple[str, int], ...] = ()


class Unit(NamedTuple):
    """Trials that are trained together.

    Attributes:
      trials: the members, in their order.
      plan: how they run; it is stored, so that a resumed run computes the same bits.
      reason: why that plan was chosen.
      seconds: the measured time of one member's step, by which units are ordered; NaN if unknown.
      segment: which of their steps; all if None.
      compile_seconds: what compiling the program took where the plan was decided, if that was in another
        process; of a decision's first unit.
    """

    trials: list[Trial]
    plan: Plan
    reason: str
    seconds: float = math.nan
    segment: Segment | None = None
    compile_seconds: float = 0.0


class Trained(NamedTuple):
    """What a unit came to.

    Attributes:
      unit: what was trained.
      rows: as `fdl.train.outcome.Outcome.rows`.
      ends: as `fdl.train.outcome.Outcome.ends`.
      cost: numbers for the report: devices, which program, train seconds, memory, steps, members a second,
        restarts; of a program's first unit also the seconds of compiling it, wherever that was.
      parts: as `fdl.train.outcome.Outcome.parts`.
      inspections: likewise.
    """

    unit: Unit
    rows: list[dict[str, Any]]
    ends: list[dict[str, Any]]
    cost: dict[str, Any]
    parts: list[Part]
    inspections: Sequence[tuple[int, Inspection]] = ()


class Group(NamedTuple):
    """Trials that share one program, and where each is or will be trained.

    Attributes:
      build: the experiment as a function of the config.
      experiment: the experiment at the first trial's config; what is static is the same for all.
      trials: the trials that are asked for.
      folder: the sweep's folder of units, or `None` to keep all in memory.
      identity: what decides the runs' numbers beside config and seed, part of every fingerprint; empty where
        all is kept in memory.
      fingerprint: of a trial, computed once; where there is an identity.
    """

    build: Build
    experiment: Experiment
    trials: list[Trial]
    folder: Folder | None
    identity: Mapping[str, Any]
    fingerprint: Callable[[Trial], str] | None = None


def stored_units(group: Group) -> list[Unit]:
    """The units in the folder that hold at least one of the group's trials.

    Raises:
      ValueError: one holds runs of the same config and seed on other data, or with other functions in it.
    """
    folder = group.folder
    if not folder:
        return []
    wanted = {_fingerprint(group, trial) for trial in group.trials}
    named = {digest([to_json(trial.config), trial.seed]) for trial in group.trials}
    cls, units = type(group.trials[0].config), []
    for name in broadcast_from_first(lambda: sorted(path.parent.name for path in folder.glob("*/unit.json"))):
        data = broadcast_from_first(
            lambda name=name: read_sealed(folder / name / "unit.json", of=name, fix=LOST)
        )
        same = wanted & {member["fingerprint"] for member in data["members"]}
        if same or named & {digest([member["config"], member["seed"]]) for member in data["members"]}:
            check_same(folder.parent, data.get("structure", {}), group.identity.get("structure", {}))
        if same:
            units.append(unit_from(data, trials_in(data, cls)))
    return units


def trials_in(told: Mapping[str, Any], config: type) -> list[Trial]:
    """The members of which a `unit.json` tells, with configs of a class."""
    return [Trial(one["arm"], from_json(config, one["config"]), one["seed"]) for one in told["members"]]


def unit_from(told: Mapping[str, Any], trials: list[Trial]) -> Unit:
    """The unit of which a `unit.json` tells.

    Args:
      told: what it says.
      trials: its members.
    """
    segment = None
    if among := told.get("segment"):
        segment = Segment(among["start"], among["until"], tuple((unit, i) for unit, i in among["states"]))
    speed, compiling = told.get("seconds") or math.nan, told.get("compile_seconds", 0.0)
    return Unit(trials, plan_from(told["plan"]), told["reason"], speed, segment, compiling)


def read_unit(group: Group, unit: Unit) -> Trained | None:
    """A finished unit as its folder holds it, or `None`.

    Raises:
      ValueError: what it holds is not what it ended with.
    """
    if not group.folder:
        return None
    folder = folder_of(group, unit)
    done, fault = broadcast_from_first(lambda: done_of(folder))
    if fault:
        raise ValueError(f"{fault}; the command that trained it makes it again from what there is")
    if done is None:
        return None
    shown = stored_inspections(folder) if is_first() else []
    return Trained(unit, read(folder / ROWS).rows, done["ends"], done["cost"], done["parts"], shown)


def done_of(folder: Folder) -> tuple[dict[str, Any] | None, str | None]:
    """A finished unit's `done.json`, and what is wrong with it or with the rows that it stands for."""
    try:
        done = read_sealed(folder / "done.json", of=folder.name, fix="with it how its runs ended")
    except ValueError as error:
        return None, str(error)
    return done, lacking(read(folder / ROWS).rows, done["rows"], folder / ROWS) if done else None


def told_of(group: Group, unit: Unit) -> dict[str, Any]:
    """What a unit's `unit.json` says."""
    members = [
        {
            "arm": trial.arm,
            "config": to_json(trial.config),
            "seed": trial.seed,
            "fingerprint": _fingerprint(group, trial),
        }
        for trial in unit.trials
    ]
    return {
        "members": members,
        "plan": unit.plan._asdict(),
        "reason": unit.reason,
        "seconds": None if math.isnan(unit.seconds) else unit.seconds,
        "compile_seconds": unit.compile_seconds,
        "structure": group.identity["structure"],
        "versions": group.identity["program"]["versions"],
        **({"segment": unit.segment._asdict()} if unit.segment else {}),
    }


def folder_of(group: Group, unit: Unit) -> Folder:
    """Where a unit of a group that is kept has its folder."""
    assert group.folder is not None
    runs = [_fingerprint(group, trial) for trial in unit.trials]
    return group.folder / digest([runs, unit.segment] if unit.segment else runs)


def _fingerprint(group: Group, trial: Trial) -> str:
    assert group.fingerprint is not None
    return group.fingerprint(trial)


def finished_of(groups: Sequence[Group]) -> list[Trained]:
    """What the folders of groups hold of units that are finished."""
    return [one for group in groups for unit in stored_units(group) if (one := read_unit(group, unit))]
