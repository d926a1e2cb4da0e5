"""Results: one tidy table, a row for every run and evaluation."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
import scipy.stats

Better = Literal["higher", "lower"]


@dataclasses.dataclass(frozen=True)
class Result:
    """What runs measured.

    Attributes:
      frame: a row per run and evaluation. Columns: `arm` (its name), the config's fields, `seed`,
        `step` (updates done), metrics as `train/loss` or `test/accuracy`, and `status` of the run:
        `"finished"`, `"stopped"` (early), `"failed"` (a required metric was not finite), or `"running"`; and
        `best`, whether this state is its run's result so far, where that may be another than the last.
      fields: the names of the columns that are config fields.
      failures: a row per failed run: `arm`, the fields, `seed`, `step`, `metric`.
      meta: what else a report tells: question, plan, cost, versions, config, source.
    """

    frame: pd.DataFrame
    fields: tuple[str, ...]
    failures: pd.DataFrame
    meta: Mapping[str, Any]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metric columns, as `test/accuracy`."""
        return tuple(name for name in self.frame.columns if "/" in name)

    def where(self, **fields: Any) -> "Result":
        """The runs whose columns have these values; a tuple of values in a list means any of them.

        Raises:
          ValueError: an unknown column, or no run left.
        """
        kept = {"frame": self.frame, "failures": self.failures}
        for name, value in fields.items():
            if name not in (*self.fields, "arm", "seed", "status"):
                raise ValueError(f"no column {name!r}; there are: arm, seed, {', '.join(self.fields)}")
            wanted = [cell(item) for item in (value if isinstance(value, list) else [value])]
            kept = {k: f[f[name].isin(wanted)] if name in f else f for k, f in kept.items()}
            if kept["frame"].empty and kept["failures"].empty:
                there = sorted(map(str, self.frame[name].unique()))
                raise ValueError(f"no run has {name}={value!r}; there are: {', '.join(there)}")
        return dataclasses.replace(self, **kept)

    def last(self) -> pd.DataFrame:
        """The evaluation that is each run's result, a row per run that did not fail: its last one, or that of
        its best state where the experiment keeps that (the column `best`)."""
        alive = self.frame[self.frame["status"] != "failed"]
        if "best" in alive:
            alive = alive[alive["best"].astype(bool)]
        return alive.sort_values("step", kind="stable").groupby(["arm", "seed"], sort=False).tail(1)

    def best(self, over: str, *, by: str, better: Better = "higher") -> "Result":
        """Keeps, for each setting of the other fields, the value of `over` that is best on average.

        Args:
          over: the field to choose, as `"lr"`. A value with a failed run is never chosen while
            another has none.
          by: the metric to choose by, on validation: as `"validation/accuracy"`.
          better: whether `"higher"` or `"lower"` is better.

        Raises:
          ValueError: an unknown field or metric.
        """
        check_metric(self, by)
        if over not in self.fields:
            raise ValueError(f"no field {over!r}; there are: {', '.join(self.fields)}")
        others = [name for name in self.fields if name != over]
        failed = self.failures.groupby([*others, over], dropna=False).size()
        chosen = []
        for setting, runs in self.last().groupby(others or (lambda _: 0), dropna=False, sort=False):
            means = runs.groupby(over)[by].mean()
            sign = 1.0 if better == "higher" else -1.0
            lost = [bool(failed.get((*_tuple(setting, others), value), 0)) for value in means.index]
            order = np.lexsort((-sign * means.to_numpy(), np.asarray(lost)))
            chosen.append(runs[runs[over] == means.index[order[0]]])
        arms = pd.concat(chosen)["arm"].unique()
        return dataclasses.replace(
            self,
            frame=self.frame[self.frame["arm"].isin(arms)],
            failures=self.failures[self.failures["arm"].isin(arms)],
        )

    def table(self) -> pd.DataFrame:
        """A row per arm: its fields that vary, runs, failures, and for each metric of the last
        evaluation the mean and the half-width of its 95 % t-interval over seeds (`<metric> ±`)."""
        varying = [name for name in self.fields if self.frame[name].nunique(dropna=False) > 1]
        rows = []
        failed = self.failures["arm"].value_counts()
        arms = dict.fromkeys([*self.frame["arm"], *self.failures["arm"]])
        last = self.last()
        every = pd.concat([self.frame, self.failures])
        for arm in arms:
            runs = last[last["arm"] == arm]
            row = {"arm": arm, **every[every["arm"] == arm].iloc[0][varying].to_dict()}
            row |= {"runs": len(runs), "failed": int(failed.get(arm, 0))}
            for metric in self.metrics:
                row[metric], row[f"{metric} ±"] = mean_and_margin(runs[metric].to_numpy(float))
            rows.append(row)
        return pd.DataFrame(rows)


def cell(value: Any) -> Any:
    """A config value as a table shows it: functions by their short name, tuples as text."""
    if isinstance(value, tuple):
        return str(tuple(cell(item) for item in value))
    if callable(value):
        return getattr(value, "__name__", repr(value))
    return value


def check_metric(result: Result, metric: str) -> None:
    """Raises `ValueError`, naming those that exist, if the result has no such metric."""
    if metric not in result.metrics:
        raise ValueError(f"no metric {metric!r}; there are: {', '.join(result.metrics)}")


def mean_and_margin(values: np.ndarray) -> tuple[float, float]:
    """The mean of `values` `[n]` and the half-width of its 95 % t-interval (NaN below two)."""
    values = values[~np.isnan(values)]
    if values.size < 2:
        return (float(values.mean()) if values.size else float("nan")), float("nan")
    margin = scipy.stats.t.ppf(0.975, values.size - 1) * values.std(ddof=1) / np.sqrt(values.size)
    return float(values.mean()), float(margin)


def _tuple(setting: Any, names: list[str]) -> tuple[Any, ...]:
    return () if not names else tuple(setting) if isinstance(setting, tuple) else (setting,)
