"""One arm against the baseline: the numbers, and what they say about a criterion."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fdl.stats.criterion import ALPHA, Criterion, Status, edge_of
from fdl.stats.inference import TOST_FROM, equivalence_interval, interval, mean_test, sign_flip, spread
from fdl.stats.power import detectable
from fdl.stats.seeds_needed import effect_size_of, seeds_needed_each, wider_than_t

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
      same: whether both arms are the same program with the same inputs, trained once: then the difference is
        0 by construction, and so are the ends of its intervals.
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
    same: bool = False

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


class Contrast(NamedTuple):
    """Two columns of values whose difference is judged.

    Attributes:
      arm: the name of the one.
      baseline: the name of the other.
      values: theirs, over what pairs them; NaN where a run is left out.
      of: the arms whose runs the first are of.
      against: those whose runs the others are of.
      same: whether all pairs are of one run, which stands for both arms.
    """

    arm: str
    baseline: str
    values: tuple[pd.Series, pd.Series]
    of: tuple[Any, ...]
    against: tuple[Any, ...]
    same: bool = False


class _Pairs(NamedTuple):
    """The pairs of one contrast: its mean difference and the differences `[n]`, the means of both arms, and
    how many make no pair."""

    differences: np.ndarray
    means: tuple[float, float]
    mean: float
    dropped: int


def compared(
    contrasts: Sequence[Contrast], criterion: Criterion, *, metric: str, scale: float = 0.0
) -> list[tuple[Comparison, float]]:
    """The numbers of every comparison, `p_holm` and `status` not yet known.

    Those of as many pairs are computed together, each as if it were alone.

    Args:
      contrasts: what is compared.
      criterion: the claim.
      metric: the metric's name.
      scale: as `Comparison.scale`.

    Returns:
      Each comparison, and the two-sided p-value of the criterion's edge: of the true difference
      being just what the criterion asks (`at_least`, or the nearer end of ±`equivalent`).
    """
    pairs = [_pairs_of(one, scale) for one in contrasts]
    sizes: dict[int, list[int]] = {}
    for place, one in enumerate(pairs):
        sizes.setdefault(len(one.differences), []).append(place)
    found: dict[int, tuple[Comparison, float]] = {}
    for places in sizes.values():
        named = [(contrasts[place].arm, contrasts[place].baseline) for place in places]
        each = _of_one_size([pairs[place] for place in places], named, criterion, metric, scale)
        found |= zip(places, each, strict=True)
    return [found[place] for place in range(len(contrasts))]


def _pairs_of(contrast: Contrast, scale: float) -> _Pairs:
    arm, baseline = (one.to_numpy(np.float64) for one in pd.Series.align(*contrast.values))
    whole = ~(np.isnan(arm) | np.isnan(baseline))
    mine, theirs = arm[whole], baseline[whole]
    means = (float(mine.mean()), float(theirs.mean())) if len(mine) else (math.nan, math.nan)
    differences = _without_rounding(mine - theirs, ROUNDING * max(*map(abs, means), scale))
    mean = float(differences.mean()) if len(mine) else math.nan
    return _Pairs(differences, means, mean, len(arm) - len(mine))


def _of_one_size(
    pairs: Sequence[_Pairs],
    named: Sequence[tuple[str, str]],
    criterion: Criterion,
    metric: str,
    scale: float,
) -> list[tuple[Comparison, float]]:
    """`compared` of contrasts that have as many pairs, with the names of their arms and baselines."""
    rows = np.stack([one.differences for one in pairs])
    n, mean = rows.shape[-1], np.array([one.mean for one in pairs])
    sd = spread(rows) if n > 1 else np.full(len(rows), math.nan)
    edges = np.array([edge_of(one.mean, criterion) for one in pairs])
    outer = interval(rows)
    ends = np.stack([*outer, *(outer if n < TOST_FROM else equivalence_interval(rows))], axis=-1)
    p = _p(rows, np.zeros(len(rows)))
    p_edge = _p(rows, edges) if edges.any() else p
    seeds = seeds_needed_each(mean, sd, criterion) if n > 1 else np.full(len(rows), criterion.least)
    smallest = detectable(n, wider=wider_than_t(n, ALPHA)) if n > 1 else math.nan
    return [
        (
            Comparison(
                metric=metric,
                arm=arm,
                baseline=baseline,
                n=n,
                dropped=one.dropped,
                arm_mean=one.means[0],
                baseline_mean=one.means[1],
                difference=one.mean,
                low=float(ends[i, 0]),
                high=float(ends[i, 1]),
                equivalence_low=float(ends[i, 2]),
                equivalence_high=float(ends[i, 3]),
                p=float(p[i]),
                p_holm=float(p[i]),
                effect_size=effect_size_of(one.mean, float(sd[i])),
                smallest_detectable=smallest * float(sd[i]) if sd[i] > 0 else math.nan,
                seeds_needed=int(seeds[i]),
                status="INCONCLUSIVE",
                arms=criterion.arms,
                spread=float(sd[i]),
                scale=scale,
            ),
            float(p_edge[i]),
        )
        for i, (one, (arm, baseline)) in enumerate(zip(pairs, named, strict=True))
    ]


def _without_rounding(differences: np.ndarray, rounding: float) -> np.ndarray:
    """The differences, all alike where they vary by no more than rounding."""
    if len(differences) and np.ptp(differences) <= 2 * rounding:
        return np.full(len(differences), differences.mean())
    return differences


def _p(rows: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Two-sided, of the mean of differences `[rows, n]` being `edges` `[rows]`."""
    flips = sign_flip(rows - edges[:, None])
    if rows.shape[-1] < 2:
        return flips
    never_varies = spread(rows) == 0
    return np.where(never_varies, flips, np.maximum(flips, mean_test(rows, edges)))
