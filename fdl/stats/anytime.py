"""One arm against the baseline by bets, which stay valid whenever the sweep is stopped: see
`fdl.stats.betting`."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fdl.result import Better, Result
from fdl.stats.betting import Bounds, capital, confidence_sequence
from fdl.stats.comparison import ROUNDING, Comparison, Contrast
from fdl.stats.criterion import ALPHA, Criterion, edge_of
from fdl.stats.failures import Counted, Policy, count_failures
from fdl.stats.inference import spread
from fdl.stats.seeds_needed import effect_size_of


def check_anytime(result: Result, anytime: bool, bounds: Bounds | None) -> None:
    """Raises `ValueError` for bounds that are none or not asked for, and for arms whose choice would change
    with every further seed."""
    if bounds is not None and not anytime:
        raise ValueError(f"bounds={bounds!r} are those of a test at any time; give anytime=True too")
    if bounds is not None and not bounds[0] < bounds[1]:
        raise ValueError(
            f"bounds={bounds!r}; expected the least and the most that the metric can be, as (0.0, 1.0)"
        )
    if anytime and result.selection is not None and not result.selection.fixed:
        raise ValueError(
            "anytime=True needs best(..., seeds=4), the seeds that choose: by default they are half of all, "
            "so that the choice changes with further seeds"
        )


def count_failures_anytime(
    values: dict[Any, pd.Series], policy: Policy, better: Better, bounds: Bounds | None
) -> Counted:
    """As `count_failures`, but what a failed run counts as must not depend on runs that come later: it is the
    worse of the bounds. Where these are not known, failed runs are left out here, and `worst` is NaN."""
    counted = count_failures(values, "dropped", better)
    if policy != "worst" or bounds is None or not any(counted.failed.values()):
        return counted
    worst = float(bounds[0] if better == "higher" else bounds[1])
    return counted._replace(values={arm: one.fillna(worst) for arm, one in values.items()}, worst=worst)


def beyond_bounds(series: pd.Series, bounds: Bounds | None) -> bool:
    """Whether a value lies beyond bounds, by more than float32 rounding."""
    if bounds is None:
        return False
    slack = ROUNDING * max(abs(bounds[0]), abs(bounds[1]))
    return bool(((series < bounds[0] - slack) | (series > bounds[1] + slack)).any())


def compared_anytime(
    contrasts: Sequence[Contrast], criterion: Criterion, bounds: Bounds | None, *, metric: str
) -> list[tuple[Comparison, float]]:
    """As `fdl.stats.comparison.compared`, by bets on the pairs in the order of their seeds.

    Args:
      contrasts: what is compared.
      criterion: the claim.
      bounds: of the metric.
      metric: the metric's name.
    """
    return [_bet_on(one, criterion, bounds, metric) for one in contrasts]


def _bet_on(
    contrast: Contrast, criterion: Criterion, bounds: Bounds | None, metric: str
) -> tuple[Comparison, float]:
    """One of them."""
    seeds = pd.concat(contrast.values, axis=1, sort=True)
    pairs = seeds.dropna().to_numpy()
    n = len(pairs)
    means = pairs.mean(axis=0) if n else np.full(2, np.nan)
    differences = pairs[:, 0] - pairs[:, 1]
    mean = float(differences.mean()) if n else math.nan
    deviation = float(spread(differences)) if n > 1 else math.nan
    rounding = ROUNDING * np.maximum.accumulate(np.abs(pairs).max(axis=1, initial=0.0))
    known = None
    if bounds is not None:
        width = (bounds[1] - bounds[0]) * (1 + ROUNDING)
        known = -width, width
    low, high = confidence_sequence(differences, bounds=known, rounding=rounding)
    inner = confidence_sequence(differences, level=1 - 2 * ALPHA, bounds=known, rounding=rounding)
    p, edge = p_anytime(differences, 0.0, known, rounding), edge_of(mean, criterion)
    comparison = Comparison(
        metric=metric,
        arm=contrast.arm,
        baseline=contrast.baseline,
        n=n,
        dropped=len(seeds) - n,
        arm_mean=float(means[0]),
        baseline_mean=float(means[1]),
        difference=mean,
        low=low,
        high=high,
        equivalence_low=inner[0],
        equivalence_high=inner[1],
        p=p,
        p_holm=p,
        effect_size=effect_size_of(mean, deviation),
        smallest_detectable=math.nan,
        seeds_needed=0,
        status="INCONCLUSIVE",
        arms=criterion.arms,
        spread=deviation,
        anytime=True,
        bounds=bounds,
    )
    return comparison, p_anytime(differences, edge, known, rounding)


def p_anytime(
    differences: np.ndarray, edge: float, bounds: Bounds | None, rounding: np.ndarray | float
) -> float:
    """The two-sided p-value of "the mean is `edge`", which holds at any stopping time."""
    if not len(differences):
        return 1.0
    mirrored = None if bounds is None else (-bounds[1], -bounds[0])
    above = capital(differences, edge, bounds=bounds, rounding=rounding)[-1]
    below = capital(-differences, -edge, bounds=mirrored, rounding=rounding)[-1]
    return min(1.0, 2 / float(max(above, below, 2.0)))
