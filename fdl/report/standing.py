"""How the arms of a sweep that runs stand: how far they are, their ranks, and a curve each."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from fdl import formats
from fdl.report import tables
from fdl.report.layout import MOST
from fdl.report.tables import Column
from fdl.result import Better, Result, check_metric
from fdl.text import counted

WIDTH = 24
"""Characters of a curve."""
_BARS = "▁▂▃▄▅▆▇█"
_LESS_IS_MORE = ("loss", "error", "perplexity", "distance")
"""With what the names of metrics end of which lower ranks first, if the user does not say."""


def standing(
    result: Result, metric: str | None = None, better: Better | None = None
) -> tuple[str, tuple[Column, ...]]:
    """What the table is, and a row per arm, the first ranks first.

    Means are over the runs at their latest evaluations; ranks are of the means at one step: the last to which
    every arm that still runs has come, of the runs that have come so far or have ended before. Failed runs
    have no part, nor arms that a scheduler stopped before that step: these come last, with the step and the
    place where they left.

    Args:
      result: what is measured so far; `status` says which runs still run.
      metric: which; the first that a report shows, if not given.
      better: which way it is better; by its name (a loss or an error is better lower), if not given.

    Raises:
      ValueError: there is no such metric.
    """
    metric = metric or tables.main_metrics(result)[0]
    check_metric(result, metric)
    better = better or ("lower" if metric.lower().endswith(_LESS_IS_MORE) else "higher")
    frame = result.frame[result.frame["status"] != "failed"]
    under_way = frame[frame["arm"].isin(frame.loc[frame["status"] == "running", "arm"])]
    ranked = under_way if len(under_way) else frame
    step = (
        int(ranked.groupby("arm")["step"].max().agg("min" if len(under_way) else "max")) if len(ranked) else 0
    )
    came = frame[~frame["arm"].isin([arm for arm, end in result.stopped.items() if end < step])]
    ranks = _at(came, step).groupby("arm")[metric].mean().rank(method="min", ascending=better == "lower")
    table = dataclasses.replace(result, stopped={}).table()
    left = result.meta.get("schedule", {}).get("left", {})
    order = sorted(table.index, key=lambda row: _order(table.at[row, "arm"], ranks, left))[:MOST]
    shown, arms = table.loc[order], table.loc[order, "arm"].tolist()
    last, scale = frame.groupby("arm")["step"].max(), _scale(frame, metric)
    ended = result.runs().merge(frame.loc[frame["status"] != "running", ["arm", "seed"]].drop_duplicates())
    counts = ended["arm"].value_counts()
    cells: dict[str, Iterable[str]] = {
        "ended": (f"{counts.get(arm, 0)} of {runs}" for arm, runs in zip(arms, shown["runs"], strict=True)),
        "step": (text_of(last.get(arm)) for arm in arms),
        metric: map(formats.estimate, shown[metric], shown[f"{metric} ±"]),
        "rank": (text_of(ranks.get(arm)) for arm in arms),
        **({"left": (_left(left.get(arm)) for arm in arms)} if left else {}),
    }
    lost = ("failed",) if shown["failed"].any() else ()
    columns = [Column("arm", tuple(map(str, arms)), number=False)]
    columns += [Column(name, tuple(map(str, shown[name]))) for name in lost]
    columns += [Column(name, tuple(each)) for name, each in cells.items()]
    curves = {arm: curve(rows, metric, scale) for arm, rows in frame.groupby("arm")}
    columns.append(Column("curve", tuple(curves.get(arm, "") for arm in arms), number=False))
    return _heading(result, metric, better, step, scale), tuple(columns)


def curve(frame: pd.DataFrame, metric: str, scale: tuple[float, float, int]) -> str:
    """The mean of a metric over runs, as a line of bars from step 0 to the last; `scale` is the lowest and
    the highest value, and the last step, of all curves."""
    low, high, last = scale
    means = frame.groupby("step")[metric].mean()
    means = means[np.isfinite(means.astype(float))]
    places = -(-means.index.to_numpy() * WIDTH // max(last, 1))  # 1 to WIDTH
    by_place = dict(zip(places, means.to_numpy(), strict=True))  # the last of a place
    line, value = "", float("nan")
    for place in range(1, int(max(by_place, default=0)) + 1):
        value = by_place.get(place, value)
        line += " " if np.isnan(value) else _BARS[_level(value, low, high)]
    return line


def text_of(value: float | None) -> str:
    """A count, or a dash where there is none."""
    return formats.NONE if value is None or pd.isna(value) else f"{int(value):,}"


def _order(arm: str, ranks: Mapping[str, float], left: Mapping[str, Any]) -> tuple[float, ...]:
    """By rank; then those that left, the last first, by their place then."""
    end = left.get(arm, {"step": math.inf, "rank": None})
    return (ranks.get(arm, math.inf), -end["step"], end["rank"] or math.inf)


def _left(end: Mapping[str, Any] | None) -> str:
    """Where a scheduler told an arm to leave, and at which place of how many."""
    if end is None:
        return formats.NONE
    place = f", place {end['rank']:,} of {end['of']:,}" if end["rank"] else ""
    return f"step {end['step']:,}{place}{', ran on' if end['ran_on'] else ''}"


def _level(value: float, low: float, high: float) -> int:
    return min(len(_BARS) - 1, int((value - low) / (high - low) * len(_BARS))) if high > low else 0


def _at(frame: pd.DataFrame, step: int) -> pd.DataFrame:
    """The evaluation of every run at a step, or its last before that; of running ones that are so far."""
    reached = frame.groupby(["arm", "seed"])["step"].transform("max") >= step
    there = frame[(reached | (frame["status"] != "running")) & (frame["step"] <= step)]
    return there.sort_values("step", kind="stable").groupby(["arm", "seed"], sort=False).tail(1)


def _scale(frame: pd.DataFrame, metric: str) -> tuple[float, float, int]:
    means = frame.groupby(["arm", "step"])[metric].mean().astype(float)
    finite = means[np.isfinite(means)]
    if finite.empty:
        return 0.0, 0.0, 0
    return float(finite.min()), float(finite.max()), int(frame["step"].max())


def _heading(result: Result, metric: str, better: Better, step: int, scale: tuple[float, float, int]) -> str:
    runs = pd.concat([result.frame, result.failures.assign(status="failed")])
    counts: Mapping[str, int] = runs.drop_duplicates(["arm", "seed"])["status"].value_counts().to_dict()
    told = ", ".join(f"{count} {status}" for status, count in counts.items())
    first = "lowest" if better == "lower" else "highest"
    low, high, last = scale
    arms = result.runs()["arm"].nunique()
    more = f"; the first {MOST} of {arms} arms" if arms > MOST else ""
    return (
        f"{counted(sum(counts.values()), 'run')}: {told}. {metric}: mean of the latest evaluations; rank by "
        f"the mean at step {step:,}, {first} first{more}; curves from {formats.number(low, digits=3)} to "
        f"{formats.number(high, digits=3)} over {last:,} steps"
    )
