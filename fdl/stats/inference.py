"""Interval, test and correction for paired differences."""

from collections.abc import Sequence

import numpy as np
import scipy.stats

_RESAMPLES = 9_999
_FLIPS = 2**14  # all sign flips of up to 14 pairs
_BOOTSTRAP_FROM = 10
_BATCH = 2**22  # numbers held at once while resampling


def interval(differences: np.ndarray, *, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """The confidence interval of the mean of paired differences.

    From 10 pairs on: BCa bootstrap (Efron 1987) with 9,999 resamples from a fixed key, by
    `scipy.stats.bootstrap`. Plain BCa is too narrow for few pairs, so the level asked of it is
    raised until its tails, z(a'), match those of Student's t for n pairs,
    `a' = Phi(-sqrt(n / (n - 1)) t(1 - a, n - 1))` (Hesterberg 2015, "What Teachers Should Know
    About the Bootstrap", sec. 5.3; stated there for percentiles).
    Below 10 pairs: Student's t. A resampled mean never leaves the range of the differences, so at
    5 pairs no bootstrap interval covers more than 93.75 % of symmetric means.

    Coverage of the 95 % interval in 40,000 simulations (standard error 0.3 %), for differences that
    are normal, skewed (gamma, shape 4: skewness 1), and heavy-tailed (of two gammas, shape 2); plain
    BCa in 4,000 (0.5 %):

        n    normal        skewed        heavy-tailed    (plain BCa: normal)
        5    95.2          93.3          95.9            84.5
        8    94.9          93.5          95.6            88.0
       10    94.3          93.7          93.0            89.5
       16    94.4          94.2          93.2            92.2
       32    94.9          94.7          93.9            94.0

    Where most pairs tie (60 % of differences exactly 0) it covers 86 % at 16 and 90 % at 32: one
    reason why a verdict asks the exact test `sign_flip` too. Differences that are all equal
    give an interval of no width, since nothing varies that could be resampled.

    Args:
      differences: `[..., n]`.
      level: the share of intervals that hold the mean.

    Returns:
      Its ends, each `[...]`; NaN below 2 pairs.
    """
    shape, n = differences.shape[:-1], differences.shape[-1]
    if n < 2:
        return np.full(shape, np.nan), np.full(shape, np.nan)
    rows = differences.reshape(-1, n).astype(np.float64)
    low, high = rows.mean(axis=-1), rows.mean(axis=-1)
    varies = spread(rows) > 0
    if varies.any():
        ends = _student if n < _BOOTSTRAP_FROM else _bootstrap
        low[varies], high[varies] = ends(rows[varies], level)
    return low.reshape(shape), high.reshape(shape)


def sign_flip(differences: np.ndarray) -> np.ndarray:
    """The two-sided p-value of the paired permutation test: under "the arms are alike" each
    difference is as likely as its negative (Fisher 1935, sec. 21).

    All flips are tried up to 14 pairs; beyond that 16,384 random ones from a fixed key. The smallest
    p-value that n pairs can give is `2 / 2**n`: 0.0625 with 5, 0.031 with 6; and 0.00012 beyond 14.

    Args:
      differences: `[..., n]`.

    Returns:
      p `[...]`; 1 below 2 pairs.
    """
    if differences.shape[-1] < 2:
        return np.ones(differences.shape[:-1])
    size = np.abs(differences).max(axis=-1, keepdims=True)
    scaled = differences.astype(np.float64) / np.where(size > 0, size, 1.0)
    test = scipy.stats.permutation_test(
        (scaled,),
        lambda sample, axis: np.mean(sample, axis=axis).round(12),  # sums that tie must compare equal
        permutation_type="samples",
        vectorized=True,
        n_resamples=_FLIPS,
        batch=max(1, _BATCH // differences.size),
        axis=-1,
        rng=np.random.default_rng(0),
    )
    return np.asarray(test.pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values (Holm 1979): rejecting those below 0.05 rejects any true
    hypothesis at all in at most 5 % of cases.

    Args:
      p: p-values, one a test.

    Returns:
      Adjusted p-values in the same order.
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


def _student(rows: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    n = rows.shape[-1]
    margin = scipy.stats.t.isf((1 - level) / 2, n - 1) * rows.std(axis=-1, ddof=1) / np.sqrt(n)
    return rows.mean(axis=-1) - margin, rows.mean(axis=-1) + margin


def _bootstrap(rows: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    n = rows.shape[-1]
    tail = scipy.stats.norm.sf(np.sqrt(n / (n - 1)) * scipy.stats.t.isf((1 - level) / 2, n - 1))
    ends = scipy.stats.bootstrap(
        (rows,),
        np.mean,
        axis=-1,
        n_resamples=_RESAMPLES,
        batch=max(1, _BATCH // rows.size),
        confidence_level=1 - 2 * tail,
        method="BCa",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return ends.low, ends.high
