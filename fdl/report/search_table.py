"""The tables of a search's trials: the best in the report, and the runs of all in `results.parquet`."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from fdl.cells import cell, column
from fdl.configs import values
from fdl.report.tables import Column, column_of
from fdl.result import Result
from fdl.sweeps import Sweep
from fdl.sweeps.populations import trial_of_arm
from fdl.text import counted

SHOWN = 20
"""So many trials of a search are shown, the best."""


def trials(search: Mapping[str, Any]) -> tuple[str, tuple[Column, ...]]:
    """The best trials of a search, `Result.meta["search"]`, or the front: what the table is, its columns."""
    better, every = search["better"], search["trials"]
    lost, [metric, *others] = [t["trial"] for t in every if None in map(t.get, better)], better
    stopped = [number for number in lost if every[number].get("stopped at") is not None]
    sign = -1 if better[metric] == "higher" else 1
    best = sorted(every, key=lambda one: (one["trial"] in lost, sign * (one[metric] or 0.0)))[:SHOWN]
    shown = [every[number] for number in search["front"]] if others else best
    heading = f"The {'front: ' if others else 'best '}{len(shown)} of {counted(len(every), 'trial')} by "
    heading += " and ".join(f"{name}, {side} being better" for name, side in better.items())
    heading += f": means over {counted(len(search['seeds']), 'seed')}. Being the best of many flatters them"
    failed = len(lost) - len(stopped)
    heading += f". {counted(failed, 'trial')} had a run that failed" if failed else ""
    heading += f". {counted(len(stopped), 'trial')} left where the scheduler stopped them" if stopped else ""
    heading += f". {search['refused']:,} more that were asked are not allowed" if search["refused"] else ""
    return heading, tuple(column_of(name, [one[name] for one in shown]) for name in every[0])


def runs_of_trials(result: Result, asked: Sweep | None = None) -> pd.DataFrame:
    """The tidy table of a search's runs: `result.frame` after a column `trial`, the number of the trial that
    asked for the run's config first.

    A run without an evaluation has a row too, with no metrics: one that failed before its first, with the
    step where, and, of what was `asked` last, one that is not that far, as running at step 0.
    """
    fields, columns = result.fields, list(result.frame.columns)
    none = {"best": False} if "best" in columns else {}
    rows = result.frame.to_dict("records")
    there = {(row["arm"], row["seed"]) for row in rows}
    for row in result.failures.to_dict("records"):
        if (row["arm"], row["seed"]) not in there:
            rows.append({**row, **none, "status": "failed"})
            there.add((row["arm"], row["seed"]))
    for trial in asked.trials if asked else ():
        if (trial.arm, trial.seed) not in there:
            shown = {name: cell(value) for name, value in values(trial.config).items()}
            run = {"arm": trial.arm, **shown, "seed": trial.seed}
            rows.append({**run, **none, "step": 0, "status": "running"})
    table = pd.DataFrame(rows, columns=columns).assign(**{n: column([r[n] for r in rows]) for n in fields})
    table.insert(0, "trial", [trial_of_arm(arm) for arm in table["arm"]])
    return table.sort_values(["trial", "seed", "step"], kind="stable", ignore_index=True)
