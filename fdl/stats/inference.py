"""Intervals, tests and correction for paired differences."""

from collections.abc import Sequence

import numpy as np
import scipy.stats

from fdl.arguments import InnerShare, Share, checked
from fdl.stats.bound import bound_test, lower_end, skew_reach, tost_reach

TOST_FROM = 20
_EXACT = 30  # pairs of which all sign flips are counted
_DRAWS = 2**14
_BATCH = 2**22  # numbers held at once while sampling


@checked
def interval(differences: np.ndarray, *, level: InnerShare[float] = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """The confidence interval of the mean of paired differences.

    At either end the farther of Student's t and of the test in `fdl.stats.bound`, so that it covers
    the mean of skewed and of two-valued differences too: each end of the 95 % interval errs in at
    most 5 %, and both together in about 5 %, also for 5 exponential differences. For normal ones it
    is therefore too wide: it covers 99 % with 5 to 8 pairs, 97 % with 16 or 30 (docs/statistics.md).

    Args:
      differences: `[..., n]`.
      level: the share of intervals that hold the mean.

    Returns:
      Its ends, each `[...]`. NaN below 2 pairs, and where all differences are equal: what never
      varied does not say how far it can.

    Example:
      >>> import numpy as np
      >>> from fdl import stats
      >>> low, high = stats.interval(np.array([0.2, 0.25, 0.18, 0.22, 0.21]))
      >>> bool(low > 0.1), bool(high < 0.4)
      (True, True)
    """
    tail = (1 - level) / 2
    return _ends(differences, tail, float(skew_reach(max(differences.shape[-1], 1), tail)))


def equivalence_interval(differences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 90 % interval whose two ends are the two one-sided 5 % tests of equivalence (TOST,
    Schuirmann 1987).

    Either end alone may err in 5 %, and for skewed differences all the error is at one end. So below
    20 pairs this is the 95 % interval, and from there on it is made as `interval` makes its own, but
    with a longer reach.

    Args:
      differences: `[..., n]`.

    Returns:
      Its ends, each `[...]`; NaN as those of `interval`.
    """
    n = differences.shape[-1]
    return interval(differences) if n < TOST_FROM else _ends(differences, 0.05, tost_reach(n))


def mean_test(differences: np.ndarray, edge: np.ndarray | float = 0.0) -> np.ndarray:
    """The two-sided p-value of "the mean is `edge`" that goes with `interval`: below 1 - level just
    where the interval at that level does not hold `edge`.

    Args:
      differences: `[..., n]`.
      edge: the mean in question, `[...]` or one for all.

    Returns:
      p `[...]`; 1 below 2 pairs and where all differences are equal.
    """
    shape, n = differences.shape[:-1], differences.shape[-1]
    p = np.ones(shape).reshape(-1)
    if n < 2:
        return p.reshape(shape)
    rows = (differences.astype(np.float64) - np.expand_dims(edge, -1)).reshape(-1, n)
    deviation, mean = spread(rows), rows.mean(axis=-1)
    varies = (deviation > 0) & (mean != 0)
    towards = rows[varies] * np.sign(mean[varies, None])
    students = scipy.stats.t.sf(np.abs(mean[varies]) * np.sqrt(n) / deviation[varies], n - 1)
    p[varies] = 2 * np.maximum(students, bound_test(towards, 0.0))
    return np.minimum(p, 1.0).reshape(shape)


@checked
def sign_flip(differences: np.ndarray) -> np.ndarray:
    """The two-sided p-value of the paired permutation test: under "the arms are alike" each
    difference is as likely as its negative (Fisher 1935, sec. 21).

    Up to 30 pairs all flips are counted (the sums of either half of the pairs are sorted and
    matched: Horowitz and Sahni 1974). Beyond, 16,384 flips from a fixed key, each drawn with the
    chances under which the sum seen is the expected one and weighted back (importance sampling by
    exponential tilting, Siegmund 1976): its relative standard error is about 1 % for p = 0.05 and 2 % for
    1e-9. The smallest p-value that n pairs can give is `2 / 2**n`: 0.0625 with 5, 0.031 with 6.

    Args:
      differences: `[..., n]`.

    Returns:
      p `[...]`; 1 below 2 pairs.

    Example:
      >>> import numpy as np
      >>> from fdl import stats
      >>> float(stats.sign_flip(np.array([0.2, 0.25, 0.18, 0.22, 0.21])))  # 2 of 32 choices of signs
      0.0625
    """
    shape, n = differences.shape[:-1], differences.shape[-1]
    if n < 2:
        return np.ones(shape)
    rows = np.abs(differences.reshape(-1, n).astype(np.float64))
    size = rows.max(axis=-1)
    scaled = rows / np.where(size > 0, size, 1.0)[:, None]
    sums = np.abs(differences.reshape(-1, n).astype(np.float64).sum(axis=-1)) / np.where(size > 0, size, 1.0)
    chance = _counted if n <= _EXACT else _sampled
    # Sums that tie must compare equal.
    p = [chance(row, total - 1e-12 * row.sum()) for row, total in zip(scaled, sums, strict=True)]
    return np.minimum(2 * np.array(p), 1.0).reshape(shape)


@checked
def holm(p: Sequence[Share[float]]) -> list[float]:
    """Holm's step-down adjusted p-values (Holm 1979): rejecting those below 0.05 rejects any true
    hypothesis at all in at most 5 % of cases.

    Args:
      p: p-values, one a test.

    Returns:
      Adjusted p-values in the same order.

    Example:
      >>> from fdl import stats
      >>> stats.holm([0.01, 0.04, 0.03])
      [0.03, 0.06, 0.06]
    """
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(np.asarray(p, float)[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted.tolist()


def spread(differences: np.ndarray) -> np.ndarray:
    """The standard deviation of `differences` `[..., n]`, n ≥ 2; exactly 0 where they are all equal
    up to float64 rounding."""
    size = np.abs(differences).max(axis=-1)
    return np.where(np.ptp(differences, axis=-1) > 1e-12 * size, differences.std(axis=-1, ddof=1), 0.0)


def _ends(differences: np.ndarray, tail: float, reach: float) -> tuple[np.ndarray, np.ndarray]:
    shape, n = differences.shape[:-1], differences.shape[-1]
    low, high = np.full((2, int(np.prod(shape))), np.nan)
    if n >= 2:
        rows = differences.reshape(-1, n).astype(np.float64)
        varies = spread(rows) > 0
        rows = rows[varies]
        mean = rows.mean(axis=-1)
        margin = scipy.stats.t.isf(tail, n - 1) * rows.std(axis=-1, ddof=1) / np.sqrt(n)
        below, above = np.split(lower_end(np.concatenate([rows, -rows]), tail, reach), 2)
        low[varies], high[varies] = np.minimum(mean - margin, below), np.maximum(mean + margin, -above)
    return low.reshape(shape), high.reshape(shape)


def _counted(sizes: np.ndarray, total: float) -> float:
    """P(sum of `sizes` `[n]` with random signs ≥ `total`), by counting."""
    half = len(sizes) // 2
    left, right = _sums(sizes[:half]), np.sort(_sums(sizes[half:]))
    below = np.searchsorted(right, total - left, side="left")
    return float((len(right) - below).sum()) / 2.0 ** len(sizes)


def _sums(sizes: np.ndarray) -> np.ndarray:
    sums = np.zeros(1)
    for size in sizes:
        sums = np.concatenate([sums - size, sums + size])
    return sums


def _sampled(sizes: np.ndarray, total: float) -> float:
    """P(sum of `sizes` `[n]` with random signs ≥ `total`), by importance sampling."""
    tilt = _tilt(sizes, total)
    cumulant = (np.logaddexp(tilt * sizes, -tilt * sizes) - np.log(2)).sum()
    chances = 1 / (1 + np.exp(-2 * tilt * sizes))
    random, weights = np.random.default_rng(0), 0.0
    size = max(1, _BATCH // len(sizes))
    for start in range(0, _DRAWS, size):
        draws = random.random((min(size, _DRAWS - start), len(sizes))) < chances
        sums = (2.0 * draws - 1) @ sizes
        weights += np.exp(cumulant - tilt * sums[sums >= total]).sum()
    return float(weights) / _DRAWS


def _tilt(sizes: np.ndarray, total: float) -> float:
    """The tilt under which the expected sum is `total`, as far as that can be."""
    low, high = 0.0, 1e3
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if (sizes * np.tanh(middle * sizes)).sum() < total else (low, middle)
    return high
