"""Power of paired tests: what n pairs can show, and how many pairs a question needs.

Effects are standardised: a mean difference over the standard deviation of differences (Cohen's d_z).
The tests are Student's, with critical values `wider` times theirs: `fdl.stats.bound.widening` gives
the number with which they have about the power of `fdl.stats.interval`, for normal differences.
"""

import bisect
import functools
from collections.abc import Callable

import numpy as np
import scipy.optimize
import scipy.stats

from fdl.arguments import Count, InnerShare, Positive, checked

POWER = 0.8  # the field's usual target (Cohen 1988)
_DRAWS = 2_000  # simulated sweeps: the power is known within 2 points
MOST = 1_000_000  # pairs: no one trains more
_FAR = 35.0  # noncentralities beyond this are certain, and SciPy's tail loses precision


def one_sided_power(effect: float, n: int, *, alpha: float, wider: float = 1.0) -> float:
    """The chance that a one-sided paired t-test at level `alpha` with `n` ≥ 2 pairs finds `effect`."""
    return float(one_sided_powers(effect, n, alpha=alpha, wider=wider))


def one_sided_powers(
    effect: np.ndarray | float, n: np.ndarray | int, *, alpha: np.ndarray | float, wider: np.ndarray | float
) -> np.ndarray:
    """`one_sided_power` `[rows]`, each argument `[rows]` or one for all."""
    shift = np.clip(effect * np.sqrt(n), -_FAR, _FAR)
    return scipy.stats.nct.sf(wider * scipy.stats.t.isf(alpha, n - 1), n - 1, shift)


def two_sided_power(effect: float, n: int, *, alpha: float = 0.05, wider: float = 1.0) -> float:
    """The chance that a two-sided paired t-test at level `alpha` with `n` ≥ 2 pairs finds `effect`, which is
    infinite where differences have no spread.

    Example:
      >>> from fdl import stats
      >>> round(stats.two_sided_power(1.0, n=10), 2)  # of an effect of one standard deviation
      0.8
    """
    return sum(one_sided_power(side, n, alpha=alpha / 2, wider=wider) for side in (effect, -effect))


def equivalence_power(
    margins: tuple[float, float], n: int, *, alpha: float = 0.05, wider: float = 1.0
) -> float:
    """The chance, from below, that two one-sided t-tests with `n` ≥ 2 pairs both find the mean inside
    bounds that are `margins` away from it: `P(first) + P(second) - 1`, exact where it is large
    (Schuirmann 1987)."""
    return max(0.0, sum(one_sided_power(margin, n, alpha=alpha, wider=wider) for margin in margins) - 1)


def joint_power(effect: float, n: int, criticals: np.ndarray) -> float:
    """The chance that Holm's method finds every one of several arms, all of the same `effect` > 0 and
    compared by `n` ≥ 2 pairs with one baseline that varies as they do.

    By 2,000 draws of t statistics from a fixed key (their standard deviations by Wilson and Hilferty
    1931), so with a standard error of 0.01.

    Args:
      effect: standardised.
      n: pairs.
      criticals: `[arms]`, what t must exceed for a p-value of ALPHA / 1, ..., ALPHA / arms.
    """
    own, common, deviation = _draws(len(criticals))
    df = n - 1
    scale = np.maximum(1 - 2 / (9 * df) + deviation * np.sqrt(2 / (9 * df)), 1e-3) ** 1.5
    t = ((own - common[:, None]) / np.sqrt(2) + effect * np.sqrt(n)) / scale
    return float(np.all(np.sort(t, axis=1) > criticals, axis=1).mean())


@functools.cache
def _draws(arms: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    shape = (_DRAWS, arms)
    return random.normal(size=shape), random.normal(size=_DRAWS), random.normal(size=shape)


@checked
@functools.cache
def detectable(n: Count, *, wider: Positive[float] = 1.0) -> float:
    """The standardised effect that a two-sided 5 % paired t-test with `n` pairs finds with 80 % power;
    NaN below 2 pairs.

    Example:
      >>> from fdl import stats
      >>> round(stats.detectable(10), 2)  # standard deviations
      1.0
    """
    if n < 2:
        return float("nan")

    def lacking(effect: float) -> float:
        return two_sided_power(effect, n, wider=wider) - POWER

    return float(scipy.optimize.brentq(lacking, 0.0, _FAR * wider / np.sqrt(n)))


@checked
def pairs_needed(power: Callable[[int], float], *, least: Count, target: InnerShare[float] = POWER) -> int:
    """The smallest number of pairs, at least `least`, for which `power(n)`, rising in n, reaches
    `target`; 1,000,000 stands for that many or more.

    Example:
      >>> from fdl import stats
      >>> stats.pairs_needed(lambda n: stats.two_sided_power(1.0, n=n), least=5)
      10
    """
    return least + bisect.bisect_left(range(least, MOST), target, key=power)


def pairs_needed_each(
    power: Callable[[np.ndarray, np.ndarray], np.ndarray], rows: int, *, least: int, target: float = POWER
) -> np.ndarray:
    """`pairs_needed` `[rows]` of several, whose `power(n, row)` is asked together.

    Args:
      power: of numbers of pairs `[m]`, each for the row of its number in `[m]`.
      rows: how many.
      least: the smallest number of pairs.
      target: the power that is asked for.
    """
    low, high = np.full(rows, least), np.full(rows, max(least, MOST))
    while (row := np.flatnonzero(low < high)).size:
        middle = (low[row] + high[row]) // 2
        short = power(middle, row) < target
        low[row], high[row] = np.where(short, middle + 1, low[row]), np.where(short, high[row], middle)
    return low
