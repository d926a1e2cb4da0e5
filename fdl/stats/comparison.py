"""One arm against the baseline: the numbers, and what they say about a criterion."""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd

from fdl.stats.criterion import ALPHA, Criterion, Status, edge_of
from fdl.stats.inference import equivalence_interval, interval, mean_test, sign_flip, spread
from fdl.stats.power import detectable
from fdl.stats.seeds_needed import effect_size_of, seeds_needed, wider_than_t

ROUNDING = float(np.finfo(np.float32).eps)
"""Of float32 metrics, relative."""


class Comparison(NamedTuple):
    """One arm against the baseline, paired by seed.

    Attributes:
      metric: what is compared.
      arm: the arm.
      baseline: the arm it is compared with.
      n: pairs, the seeds of which both arms have a value.
      dropped: seeds that make no pair: a run is not there or not finished, or failed where failed
        runs are left out.
      arm_mean: mean over the pairs; a failed run that counts as worst has the value it counts as.
      baseline_mean: mean over the pairs.
      difference: `arm_mean - baseline_mean`.
      low: lower end of the 95 % interval of the mean difference (`interval`). Intervals are each
        comparison's own: they are not widened for the number of arms. NaN where all differences are
        equal, up to float32 rounding of the means.
      high: upper end.
      equivalence_low: lower end of the 90 % interval, whose two ends are two one-sided 5 % tests
        (`equivalence_interval`).
      equivalence_high: upper end.
      p: two-sided p-value of no difference: the larger of those of the paired permutation test
        (`sign_flip`) and of the test that goes with the interval (`mean_test`).
      p_holm: `p` adjusted for the number of arms compared with this baseline (`holm`).
      effect_size: `difference` over the standard deviation of the differences (Cohen's d_z), which
        is not the d of unpaired arms. Infinite where all differences are equal.
      smallest_detectable: the true difference, of normal ones that vary as these do, for which the
        95 % interval of n pairs excludes 0 with 80 % chance. NaN where all differences are equal.
      seeds_needed: seeds in all that decide the criterion, either way, with 80 % chance if the truth
        is what was seen, the differences are normal, and all arms, whose number Holm's correction
        counts, differ as this one does; 1,000,000 means that or more. It is as uncertain as the
        difference seen.
      status: what this comparison alone says of the criterion.
      failed: runs of the arm that failed.
      baseline_failed: runs of the baseline that failed.
      arms: how many arms are compared with this baseline.
      spread: the standard deviation of the differences; NaN below 2 pairs.
      anytime: whether intervals and p hold whenever the sweep is stopped (`compare`). What counts on a
        number of pairs fixed before is then left out: `smallest_detectable` is NaN, `seeds_needed` 0.
      bounds: of the metric, where that test knows them.
      by: what pairs the runs (`compare`); "seeds" above are then values of that field or, with None, runs.
      scale: the size of the metric, where the means are of differences of it and so smaller than it.
    """

    metric: str
    arm: str
    baseline: str
    n: int
    dropped: int
    arm_mean: float
    baseline_mean: float
    difference: float
    low: float
    high: float
    equivalence_low: float
    equivalence_high: float
    p: float
    p_holm: float
    effect_size: float
    smallest_detectable: float
    seeds_needed: int
    status: Status
    failed: int = 0
    baseline_failed: int = 0
    arms: int = 1
    spread: float = math.nan
    anytime: bool = False
    bounds: tuple[float, float] | None = None
    by: str | None = "seed"
    scale: float = 0.0

    @property
    def units(self) -> str:
        """What its pairs are of, as a plural."""
        return {"seed": "seeds", None: "runs of either arm"}.get(self.by, f"values of {self.by}")

    @property
    def rounding(self) -> float:
        """The difference that float32 metrics of this size may show by rounding alone."""
        return ROUNDING * max(abs(self.arm_mean), abs(self.baseline_mean), self.scale)

    @property
    def tied(self) -> bool:
        """Whether all differences are equal, so that nothing shows how far they can vary."""
        return self.n > 1 and math.isnan(self.low)


def compared(
    arm_values: pd.Series,
    baseline_values: pd.Series,
    criterion: Criterion,
    *,
    metric: str,
    arm: str,
    baseline: str,
    scale: float = 0.0,
) -> tuple[Comparison, float]:
    """The numbers of one comparison, `p_holm` and `status` not yet known.

    Args:
      arm_values: final values by seed, NaN where a run is to be left out.
      baseline_values: those of the baseline.
      criterion: the claim.
      metric: the metric's name.
      arm: the arm's name.
      baseline: the baseline's name.
      scale: as `Comparison.scale`.

    Returns:
      The comparison, and the two-sided p-value of the criterion's edge: of the true difference
      being just what the criterion asks (`at_least`, or the nearer end of ±`equivalent`).
    """
    seeds = pd.concat([arm_values, baseline_values], axis=1, sort=True)
    pairs = seeds.dropna().to_numpy()
    n = len(pairs)
    means = pairs.mean(axis=0) if n else np.full(2, np.nan)
    rounding = ROUNDING * max(float(np.abs(means).max()), scale)
    differences = _without_rounding(pairs[:, 0] - pairs[:, 1], rounding)
    mean = float(differences.mean()) if n else math.nan
    sd = float(spread(differences)) if n > 1 else math.nan
    ends = [float(end) for end in (*interval(differences), *equivalence_interval(differences))]
    p, edge = _p(differences, 0.0), edge_of(mean, criterion)
    comparison = Comparison(
        metric=metric,
        arm=arm,
        baseline=baseline,
        n=n,
        dropped=len(seeds) - n,
        arm_mean=float(means[0]),
        baseline_mean=float(means[1]),
        difference=mean,
        low=ends[0],
        high=ends[1],
        equivalence_low=ends[2],
        equivalence_high=ends[3],
        p=p,
        p_holm=p,
        effect_size=effect_size_of(mean, sd),
        smallest_detectable=detectable(n, wider=wider_than_t(n, ALPHA)) * sd if sd > 0 else math.nan,
        seeds_needed=seeds_needed(mean, sd, criterion) if n > 1 else criterion.least,
        status="INCONCLUSIVE",
        arms=criterion.arms,
        spread=sd,
        scale=scale,
    )
    return comparison, p if edge == 0 else _p(differences, edge)


def _without_rounding(differences: np.ndarray, rounding: float) -> np.ndarray:
    """The differences, all alike where they vary by no more than rounding."""
    if len(differences) and np.ptp(differences) <= 2 * rounding:
        return np.full(len(differences), differences.mean())
    return differences


def _p(differences: np.ndarray, edge: float) -> float:
    """Two-sided, of the mean being `edge`."""
    flips = float(sign_flip(differences - edge))
    never_varies = len(differences) > 1 and not spread(differences)
    return flips if never_varies else max(flips, float(mean_test(differences, edge)))
