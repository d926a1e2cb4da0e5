"""The arms of a result: the final value of a metric for every run, by arm and seed."""

import dataclasses
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
import pandas as pd

from fdl.cells import Identity, identities, listed, named
from fdl.choosing import JUDGES
from fdl.lineage import check_one_config
from fdl.result import Result, check_metric
from fdl.text import counted, some_of

_RUN = ["arm", "seed"]


def final_values(
    result: Result, metric: str, arms: str, *, by: str | None = "seed"
) -> dict[Identity, pd.Series]:
    """The last value of `metric` of each run, for each value of the column `arms`.

    Args:
      result: the runs. Those still running are left out, and the arms that a scheduler stopped.
      metric: the metric's name, as `"test/accuracy"`.
      arms: `"arm"`, or the config field whose values are the arms.
      by: what pairs the runs, as for `compare`.

    Returns:
      By arm, in order of appearance: a series over the seeds in rising order, NaN for runs that
      failed or whose last value is not finite. Where a field pairs the runs, over its values, by the number
      of their appearance, and seeds.

    Raises:
      ValueError: an unknown metric or field, or an arm with several runs of one seed.
    """
    check_metric(result, metric)
    check_one_config(result.frame["arm"].unique(), result.lineages, "a comparison")
    if by in ("arm", arms) or by not in (None, "seed", *result.fields):
        others = [name for name in result.fields if name != arms]
        raise ValueError(f"by={by!r} pairs no runs; expected {', '.join(['seed', *others])} or None")
    if arms not in ("arm", *result.fields):
        raise ValueError(f"no field {arms!r} to compare by; there are: arm, {', '.join(result.fields)}")
    last = result.last()
    final = last[last["status"] != "running"].set_index(_RUN)[metric].astype(np.float64)
    running = result.frame.loc[result.frame["status"] == "running", _RUN]
    started = result.runs()
    started = started[~started["arm"].isin(list(result.stopped))]
    ended = ~pd.MultiIndex.from_frame(started[_RUN]).isin(pd.MultiIndex.from_frame(running))
    values = {}
    for arm, places in _places(started[arms]).items():
        mine = started.iloc[[place for place in places if ended[place]]]
        keys = _keys(mine, result, by)
        if not keys.is_unique:
            raise ValueError(_several_runs(mine, result, (arms, by), label(arms, arm)))
        series = final.reindex(pd.MultiIndex.from_frame(mine[_RUN])).replace([np.inf, -np.inf], np.nan)
        values[arm] = series.set_axis(keys).sort_index()
    return values


def _keys(runs: pd.DataFrame, result: Result, by: str | None) -> pd.Index:
    """What tells the runs of an arm apart: their seeds or, where a field pairs them, also its value, by the
    number of its appearance in the result."""
    if by in (None, "seed"):
        return pd.Index(runs["seed"])
    order = {one: place for place, one in enumerate(_places(result.runs()[by]))}
    blocks = [order[one] for one in identities(runs[by])]
    return pd.MultiIndex.from_arrays([blocks, runs["seed"]], names=[by, "seed"])


def paired(arm: pd.Series, baseline: pd.Series, by: str | None) -> tuple[pd.Series, pd.Series]:
    """The values of two arms, over what pairs them; NaN where a pair is not whole.

    Args:
      arm: the arm's values, as of `final_values`.
      baseline: the baseline's.
      by: likewise. With None, runs are put side by side in the order of their seeds; by a field, each of its
        values has the mean of the seeds that both arms have there.
    """
    if by is None:
        arm, baseline = (one.dropna().reset_index(drop=True) for one in (arm, baseline))
    both = pd.concat([arm, baseline], axis=1, sort=True)
    if by not in (None, "seed"):
        whole = both.where(both.notna().all(axis=1))
        both = whole.groupby(level=0).mean()
    return both.iloc[:, 0], both.iloc[:, 1]


