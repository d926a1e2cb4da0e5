"""The table by which anyone can judge a sweep's claims again, without training: what every run came to."""

import csv
import dataclasses
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fdl.cells import column, identity
from fdl.result import Result
from fdl.stats import Verdict

_OWN = ("seed", "step", "status", "best", "failed", "same")
"""The columns after the fields; the last four only where a run has something there. `failed` is the metric by
which a run failed, `same` the arm that was trained for its arm too."""


def judged_table(result: Result, claim: Callable[[Result], Verdict]) -> str:
    """The smallest table, as CSV, from which `claim` says the same of a result: the last evaluation of every
    run and the metrics without which the claim comes out otherwise; if that is not enough, all evaluations.

    Args:
      result: what was measured.
      claim: judges it; pure.

    Raises:
      ValueError: not even all evaluations are enough, as where a claim reads `Result.log`.
    """
    wanted = _told(claim(result))

    def enough(candidate: Result) -> bool:
        try:
            return _told(claim(candidate)) == wanted
        except Exception:  # whatever a claim raises where something is missing
            return False

    needed = [name for name in result.metrics if not enough(_without(result, name))]
    last = dataclasses.replace(result, frame=pd.concat([result.last(), _failed(result)]))
    for rows, metrics in ((last, needed), (result, needed), (result, list(result.metrics))):
        text = table_csv(rows, metrics)
        if enough(read_judged(text)):
            return text
    raise ValueError(
        "the claims cannot be judged by the table of evaluations alone; write criteria that read the columns "
        "of Result.frame, and no log, inspection or scheduler's record"
    )


def table_csv(result: Result, metrics: Sequence[str]) -> str:
    """The rows of a result's `frame` as CSV with some of the metrics, then a row for each run that failed:
    numbers to the last digit, a field's value as JSON, but text as it is where it is no JSON itself."""
    same = result.same
    rows = result.frame.to_dict("records")
    rows += [
        {**row, "status": "failed", "failed": row["metric"]} for row in result.failures.to_dict("records")
    ]
    for row in rows:
        row["same"] = same.get(row["arm"])
    filled = [name for name in _OWN if any(row.get(name) is not None for row in rows)]
    columns = ["arm", *result.fields, *filled, *metrics]
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        fields = [_cell(row[name]) for name in result.fields]
        own = [_empty_or(row.get(name)) for name in (*filled, *metrics)]
        writer.writerow([row["arm"], *fields, *own])
    return written.getvalue()


def read_judged(text: str) -> Result:
    """The result whose table this is, as far as the table holds it.

    Raises:
      ValueError: it is no such table.
    """
    lines = list(csv.reader(io.StringIO(text)))
    if not lines or lines[0][:1] != ["arm"] or "seed" not in lines[0]:
        raise ValueError("this is no table of runs: its first line names no columns arm and seed")
    head, rows = lines[0], lines[1:]
    of = {name: [row[place] for row in rows] for place, name in enumerate(head)}
    fields = tuple(head[1 : head.index("seed")])
    told: dict[str, Any] = {"arm": of["arm"]}
    told |= {name: column([_value(one) for one in of[name]]) for name in fields}
    told |= {name: [int(one) for one in of[name]] for name in ("seed", "step")}
    told["status"] = of["status"]
    if "best" in of:
        told["best"] = [one == "True" for one in of["best"]]
    metrics = [name for name in head if "/" in name and name not in fields]
    told |= {name: [float(one) if one else np.nan for one in of[name]] for name in metrics}
    whole, failed = pd.DataFrame(told), pd.Series(of.get("failed", [""] * len(rows)), dtype=str)
    lost = failed != ""
    failures = whole.loc[lost, ["arm", *fields, "seed", "step"]].assign(metric=failed[lost])
    same = {arm: other for arm, other in zip(of["arm"], of.get("same", ()), strict=False) if other}
    frame, failures = (one.reset_index(drop=True) for one in (whole[~lost], failures))
    return Result(frame, fields, failures, {"same": same} if same else {})


def _told(verdict: Verdict) -> Any:
    """What must come out again."""
    return verdict.status, verdict.sentence, [(one.claim.id, one.verdict.status) for one in verdict.claims]


def _without(result: Result, metric: str) -> Result:
    return dataclasses.replace(result, frame=result.frame.drop(columns=metric))


def _failed(result: Result) -> pd.DataFrame:
    """The last row of each run that failed."""
    rows = result.frame[result.frame["status"] == "failed"]
    return rows.sort_values("step", kind="stable").groupby(["arm", "seed"], sort=False).tail(1)


def _cell(value: Any) -> str:
    value = identity(value)[1]
    if isinstance(value, str):
        try:
            json.loads(value)
        except ValueError:
            return value
    return json.dumps(value)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _empty_or(value: Any) -> str:
    value = identity(value)[1]
    return "" if value is None else value if isinstance(value, str) else repr(value)
