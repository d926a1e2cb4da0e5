"""The tidy result of trials, from what each unit of them came to."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd

from fdl.cells import cell, column
from fdl.configs import values
from fdl.inspection import Inspection
from fdl.result import Result
from fdl.serialization import digest, essence
from fdl.sweeps.space import Sweep, Trial
from fdl.sweeps.units import Run, Trained
from fdl.train.history import told
from fdl.train.identity import computed
from fdl.train.step_log import is_of_log


class Told(NamedTuple):
    """A run as a result tells it.

    Attributes:
      arm: the arm's name.
      fields: its config's values by field, as `fdl.cells.cell` holds them.
      seed: its seed.
      place: the number of the unit that trained it.
      member: which of the unit's members it is.
      of: the arm that was trained where this run was not, as it is the same program with the same inputs.
    """

    arm: str
    fields: Mapping[str, Any]
    seed: int
    place: int
    member: int
    of: str = ""


def assemble(
    space: Sweep,
    trained: Sequence[Trained],
    *,
    seconds: float | None,
    program: Mapping[str, Any] | None = None,
    twins: Mapping[Run, Trial] = MappingProxyType({}),
) -> Result:
    """The tidy result of a sweep's trials, those that were trained in its order.

    Args:
      space: the sweep.
      trained: its units.
      seconds: how long it took, if that is to be told.
      program: what its experiment means, as `fdl.train.identity.of_program` gives it, by which
        `Result.__add__` tells it from another; None where nothing is joined.
      twins: the trial whose numbers a run has that was not trained, as of `fdl.sweeps.distinct.Distinct`.
    """
    units = {
        (t.config, t.seed): (place, index)
        for place, unit in enumerate(trained)
        for index, t in enumerate(unit.unit.trials)
    }
    shown = {t.config: {k: cell(v) for k, v in values(t.config).items()} for t in space.trials}
    owners = ((t, twins.get((t.config, t.seed))) for t in space.trials)
    runs = [
        Told(t.arm, shown[t.config], t.seed, *units[one.config, one.seed], of.arm if of else "")
        for t, of in owners
        if ((one := of or t).config, one.seed) in units
    ]
    result = tabulated(runs, trained, tuple(values(space.trials[0].config)))
    configs = {t.arm: shown[t.config] for t in space.trials}
    more: dict[str, Any] = {"configs": configs} | ({} if seconds is None else {"seconds": seconds})
    if program is not None:
        more["identities"] = dict.fromkeys(configs, digest(essence(computed(program))))
    return dataclasses.replace(result, meta={**result.meta, **more})


def tabulated(runs: Sequence[Told], trained: Sequence[Trained], fields: Sequence[str]) -> Result:
    """The tidy result of runs, in their order.

    Args:
      runs: what to tell.
      trained: the units that trained them; of those still running, members have the status `"running"`.
      fields: the names of the config's fields.
    """
    # By the unit's place and the member.
    measured: dict[tuple[int, int], list[dict[str, Any]]] = {}
    looks: dict[tuple[int, int], list[Inspection]] = {}
    for place, unit in enumerate(trained):
        for row in unit.rows:
            measured.setdefault((place, row["member"]), []).append(row)
        for member, one in unit.inspections:
            looks.setdefault((place, member), []).append(one)
    rows, log, failures, inspections = [], [], [], []
    for arm, shown, seed, place, index, _ in runs:
        run = {"arm": arm, **shown, "seed": seed}
        end = trained[place].ends[index]
        if end["status"] == "failed":
            failures.append({**run, "step": end["step"], "metric": end["metric"]})
        inspections += [one._replace(arm=arm, seed=seed) for one in looks.get((place, index), ())]
        for row in measured.get((place, index), ()):
            metrics = {name: value for name, value in row.items() if "/" in name or name == "best"}
            row_of_run = {**run, "step": row["step"], **metrics, "status": end["status"]}
            (log if is_of_log(row) else rows).append(row_of_run)
    columns = ["arm", *fields, "seed", "step"]
    frame = _table(rows, fields, columns=None if rows else [*columns, "status"])
    lost = _table(failures, fields, columns=[*columns, "metric"])
    logged = _table(log, fields, columns=None) if log else None
    return Result(
        frame, tuple(fields), lost, meta_of(runs, trained), log=logged, inspections=tuple(inspections)
    )


def meta_of(runs: Sequence[Told], trained: Sequence[Trained]) -> dict[str, Any]:
    """What a report tells of the units: of each the arms, and how many runs of each, and how many failed; and
    by name the arms that are the same as another, whose runs count once."""
    counts = [(Counter[str](), Counter[str]()) for _ in trained]
    for run in _trained_once(runs):
        there, failed = counts[run.place]
        there[run.arm] += 1
        failed[run.arm] += trained[run.place].ends[run.member]["status"] == "failed"
    programs = [
        {**unit.cost, "arms": [*there], "runs": [*there.values()], "failed": [failed[arm] for arm in there]}
        for unit, (there, failed) in zip(trained, counts, strict=True)
        if there
    ]
    meta = {"programs": programs, **told((len(unit.unit.trials), unit.parts) for unit in trained)}
    if same := _same_arms(runs):
        meta["same"] = same
    if best := {u.cost["best"] for u in trained if "best" in u.cost}:
        meta["best"] = ", ".join(sorted(best))
    return meta


def _trained_once(runs: Sequence[Told]) -> list[Told]:
    """Each run that was trained: itself or, where it is not among them, the first that has its numbers."""
    first: dict[tuple[int, int], Told] = {}
    for run in sorted(runs, key=lambda run: bool(run.of)):
        first.setdefault((run.place, run.member), run)
    return list(first.values())


def _same_arms(runs: Sequence[Told]) -> dict[str, str]:
    """The arms all of whose runs have the numbers of one other arm, by name."""
    of: dict[str, set[str]] = {}
    for run in runs:
        of.setdefault(run.arm, set()).add(run.of)
    return {arm: trained.pop() for arm, trained in of.items() if len(trained) == 1 and "" not in trained}


def _table(rows: list[dict[str, Any]], fields: Sequence[str], *, columns: list[str] | None) -> pd.DataFrame:
    """A table of rows in which the fields' values are what they were."""
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(**{name: column([row[name] for row in rows]) for name in fields})
