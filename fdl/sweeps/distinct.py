"""Which runs of a sweep are trained, and which have the numbers of another: decided once, and stored.

A work directory holds, where there are twins (`fdl.sweeps.twins`):

    twins.json  of each run that was not trained itself its arm, config, seed and what it means, and the
                fingerprint of the run whose numbers it has

A run's own identity stays, so that it is found under it by whatever asks for it, alone or with others. A run
that was trained itself keeps its own numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from fdl.parallel.distributed import broadcast_from_first, is_first
from fdl.parallel.plan import Overrides
from fdl.serialization import digest, from_json, to_json
from fdl.storage import Folder
from fdl.sweeps.population import groups_of, identified
from fdl.sweeps.programs import Reused, work_of
from fdl.sweeps.space import Trial
from fdl.sweeps.twins import run_of, twins_in
from fdl.sweeps.units import LOST, Group, Run, stored_units
from fdl.text import no_effects
from fdl.train.autotune import plans_for
from fdl.train.folder import check_same, read_sealed, write_sealed

_TWINS = "twins.json"
_LOST = "it says which runs have the numbers of others: remove it and repeat, and it is found out again"


class Distinct(NamedTuple):
    """The runs of a sweep, each program with its inputs once.

    Attributes:
      groups: what is trained or stored.
      twins: of every other run the trial whose numbers it has.
    """

    groups: list[Group]
    twins: Mapping[Run, Trial]


class Entry(NamedTuple):
    """A run that has another's numbers, as it is stored.

    Attributes:
      arm: its arm.
      config: its config, as `fdl.serialization.to_json` wrote it.
      seed: its seed.
      of: the fingerprint of the run that was trained.
      trained: that run's arm, config and seed.
      structure: what its static structure means, see `fdl.train.identity.of_structure`.
    """

    arm: str
    config: Mapping[str, Any]
    seed: int
    of: str
    trained: Mapping[str, Any]
    structure: Mapping[str, Any]


def decided(
    groups: Sequence[Group], overrides: Overrides, say: Callable[[str], None], reused: Reused | None = None
) -> Distinct:
    """What of a sweep is to be trained; where it has a folder this is stored, or renewed.

    What is finished stays. For others it is found out on the devices that there are now, as a program may be
    another elsewhere. Where a plan could split a member over several devices, no run counts as another's: a
    program that is split may read what it does not read whole.

    Args:
      groups: of one sweep, checked.
      overrides: what the user decides of how they run.
      say: told of the arms that are not trained.
      reused: what was traced before; takes what is traced now.
    """
    before = recorded(groups, finished=True)
    units = [unit for group in before.groups for unit in stored_units(group)]
    stored = {run_of(trial) for unit in units for trial in unit.trials}
    trials = [trial for group in before.groups for trial in group.trials]
    places = {run_of(trial): place for place, trial in enumerate(trials)}

    def found() -> list[tuple[int, int]]:
        traced = None if reused is None else reused.traced
        pairs = twins_in(before.groups, lambda trial: run_of(trial) in stored, traced)
        return [(places[run], places[run_of(trial)]) for run, trial in pairs.items()]

    new = {run_of(trials[run]): trials[of] for run, of in broadcast_from_first(found)}
    apart = _without(before.groups, new)
    plans = [plan for group in apart for plan in plans_for(work_of(group, group.trials), overrides)]
    if any(plan.group > 1 for plan in (*plans, *(unit.plan for unit in units))):
        new, apart = {}, list(before.groups)
    twins = {**before.twins, **new}
    if groups[0].folder and is_first():
        _store(groups, apart, twins)
    _tell(groups, twins, say)
    return Distinct(apart, twins)


def recorded(groups: Sequence[Group], *, finished: bool = False) -> Distinct:
    """What the folder of a sweep's groups tells of which run has another's numbers.

    Args:
      groups: of one sweep, identified if they have a folder.
      finished: whether only runs that have come to their end count.

    Raises:
      ValueError: the file is damaged, or tells of runs of the same config and seed that mean another thing.
    """
    folder = groups[0].folder
    entries = _entries(broadcast_from_first(lambda: _read(folder.parent))) if folder else {}
    if not entries or folder is None:
        return Distinct(list(groups), {})
    named = {digest([one.config, one.seed]): one for one in entries.values()}
    wanted: dict[Run, Entry] = {}
    for group in groups:
        for trial in group.trials:
            mark = _mark(group, trial)
            if mark in entries:
                wanted[run_of(trial)] = entries[mark]
            elif same := named.get(digest([to_json(trial.config), trial.seed])):
                check_same(folder.parent, same.structure, group.identity["structure"])
    there = broadcast_from_first(lambda: _marks(folder, finished=finished)) if wanted else []
    known = {run_of(trial): trial for group in groups for trial in group.trials}
    cls, marks = type(groups[0].trials[0].config), set(there)
    found = {run: trained_trial(cls, one) for run, one in wanted.items() if one.of in marks}
    own = {run_of(trial) for group in groups for unit in stored_units(group) for trial in unit.trials}
    twins = {run: known.get(run_of(trial), trial) for run, trial in found.items() if run not in own}
    return Distinct(_with(_without(groups, twins), groups[0], twins), twins)


def entries_of(directory: Folder) -> dict[str, Entry]:
    """The runs of a work directory that have the numbers of others, by their fingerprints.

    Raises:
      ValueError: the file is damaged.
    """
    return _entries(_read(directory))


def trained_trial(config: type, entry: Entry) -> Trial:
    """The trial whose numbers a run has, of configs of a class."""
    told = entry.trained
    return Trial(told["arm"], from_json(config, told["config"]), told["seed"])


def _tell(groups: Sequence[Group], twins: Mapping[Run, Trial], say: Callable[[str], None]) -> None:
    arms = {t.arm: twins[run_of(t)].arm for g in groups for t in g.trials if run_of(t) in twins}
    for sentence in no_effects(arms):
        say(f"{sentence}, which is trained for both")


def _marks(folder: Folder, *, finished: bool) -> list[str]:
    """The fingerprints of the runs that units hold."""
    found = []
    for path in folder.glob("*/unit.json"):
        if not finished or (path.parent / "done.json").exists():
            told = read_sealed(path, of=path.parent.name, fix=LOST) or {"members": ()}
            found += [one["fingerprint"] for one in told["members"]]
    return found


def _without(groups: Sequence[Group], twins: Mapping[Run, Trial]) -> list[Group]:
    left = [g._replace(trials=[t for t in g.trials if run_of(t) not in twins]) for g in groups]
    return [group for group in left if group.trials]


def _with(groups: list[Group], like: Group, twins: Mapping[Run, Trial]) -> list[Group]:
    """The groups and, in them or beside them, the trials that have the numbers of twins."""
    there = {run_of(trial) for group in groups for trial in group.trials}
    missing = {run_of(trial): trial for trial in twins.values() if run_of(trial) not in there}
    by_structure = {jax.tree.structure(group.trials[0].config): place for place, group in enumerate(groups)}
    groups, rest = list(groups), []
    for trial in missing.values():
        place = by_structure.get(jax.tree.structure(trial.config))
        if place is None:
            rest.append(trial)
        else:
            groups[place] = groups[place]._replace(trials=[*groups[place].trials, trial])
    new = groups_of(like.build, rest, folder=like.folder)
    return [*groups, *(identified(group, like.identity["program"]) for group in new)]


def _store(groups: Sequence[Group], apart: Sequence[Group], twins: Mapping[Run, Trial]) -> None:
    """Brings the file up to date with the runs of some groups, of which `apart` are trained or stored."""
    assert groups[0].folder is not None
    directory = groups[0].folder.parent
    before = _read(directory)
    runs, structures = dict(before["runs"]), dict(before["structures"])
    marks = {run_of(trial): _mark(group, trial) for group in apart for trial in group.trials}
    for group in groups:
        structure = digest(group.identity["structure"])
        for trial in group.trials:
            mark = _mark(group, trial)
            runs.pop(mark, None)
            if of := twins.get(run_of(trial)):
                more = {"of": marks[run_of(of)], "trained": _told(of), "structure": structure}
                runs[mark] = {**_told(trial), **more}
                structures[structure] = group.identity["structure"]
    used = {one["structure"] for one in runs.values()}
    after = {"runs": runs, "structures": {name: structures[name] for name in structures if name in used}}
    if after["runs"] != before["runs"]:
        write_sealed(directory / _TWINS, after)


def _read(directory: Folder) -> dict[str, Any]:
    return read_sealed(directory / _TWINS, fix=_LOST) or {"runs": {}, "structures": {}}


def _entries(told: Mapping[str, Any]) -> dict[str, Entry]:
    structures = told["structures"]
    return {m: Entry(**{**one, "structure": structures[one["structure"]]}) for m, one in told["runs"].items()}


def _told(trial: Trial) -> dict[str, Any]:
    return {"arm": trial.arm, "config": to_json(trial.config), "seed": trial.seed}


def _mark(group: Group, trial: Trial) -> str:
    assert group.fingerprint is not None
    return group.fingerprint(trial)
