"""Planted falsehoods: a result whose arms are made equal, are drawn anew, or stand the other way round."""

import dataclasses
from collections.abc import Iterable

import numpy as np
import pandas as pd

import fdl


def equal(result: fdl.Result) -> fdl.Result:
    """Every arm has, at each seed and step, the mean of all arms: no effect, and nothing that varies."""
    return _with(result, result.metrics, lambda values: np.full(len(values), np.nanmean(values)))


def mirrored(result: fdl.Result, metrics: Iterable[str]) -> fdl.Result:
    """Every difference between arms at a seed and a step has the other sign; metrics stay in their range."""
    return _with(result, metrics, lambda values: np.nanmax(values) + np.nanmin(values) - values)


def permuted(result: fdl.Result, random: np.random.Generator) -> fdl.Result:
    """The arms, at each seed, change places by chance: no effect, and what varies varies as it did."""
    whole = result.runs()
    runs, taken = whole.drop_duplicates("arm").set_index("arm"), {}
    for seed, there in whole.groupby("seed")["arm"]:
        drawn = random.permutation(there.to_numpy())
        taken |= {(arm, seed): other for arm, other in zip(there, drawn, strict=True)}

    def moved(table: pd.DataFrame) -> pd.DataFrame:
        arms = [taken[one] for one in zip(table["arm"], table["seed"], strict=True)]
        fields = {name: runs.loc[arms, name].to_numpy() for name in result.fields}
        return table.assign(arm=arms, **{n: pd.Series(v, table.index) for n, v in fields.items()})

    return dataclasses.replace(result, frame=moved(result.frame), failures=moved(result.failures))


def _with(result, metrics, change) -> fdl.Result:
    groups = result.frame.groupby(["seed", "step"], sort=False)
    changed = {
        name: groups[name].transform(lambda one: change(one.to_numpy(float)) if one.notna().any() else one)
        for name in metrics
    }
    return dataclasses.replace(result, frame=result.frame.assign(**changed))
