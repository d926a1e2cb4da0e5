"""One arm against the baseline: the numbers, and what they say about a criterion."""

import math
import numbers
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import scipy.stats

from fdl.result import Better, check_better
from fdl.stats.bound import skew_reach, tost_reach, widening
from fdl.stats.inference import TOST_FROM, equivalence_interval, interval, mean_test, sign_flip, spread
from fdl.stats.power import (
    MOST,
    POWER,
    detectable,
    equivalence_power,
    joint_power,
    pairs_needed,
    two_sided_power,
)

Status = Literal["SUPPORTED", "REFUTED", "INCONCLUSIVE"]

ALPHA = 0.05  # the share of wrong conclusions that is allowed
LEAST = 5  # pairs: 2**-4 = 0.0625 is the least two-sided p of 5 sign flips; of 4 it is 0.125
_SIMULATED = 16  # arms of which the joint power is simulated
TIED_LEAST = 59
"""Pairs whose differences are all equal are conclusive from here on: what happens to 5 % of seeds or more
is then among them with 95 % chance."""

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

    @property
    def rounding(self) -> float:
        """The difference that float32 metrics of this size may show by rounding alone."""
        return ROUNDING * max(abs(self.arm_mean), abs(self.baseline_mean))

    @property
    def tied(self) -> bool:
        """Whether all differences are equal, so that nothing shows how far they can vary."""
        return self.n > 1 and math.isnan(self.low)


class Criterion(NamedTuple):
    """What is claimed of the difference between an arm and the baseline.

    Attributes:
      better: the side on which the arm should be.
      at_least: by how much, in the metric's unit, ≥ 0.
      equivalent: instead: the bound on the difference to either side, > 0.
      arms: how many arms it is claimed of.
    """

    better: Better
    at_least: float
    equivalent: float | None
    arms: int

    @property
    def sign(self) -> float:
        """1 where more is better, -1 where less is."""
        return 1.0 if self.better == "higher" else -1.0

    @property
    def exceeds_zero(self) -> bool:
        """Whether any difference on the better side is enough."""
        return self.equivalent is None and self.at_least == 0

    @property
    def least(self) -> int:
        """The fewest pairs that can be conclusive: 5, or as many as let the exact test of one of
        several arms come below 5 % after Holm's correction."""
        if self.arms == 1 or self.equivalent is not None:
            return LEAST
        return max(LEAST, math.floor(math.log2(2 * self.arms / ALPHA)) + 1)


def check_criterion(criterion: Criterion) -> None:
    """Raises `ValueError` if the criterion is out of range or asks for two things at once."""
    better, at_least, equivalent, _ = criterion
    check_better(better)
    for name, bound in (("at_least", at_least), ("equivalent", 1 if equivalent is None else equivalent)):
        if isinstance(bound, bool) or not isinstance(bound, numbers.Real):
            raise ValueError(f"{name} is {bound!r} ({type(bound).__name__}); expected a number")
    if not 0 <= at_least < math.inf:
        raise ValueError(
            f"at_least={at_least} must be a finite number ≥ 0; for less is better, better='lower'"
        )
    if equivalent is not None and not 0 < equivalent < math.inf:
        raise ValueError(
            f"equivalent={equivalent} must be a finite number > 0: the largest difference allowed"
        )
    if equivalent is not None and at_least:
        raise ValueError(f"at_least={at_least} and equivalent={equivalent} are two claims; give one of them")