def without_value(
    result: Result, arms: str, values: dict[Identity, pd.Series], *, by: str | None = "seed"
) -> dict[Identity, int]:
    """How many runs of each arm ended without failing and yet have no last value of a metric: nobody knows
    why, so that neither a worst value nor a smaller number of pairs may stand for them."""
    lost = result.frame.loc[result.frame["status"] == "failed", _RUN]
    failed = pd.MultiIndex.from_frame(pd.concat([lost, result.failures.reindex(columns=_RUN)]))
    started = result.runs()
    places, found = _places(started[arms]), dict.fromkeys(values, 0)
    for arm in [arm for arm, series in values.items() if series.isna().any()]:
        mine = started.iloc[places[arm]]
        mine = mine[_keys(mine, result, by).isin(values[arm].index[values[arm].isna()])]
        found[arm] = int((~pd.MultiIndex.from_frame(mine[_RUN]).isin(failed)).sum())
    return found


def same_as(baseline: Identity, result: Result, arms: str, *, by: str | None = "seed") -> set[Identity]:
    """The arms whose every pair with the baseline is of one run that stands for both, `Result.same`;
    arguments as of `final_values`."""
    if not result.same:
        return set()
    keys = trained_runs(result, arms, by=by)
    mine = keys[baseline]
    found = set()
    for arm, theirs in keys.items():
        paired = mine.keys() & theirs.keys()
        whole = by == "seed" or mine.keys() == theirs.keys()  # else the means are of other seeds
        if arm != baseline and paired and whole and all(mine[key] == theirs[key] for key in paired):
            found.add(arm)
    return found


def trained_runs(result: Result, arms: str, *, by: str | None = "seed") -> dict[Identity, dict[Any, str]]:
    """By arm the name of the arm whose runs stand for its own, `Result.same`, over what pairs them; arguments
    as of `final_values`."""
    of, runs, found = result.same, result.runs(), {}
    for arm, places in _places(runs[arms]).items():
        mine = runs.iloc[places]
        trained = [of.get(name, name) for name in mine["arm"]]
        found[arm] = dict(zip(_keys(mine, result, by), trained, strict=True))
    return found


def _places(column: pd.Series) -> dict[Identity, list[int]]:
    """The rows of each value of a column, in order of appearance: a value is looked at once, however many
    arms there are."""
    places: dict[Identity, list[int]] = {}
    for place, value in enumerate(identities(column)):
        places.setdefault(value, []).append(place)
    return places


def label(arms: str, arm: Identity) -> str:
    """An arm's name in words: its own, or as `skip=True` where a field tells the arms apart."""
    return str(arm[1]) if arms == "arm" else f"{arms}={arm[1]}"


def choose_baseline(
    values: Iterable[Identity], arms: str, baseline: Any, stopped: Collection[str] = ()
) -> Identity:
    """The arm that `baseline` names; the first one for `dataclasses.MISSING`; `stopped` are those that a
    scheduler stopped.

    Raises:
      ValueError: fewer than two arms, or none of that value.
    """
    values = list(values)
    if len(values) < 2:
        raise ValueError(
            f"a comparison needs two arms, but {arms!r} has only {listed(values) or 'none'}; "
            f"give another field as arms= or keep more runs{_without(stopped)}"
        )
    if baseline is dataclasses.MISSING:
        return values[0]
    arm = named(baseline, values)
    if arm is None:
        raise ValueError(
            f"no arm {arms}={baseline!r} as baseline; there are: {listed(values)}{_without(stopped)}"
        )
    return arm


def _without(stopped: Collection[str]) -> str:
    return f" (a scheduler stopped {some_of(list(stopped))})" if stopped else ""


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
    if result.lineages:
        return False, (
            f" Not conclusive: a scheduler changed {counted(len(result.lineages), 'other arm')} by the seeds "
            "that judge, where those that stay as they were are partly the luckiest. Train the arms again "
            "from other seeds, without it."
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
    judging = {seed for series in values.values() for seed in series.index.get_level_values(-1)}
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


def _several_runs(runs: pd.DataFrame, result: Result, known: tuple[str | None, ...], name: str) -> str:
    """What is wrong where `runs` has two rows of one seed: what else varies than the columns `known`."""
    varying = [n for n in result.fields if n not in known and len(set(identities(runs[n]))) > 1]
    what = f"they differ in {', '.join(varying)}" if varying else "their configs are the same"
    field = varying[0] if varying else "arm"
    return (
        f"{name} has several runs of one seed ({what}); "
        f"keep one of them, as result.where({field}=...) or result.best({field!r}, by=...)"
    )
