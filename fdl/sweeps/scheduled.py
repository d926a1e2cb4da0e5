"""A sweep that a scheduler leads: between two rungs those who go on are trained, packed into few programs."""

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from fdl.identity import meaning
from fdl.parallel.plan import Overrides, Plan, plan_from
from fdl.serialization import digest, essence
from fdl.storage import Folder
from fdl.sweeps.executor import PLAN
from fdl.sweeps.packing import beginning, width
from fdl.sweeps.population import shown_as, train_unit
from fdl.sweeps.programs import Reused, chosen, plan_now, program_for, structure_of
from fdl.sweeps.racing import Leg, Race, Ran, race, reached
from fdl.sweeps.schedulers import Scheduler
from fdl.sweeps.space import Sweep
from fdl.sweeps.stored_decisions import FIX, agree
from fdl.sweeps.units import Group, Run, Segment, Trained, Unit, folder_of, read_unit, told_of
from fdl.train.folder import read_sealed, write_sealed
from fdl.train.profiling import Profiler
from fdl.train.progress import Progress, progress_of
from fdl.train.run import Carry, evaluation_steps
from fdl.train.runtime import plans_folder
from fdl.train.saving import Saving

Step = Callable[[int, int], None]
"""`step(done, live)`: steps done of some tasks together, and members still running."""


class Workers(NamedTuple):
    """Those of an executor.

    Attributes:
      at_once: how many units are trained at once.
      give: `give(tasks, step)` gives them tasks, by how many steps each takes; yields each with what it comes
        to.
    """

    at_once: int
    give: Callable[[Mapping[str, int], Step], Iterator[tuple[str, Any]]]


class How(NamedTuple):
    """How units are trained.

    Attributes:
      overrides: what the user decides of plans.
      saving: when to save.
      progress: told of the progress, in steps of all runs.
      profiler: traces some steps of the first unit that is trained.
      inspected: the runs to look at.
      here: who trains, as `fdl.train.history.here` tells it.
      reused: what earlier sweeps of the same experiment found out, and later ones will.
      workers: who trains the units; this process if None.
    """

    overrides: Overrides
    saving: Saving
    progress: Progress
    profiler: Profiler
    inspected: Collection[Run]
    here: Mapping[str, Any]
    reused: Reused
    workers: Workers | None = None


def train_scheduled(
    groups: Sequence[Group],
    space: Sweep,
    scheduler: Scheduler,
    how: How | None,
    *,
    directory: Folder | None,
) -> tuple[Race, list[Trained]]:
    """Trains what a scheduler asks for; what is stored is only read. How it went, and the units.

    Args:
      groups: the trials by static structure, their folder that of this schedule's units.
      space: the trials.
      scheduler: who decides.
      how: how units are trained; None to read only what is stored.
      directory: the sweep's.

    Raises:
      ValueError: a decision that is none, or another than that of the same rung before; what is stored is
        damaged, or, without `how`, not all there.
    """
    units = _Units(groups, how, directory)
    tell = functools.partial(agree, groups, space, (how.progress if how else Progress()).say)
    evaluations = evaluation_steps(groups[0].experiment)
    return race(space.trials, scheduler, evaluations, units.train, tell), units.trained


def schedule_of(scheduler: Scheduler, groups: Sequence[Group], space: Sweep) -> dict[str, Any]:
    """What decides a schedule of groups with identities: JSON-able."""
    runs = {
        trial: group.fingerprint(trial) for group in groups if group.fingerprint for trial in group.trials
    }
    told = told_of_scheduler(scheduler, groups[0].experiment.steps)
    return {"kind": "schedule", **told, "runs": digest([runs[trial] for trial in space.trials])}


def told_of_scheduler(scheduler: Scheduler, steps: int) -> dict[str, Any]:
    """What a scheduler is to runs of so many steps: JSON-able."""
    described = meaning({"decide": scheduler.decide})
    return {
        **{name: value for name, value in scheduler._asdict().items() if name not in ("decide", "rungs")},
        "rungs": reached(scheduler, steps),
        "decide": {"code": described.code, "values": described.values},
    }


def place_of_schedule(directory: Folder, schedule: Mapping[str, Any]) -> Folder:
    """The folder of a schedule in a sweep's."""
    return directory / "schedules" / digest(essence(schedule))


class _Base(NamedTuple):
    """The plan of a group's widest units, why, and over how many workers its runs are spread."""

    plan: Plan
    reason: str
    workers: int


