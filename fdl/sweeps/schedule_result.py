"""The result of a sweep that a scheduler led."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from fdl.result import Result
from fdl.sweeps.assembled import Told, assemble, meta_of
from fdl.sweeps.outlook import lost_by_stopping, saved_by_stopping
from fdl.sweeps.racing import Decided, Race
from fdl.sweeps.schedulers import Scheduler
from fdl.sweeps.space import Sweep
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
) -> Result:
    """The tidy result of a sweep that a scheduler led, of runs of so many steps and of one program."""
    stopped = {arm: left.step for arm, left in race.left.items() if not left.ran_on}
    rows, ends = [], []
    for member, (arm, _, seed) in enumerate(space.trials):
        rows += [{**row, "member": member} for row in race.rows[arm, seed]]
        end = race.ends[arm, seed]
        ends.append({**end, "status": "stopped"} if arm in stopped and end["status"] != "failed" else end)
    places = {(t.arm, t.seed): member for member, t in enumerate(space.trials)}
    shown = [
        (places[unit.unit.trials[member].arm, unit.unit.trials[member].seed], look)
        for unit in trained
        for member, look in unit.inspections
    ]
    plan = trained[0].unit.plan
    whole = Trained(Unit(list(space.trials), plan, ""), rows, ends, {}, [], shown)
    result = assemble(space, [whole], seconds=seconds, program=program)
    legs = [
        Told(trial.arm, {}, trial.seed, place, member)
        for place, unit in enumerate(trained)
        for member, trial in enumerate(unit.unit.trials)
    ]
    result = dataclasses.replace(result, meta={**result.meta, **meta_of(legs, trained)}, stopped=stopped)
    told = {
        "metric": scheduler.metric,
        "better": scheduler.better,
        "run_on": scheduler.run_on,
        "rungs": [_rung(decided) for decided in race.decided],
        "left": {arm: left._asdict() for arm, left in race.left.items()},
        "saved": saved_by_stopping(race, trained, len(space.trials), steps),
        "lost": lost_by_stopping(result, race.left, scheduler.metric, scheduler.better),
    }
    return dataclasses.replace(result, meta={**result.meta, "schedule": told})


def _rung(decided: Decided) -> dict[str, Any]:
    """A decision as a report tells it."""
    numbers = {"arms": len(decided.arms), "going": len(decided.going), "ran_on": len(decided.ran_on)}
    return {"population": decided.population, "step": decided.step, **numbers}
