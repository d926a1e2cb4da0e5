"""One arm against the baseline: the numbers, and what they say about a criterion."""

import math
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from fdl.result import Better, check_better
from fdl.stats.inference import interval, sign_flip, spread
from fdl.stats.power import detectable, equivalence_power, pairs_needed, two_sided_power

Status = Literal["SUPPORTED", "REFUTED", "INCONCLUSIVE"]

ALPHA = 0.05
LEAST = 5


class Comparison(NamedTuple):
    """One arm against the baseline, paired by seed.

    Attributes:
      metric: what is compared.
      arm: the arm.
      baseline: the arm it is compared with.
      n: pairs, the seeds that both arms finished.
      dropped: seeds that make no pair: one of the runs failed, is not there or not finished.
      arm_mean: mean over the pairs.
      baseline_mean: mean over the pairs.
      difference: `arm_mean - baseline_mean`.
      low: lower end of the 95 % interval of the mean difference (`interval`). Intervals are each
        comparison's own: they are not widened for the number of arms.
      high: upper end.
      equivalence_low: lower end of the 90 % interval, whose two ends are two one-sided 5 % tests.
      equivalence_high: upper end.
      p: two-sided paired permutation test of no difference (`sign_flip`).
      p_holm: `p` adjusted for the number of arms compared with this baseline (`holm`).
      effect_size: `difference` over the standard deviation of the differences (Cohen's d_z), which
        is not the d of unpaired arms. Infinite where all differences are equal.
      smallest_detectable: the difference that n pairs which vary as these do would show with 80 %
        power in a two-sided 5 % paired t-test.
      seeds_needed: seeds in all that decide the criterion, either way, with 80 % power (of t-tests
        without Holm's correction) if the truth is what was seen; 1,000,000 means that or more. It
        is as uncertain as the difference seen.
      status: what this comparison alone says of the criterion.
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


def measure(
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
      arm_values: final values by seed, NaN where a run failed.
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
    differences, n = pairs[:, 0] - pairs[:, 1], len(pairs)
    means = pairs.mean(axis=0) if n else np.full(2, np.nan)
    mean = float(differences.mean()) if n else math.nan
    sd = float(spread(differences)) if n > 1 else math.nan
    ends = [float(end) for level in (1 - ALPHA, 1 - 2 * ALPHA) for end in interval(differences, level=level)]
    p, edge = float(sign_flip(differences)), _edge(mean, criterion)
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
        effect_size=_standardise(mean, sd),
        smallest_detectable=detectable(n) * sd,
        seeds_needed=_seeds_needed(mean, sd, criterion) if n > 1 else criterion.least,
        status="INCONCLUSIVE",
    )
    return comparison, p if edge == 0 else float(sign_flip(differences - edge))


def _edge(mean: float, criterion: Criterion) -> float:
    if criterion.equivalent is not None:
        return math.copysign(criterion.equivalent, mean)
    return criterion.sign * criterion.at_least


def _standardise(difference: float, sd: float) -> float:
    """`difference / sd`; 0 for no difference and infinite for one that never varies."""
    if difference == 0 or sd > 0:
        return difference / sd if difference else 0.0
    return math.copysign(math.inf, difference) if sd == 0 else math.nan


def _seeds_needed(mean: float, sd: float, criterion: Criterion) -> int:
    towards = criterion.sign * mean
    if criterion.equivalent is not None:
        bound = criterion.equivalent
        if abs(mean) <= bound:
            margins = _standardise(bound + mean, sd), _standardise(bound - mean, sd)
            return pairs_needed(lambda n: equivalence_power(margins, n), least=criterion.least)
        beyond = _standardise(abs(mean) - bound, sd)
        return pairs_needed(lambda n: two_sided_power(beyond, n), least=criterion.least)
    effect, past = _standardise(towards, sd), _standardise(towards - criterion.at_least, sd)
    if past < 0:
        return pairs_needed(lambda n: two_sided_power(past, n), least=criterion.least)

    def supported(n: int) -> float:
        """The smaller chance of two nested ones: a mean clear of 0, a mean of at least `at_least`."""
        reaches = 0.5 * math.erfc(-past * math.sqrt(n / 2))
        return min(two_sided_power(effect, n), reaches)

    return pairs_needed(supported, least=criterion.least)