def compared(
    arm_values: pd.Series,
    baseline_values: pd.Series,
    criterion: Criterion,
    *,
    metric: str,
    arm: str,
    baseline: str,
) -> tuple[Comparison, float]:
    """The numbers of one comparison, `p_holm` and `status` not yet known.

    Args:
      arm_values: final values by seed, NaN where a run is to be left out.
      baseline_values: those of the baseline.
      criterion: the claim.
      metric: the metric's name.
      arm: the arm's name.
      baseline: the baseline's name.

    Returns:
      The comparison, and the two-sided p-value of the criterion's edge: of the true difference
      being just what the criterion asks (`at_least`, or the nearer end of ±`equivalent`).
    """
    seeds = pd.concat([arm_values, baseline_values], axis=1, sort=True)
    pairs = seeds.dropna().to_numpy()
    n = len(pairs)
    means = pairs.mean(axis=0) if n else np.full(2, np.nan)
    differences = _without_rounding(pairs[:, 0] - pairs[:, 1], ROUNDING * float(np.abs(means).max()))
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
        seeds_needed=_seeds_needed(mean, sd, criterion) if n > 1 else criterion.least,
        status="INCONCLUSIVE",
        arms=criterion.arms,
        spread=sd,
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


def edge_of(mean: float, criterion: Criterion) -> float:
    """The difference at which a criterion is just met, of two the nearer to the mean."""
    if criterion.equivalent is not None:
        return math.copysign(criterion.equivalent, mean)
    return criterion.sign * criterion.at_least


def effect_size_of(difference: float, sd: float) -> float:
    """`difference / sd`; 0 for no difference and infinite for one that never varies."""
    if difference == 0 or sd > 0:
        return difference / sd if difference else 0.0
    return math.copysign(math.inf, difference) if sd == 0 else math.nan


def wider_than_t(n: int, alpha: float) -> float:
    """`widening` of the test by which `interval` is made, two-sided at level `alpha`."""
    return widening(n, alpha / 2, float(skew_reach(n, alpha / 2))) if n > 1 else 1.0


def _criticals(n: int, arms: int) -> np.ndarray:
    """`[arms]`: what t of normal differences must exceed to be below ALPHA / 1, ..., ALPHA / arms.
    How much wider than Student's these tests are is nearly linear in the logarithm of the level."""
    levels = ALPHA / np.arange(1, arms + 1)
    wider = np.interp(
        np.log(levels),
        np.log([levels[-1], ALPHA]),
        [wider_than_t(n, float(levels[-1])), wider_than_t(n, ALPHA)],
    )
    return wider * scipy.stats.t.isf(levels / 2, n - 1)


def _seeds_needed(mean: float, sd: float, criterion: Criterion) -> int:
    """See `Comparison`. Beyond 16 arms each is asked for 80 % power at the first of Holm's levels,
    which makes about 80 % for all together: those that share a baseline are mostly decided together
    (from 73 % where 100 seeds are needed to 99 % with 10: docs/statistics.md)."""
    alpha = ALPHA / criterion.arms

    def one_of_them(gap: float) -> int:
        return pairs_needed(
            lambda n: two_sided_power(gap, n, alpha=alpha, wider=wider_than_t(n, alpha)),
            least=criterion.least,
        )

    if sd == 0:
        return MOST if criterion.exceeds_zero and mean == 0 else TIED_LEAST
    if criterion.equivalent is None:
        gap = effect_size_of(criterion.sign * mean - criterion.at_least, sd)
        if gap <= 0 or criterion.arms == 1 or criterion.arms > _SIMULATED:
            return one_of_them(gap)
        arms = criterion.arms
        return pairs_needed(lambda n: joint_power(gap, n, _criticals(n, arms)), least=criterion.least)
    bound = criterion.equivalent
    if abs(mean) > bound:
        return one_of_them(effect_size_of(abs(mean) - bound, sd))
    margins = effect_size_of(bound + mean, sd), effect_size_of(bound - mean, sd)

    def supported(n: int) -> float:
        if n < TOST_FROM:
            return equivalence_power(margins, n, alpha=ALPHA / 2, wider=wider_than_t(n, ALPHA))
        return equivalence_power(margins, n, wider=widening(n, ALPHA, tost_reach(n)))

    return pairs_needed(supported, least=LEAST, target=POWER ** (1 / criterion.arms))
