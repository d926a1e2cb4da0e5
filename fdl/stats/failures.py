"""What failed runs count as in a comparison."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from fdl.result import Better

Policy = Literal["worst", "dropped"] | float


class Counted(NamedTuple):
    """Final values with what failed runs count as.

    Attributes:
      values: by arm, a series over the seeds; NaN where a run is left out.
      failed: by arm, how many runs failed.
      runs: by arm, how many runs ended.
      worst: what a failed run counts as; NaN if it is left out or none failed.
    """

    values: dict[Any, pd.Series]
    failed: dict[Any, int]
    runs: dict[Any, int]
    worst: float


def check_failures(policy: Policy) -> None:
    """Raises `ValueError` unless `policy` is one."""
    if isinstance(policy, str):
        known = policy in ("worst", "dropped")
    else:
        known = not isinstance(policy, bool) and 0 <= policy < 1
    if not known:
        raise ValueError(
            f"failures={policy!r} must be 'worst', 'dropped', or the share of failed runs, ≥ 0 and < 1, "
            "above which nothing is concluded"
        )


def too_many(counted: Counted, arm: Any, policy: Policy) -> bool:
    """Whether more than the share of runs that `policy` allows, if it is one, failed."""
    return not isinstance(policy, str) and counted.failed[arm] > policy * counted.runs[arm]


def count_failures(values: Mapping[Any, pd.Series], policy: Policy, better: Better) -> Counted:
    """Gives failed runs the value they count as.

    A failed run has no value, and no number is certainly bad enough: a metric may be unbounded. Under
    `"worst"` it counts as a value that lies as far beyond the worst of all final values compared as
    that lies from the best. So a pair lost by a failed run is lost by no less than the most by which
    any pair is won, and an arm of which half the runs fail has no better mean than a baseline of
    which none does. A seed of which both runs failed is a tie. It is the same for the baseline, whose
    failures are losses to an arm that survives.

    Args:
      values: final values by arm, each over its seeds; NaN where a run failed.
      policy: `"worst"`; else failed runs are left out.
      better: the better side of the metric.
    """
    failed = {arm: int(series.isna().sum()) for arm, series in values.items()}
    runs = {arm: len(series) for arm, series in values.items()}
    seen = np.concatenate([series.dropna().to_numpy() for series in values.values()])
    if policy != "worst" or not any(failed.values()) or not len(seen):
        return Counted(dict(values), failed, runs, np.nan)
    spread = float(np.ptp(seen)) or float(abs(seen[0])) or 1.0
    worst = float(seen.min()) - spread if better == "higher" else float(seen.max()) + spread
    return Counted({arm: series.fillna(worst) for arm, series in values.items()}, failed, runs, worst)
