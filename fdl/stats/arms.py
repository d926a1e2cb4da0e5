"""The arms of a result: the final value of a metric for every run, by arm and seed."""

from typing import Any

import numpy as np
import pandas as pd

from fdl.result import Result, cell, check_metric

_RUN = ["arm", "seed"]


def final_values(result: Result, metric: str, arms: str) -> dict[Any, pd.Series]:
    """The last value of `metric` of each run, for each value of the column `arms`.

    Args:
      result: the runs. Those still running are left out.
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
    columns = [*_RUN, *result.fields]
    started = pd.concat([result.frame[columns], result.failures[columns]])
    last = result.last()
    final = last[last["status"] != "running"].set_index(_RUN)[metric].astype(np.float64)
    running = result.frame.loc[result.frame["status"] == "running", _RUN]
    runs = started.drop_duplicates(_RUN).set_index(_RUN, drop=False)
    runs = runs.drop(pd.MultiIndex.from_frame(running.drop_duplicates()))
    values = {}
    for arm in started[arms].unique():
        mine = runs[runs[arms].isna() if pd.isna(arm) else runs[arms] == arm]
        _check_one_run_a_seed(mine, result, arms, arm)
        series = final.reindex(mine.index).replace([np.inf, -np.inf], np.nan)
        values[arm] = series.set_axis(mine["seed"]).sort_index()
    return values


def label(arms: str, arm: Any) -> str:
    """An arm's name in words: its own, or as `skip=True` where a field tells the arms apart."""
    return str(arm) if arms == "arm" else f"{arms}={None if pd.isna(arm) else arm}"


def choose_baseline(values: dict[Any, pd.Series], arms: str, baseline: Any) -> Any:
    """The key of `values` that `baseline` names; the first one for None.

    Raises:
      ValueError: fewer than two arms, or none of that value.
    """
    if len(values) < 2:
        raise ValueError(
            f"a comparison needs two arms, but {arms!r} has only {', '.join(map(str, values)) or 'none'}; "
            "give another field as arms= or keep more runs"
        )
    if baseline is None:
        return next(iter(values))
    for arm in values:
        if arm == cell(baseline):
            return arm
    raise ValueError(f"no arm {arms}={baseline!r} as baseline; there are: {', '.join(map(str, values))}")


def _check_one_run_a_seed(runs: pd.DataFrame, result: Result, arms: str, arm: Any) -> None:
    """Raises `ValueError`, naming what else varies, if `runs` has two rows of one seed."""
    if runs["seed"].is_unique:
        return
    varying = [name for name in result.fields if name != arms and runs[name].nunique(dropna=False) > 1]
    what = f"they differ in {', '.join(varying)}" if varying else "their configs are the same"
    name = varying[0] if varying else "arm"
    raise ValueError(
        f"{label(arms, arm)} has several runs of one seed ({what}); "
        f"keep one of them, as result.where({name}=...) or result.best({name!r}, by=...)"
    )