class _Units:
    """The units of one schedule: `train` is what `race` asks for."""

    def __init__(self, groups: Sequence[Group], how: How | None, directory: Folder | None) -> None:
        self.groups, self.how, self.directory = groups, how, directory
        self.bases: dict[int, _Base] = {}
        self.ended: dict[str, Carry | None] = {}  # by unit; None where it is stored
        self.trained: list[Trained] = []
        self.done, self.total = 0, sum(len(group.trials) * group.experiment.steps for group in groups)

    def train(self, legs: Sequence[Leg], start: int, until: int) -> list[Ran]:
        """Trains runs between two rungs, those of one structure packed together."""
        found: dict[int, Ran] = {}
        before, self.ended = self.ended, {}
        parts: list[tuple[int, Unit, list[int]]] = []
        self.total = self.done + len(legs) * (self.groups[0].experiment.steps - start)
        for number, group in enumerate(self.groups):
            kind = structure_of(group)
            mine = [i for i, leg in enumerate(legs) if jax.tree.structure(leg.trial.config) == kind]
            if not mine:
                continue
            base, reason, workers = self._base(number, [legs[i] for i in mine])
            most = min(base.members, -(-len(mine) // workers))
            for first in range(0, len(mine), most):
                part = mine[first : first + most]
                states = tuple(state for i in part if (state := legs[i].state) is not None)
                plan = base._replace(members=width(len(part), base))
                unit = Unit(
                    [legs[i].trial for i in part], plan, reason, segment=Segment(start, until, states)
                )
                parts.append((number, unit, part))
        self._train_elsewhere([(self.groups[number], unit) for number, unit, _ in parts])
        for number, unit, part in parts:
            name, trained = self._unit(number, unit, before)
            rows = _by_member(trained)
            for place, i in enumerate(part):
                found[i] = Ran(rows.get(place, []), trained.ends[place], (name, place))
        return [found[i] for i in range(len(legs))]

    def _base(self, number: int, legs: Sequence[Leg]) -> _Base:
        """How a group is packed; it is stored, so that what resumes packs alike."""
        if number in self.bases:
            return self.bases[number]
        group = self.groups[number]
        path = group.folder and group.folder.parent / f"plan-{number}.json"
        stored = read_sealed(path, fix=FIX) if path else None
        if stored is None:
            (plan, reason), workers = self._decided(group, legs), self._how().workers
            stored = {"plan": plan._asdict(), "reason": reason, "workers": workers.at_once if workers else 1}
            if path:
                write_sealed(path, stored)
        self.bases[number] = _Base(plan_from(stored["plan"]), stored["reason"], stored.get("workers", 1))
        return self.bases[number]

    def _decided(self, group: Group, legs: Sequence[Leg]) -> tuple[Plan, str]:
        """The plan for so many runs of a group, and why."""
        how, trials = self._how(), [leg.trial for leg in legs]
        if how.workers:
            task = f"{PLAN} {self.groups.index(group)} {len(legs)}"
            ((_, choice),) = how.workers.give({task: 0}, lambda *_: None)
            return choice.plan, choice.reason
        told = {"remembered": plans_folder(self.directory), "say": how.progress.say}
        choice = chosen(group, trials, how.overrides, how.reused, **told)
        return choice.plan, choice.reason

    def _train_elsewhere(self, units: Sequence[tuple[Group, Unit]]) -> None:
        """Has workers train those of some units that are not stored, if there are workers."""
        workers, progress, tasks = self.how and self.how.workers, self.how and self.how.progress, {}
        if workers is None or progress is None:
            return
        for group, unit in units:
            if self._stored(group, unit) is None:
                _begin_folder(group, unit)
                assert unit.segment and group.folder
                place = ("schedules", group.folder.parent.name, "units", folder_of(group, unit).name)
                tasks["/".join(place)] = len(unit.trials) * (unit.segment.until - unit.segment.start)
        for _ in workers.give(tasks, lambda done, live: progress.step(self.done + done, self.total, live)):
            pass

    def _unit(self, number: int, unit: Unit, before: Mapping[str, Carry | None]) -> tuple[str, Trained]:
        """A unit, trained if it is not stored, and its name."""
        group = self.groups[number]
        folder = folder_of(group, unit) if group.folder else None
        name = folder.name if folder else str(len(self.trained))
        trained, carry = self._stored(group, unit), None
        if trained is None:
            if folder:
                _begin_folder(group, unit)
            trained, carry = self._new(number, unit, before)
        assert unit.segment
        self.done += len(unit.trials) * (unit.segment.until - unit.segment.start)
        if name not in self.ended:  # two arms that are the same run from here on are trained once
            self.trained.append(trained)
        self.ended[name] = None if folder else carry
        return name, trained

    def _stored(self, group: Group, unit: Unit) -> Trained | None:
        try:
            return read_unit(group, unit)
        except ValueError as fault:
            self._how().progress.say(str(fault))
            return None

    def _new(self, number: int, unit: Unit, before: Mapping[str, Carry | None]) -> tuple[Trained, Carry]:
        how, group = self._how(), self.groups[number]
        plan = plan_now(unit.plan, how.overrides, how.progress.say)
        program = program_for(group, unit.trials, plan, how.reused)
        assert unit.segment
        named = [{"arm": trial.arm, "seed": trial.seed} for trial in unit.trials]
        before_it = self.done - unit.segment.start * len(named)  # a unit tells its members' steps from 0 on
        progress = progress_of(how.progress, named, before=before_it, total=self.total)
        runs = {(t.arm, t.seed) for t in group.trials if t[1:] in how.inspected}
        looked_at = {i: shown_as(t) for i, t in enumerate(unit.trials) if (t.arm, t.seed) in runs}
        return train_unit(
            group,
            unit,
            program,
            looked_at,
            how.saving,
            progress,
            how.profiler,
            how.here,
            begin=functools.partial(beginning, group, unit, program, before),
            reused=how.reused,
        )

    def _how(self) -> How:
        """How to train.

        Raises:
          ValueError: nothing is to be trained.
        """
        if self.how is None:
            raise ValueError("the sweep's scheduler has not come to its end; run `fdl sweep` first")
        return self.how


def _begin_folder(group: Group, unit: Unit) -> None:
    """Writes what a unit is, if it is not written."""
    folder = folder_of(group, unit)
    if not (folder / "unit.json").exists():
        write_sealed(folder / "unit.json", told_of(group, unit), of=folder.name)


def _by_member(trained: Trained) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for row in trained.rows:
        found.setdefault(row["member"], []).append(row)
    return found
