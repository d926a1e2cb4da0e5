"""The result of a sweep that a scheduler led."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from fdl.lineage import Lineages, courses
from fdl.result import Result
from fdl.sweeps.assembled import Told, assemble, meta_of
from fdl.sweeps.lineages import lineages_of, names_after, told_fields, with_fields
from fdl.sweeps.outlook import lost_by_stopping, saved_by_stopping
from fdl.sweeps.racing import Decided, Race
from fdl.sweeps.schedulers import Scheduler
from fdl.sweeps.space import Sweep, Trial
from fdl.sweeps.units import Trained, Unit


def scheduled_result(
    space: Sweep,
    scheduler: Scheduler,
    race: Race,
    trained: Sequence[Trained],
    *,
    steps: int,
    seconds: float | None,
    program: Mapping[str, Any],
    name: str,
) -> Result:
    """The tidy result of a sweep that a scheduler led, of runs of so many steps and of one program; `name` is
    that of the schedule's folder."""
    names, whole = names_after(race), as_one(space.trials, race, trained)
    called = Sweep(tuple(trial._replace(arm=names[trial.arm]) for trial in space.trials))
    result = assemble(called, [whole], seconds=seconds, program=program)
    lineages = lineages_of(race, told_fields)
    return led(result, lineages, scheduler, race, trained, steps=steps, name=name, ended=True)


def as_one(trials: Sequence[Trial], race: Race, trained: Sequence[Trained]) -> Trained:
    """A sweep's units between rungs as one unit of all its trials."""
    stopped = _stopped(race)
    rows, ends = [], []
    for member, (arm, _, seed) in enumerate(trials):
        rows += [{**row, "member": member} for row in race.rows[arm, seed]]
        end = race.ends[arm, seed]
        ends.append({**end, "status": "stopped"} if arm in stopped and end["status"] != "failed" else end)
    places = {(t.arm, t.seed): member for member, t in enumerate(trials)}
    shown = [
        (places[unit.unit.trials[member].arm, unit.unit.trials[member].seed], look)
        for unit in trained
        for member, look in unit.inspections
    ]
    return Trained(Unit(list(trials), trained[0].unit.plan, ""), rows, ends, {}, [], shown)


def led(
    result: Result,
    lineages: Lineages,
    scheduler: Scheduler,
    race: Race,
    trained: Sequence[Trained],
    *,
    steps: int,
    name: str,
    ended: bool,
) -> Result:
    """A result of `as_one` with what it tells of the scheduler.

    Args:
      result: the result, arms called as by `names_after`.
      lineages: those of the arms that changed.
      scheduler: who led.
      race: how it went.
      trained: the units between rungs.
      steps: of each run.
      name: of the schedule's folder; `""` where nothing is stored.
      ended: whether all came to their end; else what was saved and lost is not known yet.
    """
    names, runs = names_after(race), len(race.rows)
    legs = [
        Told(names[trial.arm], {}, trial.seed, place, member)
        for place, unit in enumerate(trained)
        for member, trial in enumerate(unit.unit.trials)
    ]
    meta, stopped = {**result.meta, **meta_of(legs, trained)}, _stopped(race)
    stopped = {names[arm]: step for arm, step in stopped.items()}
    result = _with_lineages(dataclasses.replace(result, meta=meta, stopped=stopped), lineages)
    left = {names[arm]: one for arm, one in race.left.items()}
    told = {
        "name": name,
        "metric": scheduler.metric,
        "better": scheduler.better,
        "run_on": scheduler.run_on,
        "rungs": [_rung(decided) for decided in race.decided],
        "left": {arm: one._asdict() for arm, one in left.items()},
        "saved": saved_by_stopping(race, trained, runs, steps) if ended else None,
        "lost": lost_by_stopping(result, left, scheduler.metric, scheduler.better) if ended else None,
    }
    return dataclasses.replace(result, meta={**result.meta, "schedule": told})


def _stopped(race: Race) -> dict[str, int]:
    return {arm: left.step for arm, left in race.left.items() if not left.ran_on}


def _rung(decided: Decided) -> dict[str, Any]:
    """A decision as a report tells it."""
    numbers = {"arms": len(decided.arms), "going": len(decided.going), "ran_on": len(decided.ran_on)}
    copied = sum(one.copy is not None for one in decided.going)
    return {"population": decided.population, "step": decided.step, **numbers, "copied": copied}


def _with_lineages(result: Result, lineages: Lineages) -> Result:
    """A result in which what changed is told as it was, and not by the config with which it began."""
    tables = {"frame": result.frame, "failures": result.failures, "log": result.log}
    told = {
        name: with_fields(table, lineages, result.fields)
        for name, table in tables.items()
        if table is not None
    }
    configs = {**result.meta["configs"], **courses(lineages)}
    return dataclasses.replace(result, lineages=lineages, meta={**result.meta, "configs": configs}, **told)
