"""Intervals of what is measured on the rows of one split: they tell of other rows, not of other seeds."""

from collections.abc import Callable, Sequence

import numpy as np
import scipy.optimize
import scipy.stats

from fdl.stats.rates import exact_interval

RESAMPLES = 1000
Ends = tuple[float, float]


def ranges_interval(families: Sequence[Sequence[tuple[int, int]]], *, alpha: float = 0.05) -> Ends:
    """The interval of the largest, over families of rates, of a family's largest difference between two.

    By the exact interval of each rate, Bonferroni over all of them: it also holds where there is no
    difference, of which a bootstrap always finds some.

    Args:
      families: of each rate successes and trials, at least one.
      alpha: in how many cases it may miss.
    """
    each = alpha / sum(map(len, families))
    ends = [[exact_interval(*rate, each) for rate in family] for family in families]
    low = max(max(one[0] for one in family) - min(one[1] for one in family) for family in ends)
    return max(0.0, low), max(
        max(one[1] for one in family) - min(one[0] for one in family) for family in ends
    )


def calibration_interval(
    confidence: np.ndarray, right: np.ndarray, place: np.ndarray, *, alpha: float = 0.05, seed: int = 0
) -> Ends:
    """The interval of an expected calibration error, given the rows' confidences and bins.

    That error is off by at most the mean of what each bin's accuracy is off by, of which the 1 - `alpha`
    quantile is drawn: binomials with two successes and two failures more than there are (Agresti and Coull
    1998), so that a bin without an error is not taken for certain. It holds where nothing is wrong with the
    probabilities too, which the bootstrap of the error does not; it is wider than need be.

    Args:
      confidence: of each row, `[N]`.
      right: 1 where it is right, else 0, `[N]`.
      place: its bin, `[N]`.
      alpha: in how many cases it may miss.
      seed: of the draws.
    """
    rows, hits = np.bincount(place), np.bincount(place, right)
    value = np.abs(np.bincount(place, confidence) - hits).sum() / len(place)
    true = (hits + 2) / (rows + 4)
    drawn = np.random.default_rng(seed).binomial(rows, true, (RESAMPLES, len(rows)))
    margin = np.quantile(np.abs(drawn - rows * true).sum(1) / len(place), 1 - alpha)
    return max(0.0, float(value - margin)), min(1.0, float(value + margin))


def area_interval(area: float, positives: int, negatives: int, *, alpha: float = 0.05) -> Ends:
    """The interval of an area under the ROC curve, also of one that is 0 or 1.

    Newcombe 2006, Confidence intervals for an effect size measure based on the Mann-Whitney statistic, part
    2, method 5: the areas from which the one measured is within z standard errors, by Hanley and McNeil's
    variance at each.
    """
    low, high = (_lowest_area(one, positives, negatives, alpha) for one in (area, 1 - area))
    return low, 1 - high


def _lowest_area(area: float, positives: int, negatives: int, alpha: float) -> float:
    z, half = scipy.stats.norm.isf(alpha / 2), (positives + negatives) / 2 - 1

    def beyond(true: float) -> float:
        spread = 1 + half * ((1 - true) / (2 - true) + true / (1 + true))
        return (area - true) ** 2 - z**2 * true * (1 - true) * spread / (positives * negatives)

    return float(scipy.optimize.brentq(beyond, 0.0, min(area, 1 - 1e-9))) if area else 0.0


def bootstrap_interval(
    of: Callable[[np.ndarray], float],
    size: int,
    *,
    alpha: float = 0.05,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Ends:
    """The percentile interval of a function of rows (Efron 1979) that is smooth in means of rows.

    Args:
      of: `of(index) -> value`, of rows `index`, `[N]`.
      size: N.
      alpha: in how many cases it may miss, about.
      resamples: how many sets of rows are drawn.
      seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    found = [of(rng.integers(0, size, size)) for _ in range(resamples)]
    low, high = np.quantile(found, [alpha / 2, 1 - alpha / 2])
    return float(low), float(high)
