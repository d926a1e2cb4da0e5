"""The arms of a result: the final value of a metric for every run, by arm and seed."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from fdl.cells import Identity, identities, listed, named
from fdl.choosing import JUDGES
from fdl.result import Result, check_metric
from fdl.text import counted

_RUN = ["arm", "seed"]


def final_values(result: Result, metric: str, arms: str) -> dict[Identity, pd.Series]:
    """The last value of `metric` of each run, for each value of the column `arms`.

    Args:
      result: the runs. Those still running are left out, and the arms that a scheduler stopped.
      metric: the metric's name, as `"test/accuracy"`.
      arms: `"arm"`, or the config field whose values are the arms.

    Returns:
      By arm, in order of appearance: a series over the seeds in rising order, NaN for runs that
      failed or whose last value is not finite.

    Raises:
      ValueError: an unknown metric or field, or an arm with several runs of one seed.
    """
    check_metric(result, metric)
    if arms not in ("arm", *result.fields):
        raise ValueError(f"no field {arms!r} to compare by; there are: arm, {', '.join(result.fields)}")
    last = result.last()
    final = last[last["status"] != "running"].set_index(_RUN)[metric].astype(np.float64)
    running = result.frame.loc[result.frame["status"] == "running", _RUN]
    started = result.runs()
    started = started[~started["arm"].isin(list(result.stopped))]
    every = identities(started[arms])
    ended = ~pd.MultiIndex.from_frame(started[_RUN]).isin(pd.MultiIndex.from_frame(running))
    values = {}
    for arm in dict.fromkeys(every):
        mine = started[ended & np.array([one == arm for one in every], dtype=bool)]
        _check_one_run_a_seed(mine, result, arms, arm)
        series = final.reindex(pd.MultiIndex.from_frame(mine[_RUN])).replace([np.inf, -np.inf], np.nan)
        values[arm] = series.set_axis(mine["seed"]).sort_index()
    return values


def without_value(
    result: Result, metric: str, arms: str, values: dict[Identity, pd.Series]
) -> dict[Identity, int]:
    """How many runs of each arm ended without failing and yet have no last value of a metric: nobody knows
    why, so that neither a worst value nor a smaller number of pairs may stand for them."""
    lost = result.frame.loc[result.frame["status"] == "failed", _RUN]
    failed = pd.MultiIndex.from_frame(pd.concat([lost, result.failures.reindex(columns=_RUN)]))
    started = result.runs()
    found = {}
    for arm, series in values.items():
        without = set(series.index[series.isna()])
        mine = started[np.array([one == arm for one in identities(started[arms])], dtype=bool)]
        mine = mine[mine["seed"].isin(without)]
        found[arm] = int((~pd.MultiIndex.from_frame(mine[_RUN]).isin(failed)).sum())
    return found


def label(arms: str, arm: Identity) -> str:
    """An arm's name in words: its own, or as `skip=True` where a field tells the arms apart."""
    return str(arm[1]) if arms == "arm" else f"{arms}={arm[1]}"


def choose_baseline(values: Iterable[Identity], arms: str, baseline: Any) -> Identity:
    """The arm that `baseline` names; the first one for `dataclasses.MISSING`.

    Raises:
      ValueError: fewer than two arms, or none of that value.
    """
    values = list(values)
    if len(values) < 2:
        raise ValueError(
            f"a comparison needs two arms, but {arms!r} has only {listed(values) or 'none'}; "
            "give another field as arms= or keep more runs"
        )
    if baseline is dataclasses.MISSING:
        return values[0]
    arm = named(baseline, values)
    if arm is None:
        raise ValueError(f"no arm {arms}={baseline!r} as baseline; there are: {listed(values)}")
    return arm


def how_chosen(
    result: Result, arms: str, values: dict[Identity, pd.Series], *, compared: bool = True
) -> tuple[bool, str]:
    """Whether `Result.best` chose the arms in a way that lets them be judged, and a sentence about it.

    Seeds that chose an arm may not judge it: of 20 candidates that are all alike the best would be called
    better than a single one in 14 % of experiments (8 pairs, 600 simulations), by other seeds in 2 %.

    Args:
      result: the runs.
      arms: the column whose values are the arms.
      values: by arm, a series over the seeds that judge.
      compared: whether arms are held against each other, and so should be of as many candidates.
    """
    if result.stopped:
        return False, (
            f" Not conclusive: a scheduler stopped {counted(len(result.stopped), 'other arm')} by the seeds "
            "that judge, where those that go on are partly the luckiest. Train the arms again from other "
            "seeds, without it."
        )
    how = result.selection
    if how is None:
        return True, ""
    names = result.runs().drop_duplicates("arm")
    counts = dict.fromkeys(values, 1)
    for arm, name in zip(identities(names[arms]), names["arm"], strict=True):
        counts[arm] = max(counts.get(arm, 1), how.candidates.get(name, 1))
    most, least = max(counts, key=lambda arm: counts[arm]), min(counts, key=lambda arm: counts[arm])
    if counts[most] == 1:
        return True, ""
    what = " and ".join(dict.fromkeys(how.over)) + (" was" if len(set(how.over)) == 1 else " were")
    chosen = f"{what} chosen by {' and '.join(dict.fromkeys(how.by))}"
    judging = {seed for series in values.values() for seed in series.index}
    if both := len(judging & how.seeds):
        return False, (
            f" Not conclusive: {chosen} on {both} of the seeds that judge, where the best is partly the "
            f"luckiest. Let other seeds choose: best() sees to it from {2 * JUDGES - 1} seeds on."
        )
    if compared and counts[most] > counts[least]:
        return False, (
            f" Not conclusive: {chosen} of {counts[most]} candidates for {label(arms, most)} but of "
            f"{counts[least]} for {label(arms, least)}; give each arm as many."
        )
    return True, f" {chosen} on {len(how.seeds)} other seeds, of {counts[most]} candidates for each arm."


def _check_one_run_a_seed(runs: pd.DataFrame, result: Result, arms: str, arm: Identity) -> None:
    """Raises `ValueError`, naming what else varies, if `runs` has two rows of one seed."""
    if runs["seed"].is_unique:
        return
    varying = [n for n in result.fields if n != arms and len(set(identities(runs[n]))) > 1]
    what = f"they differ in {', '.join(varying)}" if varying else "their configs are the same"
    name = varying[0] if varying else "arm"
    raise ValueError(
        f"{label(arms, arm)} has several runs of one seed ({what}); "
        f"keep one of them, as result.where({name}=...) or result.best({name!r}, by=...)"
    )
