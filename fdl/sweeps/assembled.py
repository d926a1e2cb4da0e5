"""The tidy result of trials, from what each unit of them came to."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from fdl.cells import cell, column
from fdl.configs import values
from fdl.inspection import Inspection
from fdl.result import Result
from fdl.sweeps.space import Sweep
from fdl.sweeps.units import Trained
from fdl.train.history import told
from fdl.train.step_log import is_of_log


def assemble(space: Sweep, trained: Sequence[Trained], *, seconds: float | None) -> Result:
    """The tidy result of a sweep's trials, those that were trained in its order."""
    units = {
        (t.config, t.seed): (place, index)
        for place, unit in enumerate(trained)
        for index, t in enumerate(unit.unit.trials)
    }
    # By the unit's place and the member.
    measured: dict[tuple[int, int], list[dict[str, Any]]] = {}
    looks: dict[tuple[int, int], list[Inspection]] = {}
    for place, unit in enumerate(trained):
        for row in unit.rows:
            measured.setdefault((place, row["member"]), []).append(row)
        for member, one in unit.inspections:
            looks.setdefault((place, member), []).append(one)
    rows, log, failures, inspections = [], [], [], []
    for trial in space.trials:
        if (trial.config, trial.seed) not in units:
            continue
        place, index = units[trial.config, trial.seed]
        shown = {name: cell(value) for name, value in values(trial.config).items()}
        run = {"arm": trial.arm, **shown, "seed": trial.seed}
        end = trained[place].ends[index]
        if end["status"] == "failed":
            failures.append({**run, "step": end["step"], "metric": end["metric"]})
        inspections += [one._replace(arm=trial.arm, seed=trial.seed) for one in looks.get((place, index), ())]
        for row in measured.get((place, index), ()):
            metrics = {name: value for name, value in row.items() if "/" in name or name == "best"}
            row_of_run = {**run, "step": row["step"], **metrics, "status": end["status"]}
            (log if is_of_log(row) else rows).append(row_of_run)
    fields = tuple(values(space.trials[0].config))
    columns = ["arm", *fields, "seed", "step"]
    frame = _table(rows, fields, columns=None if rows else [*columns, "status"])
    lost = _table(failures, fields, columns=[*columns, "metric"])
    programs = [{**u.cost, "arms": list(dict.fromkeys(t.arm for t in u.unit.trials))} for u in trained]
    configs = {t.arm: {k: cell(v) for k, v in values(t.config).items()} for t in space.trials}
    history = told((len(unit.unit.trials), unit.parts) for unit in trained)
    meta = {"programs": programs, **history, "configs": configs}
    if best := {u.cost["best"] for u in trained if "best" in u.cost}:
        meta["best"] = ", ".join(sorted(best))
    meta |= {} if seconds is None else {"seconds": seconds}
    logged = _table(log, fields, columns=None) if log else None
    return Result(frame, fields, lost, meta, log=logged, inspections=tuple(inspections))


def _table(rows: list[dict[str, Any]], fields: Sequence[str], *, columns: list[str] | None) -> pd.DataFrame:
    """A table of rows in which the fields' values are what they were."""
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(**{name: column([row[name] for row in rows]) for name in fields})
