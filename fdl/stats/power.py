"""Power of paired t-tests: what n pairs can show, and how many pairs a question needs.

Effects are standardised: a mean difference over the standard deviation of differences (Cohen's d_z).
"""

import bisect
from collections.abc import Callable

import numpy as np
import scipy.optimize
import scipy.stats

POWER = 0.8
MOST = 1_000_000
_FAR = 35.0  # noncentralities beyond this are certain, and SciPy's tail loses precision


def one_sided_power(effect: float, n: int, *, alpha: float) -> float:
    """The chance that a one-sided paired t-test at level `alpha` with `n` ≥ 2 pairs finds `effect`."""
    shift = float(np.clip(effect * np.sqrt(n), -_FAR, _FAR))
    return float(scipy.stats.nct.sf(scipy.stats.t.isf(alpha, n - 1), n - 1, shift))


def two_sided_power(effect: float, n: int, *, alpha: float = 0.05) -> float:
    """The chance that a two-sided paired t-test at level `alpha` with `n` ≥ 2 pairs finds `effect`."""
    return sum(one_sided_power(side, n, alpha=alpha / 2) for side in (effect, -effect))


def equivalence_power(margins: tuple[float, float], n: int, *, alpha: float = 0.05) -> float:
    """The chance, from below, that two one-sided t-tests with `n` ≥ 2 pairs both find the mean inside
    bounds that are `margins` away from it: `P(first) + P(second) - 1`, exact where it is large
    (Schuirmann 1987)."""
    return max(0.0, sum(one_sided_power(margin, n, alpha=alpha) for margin in margins) - 1)


def detectable(n: int) -> float:
    """The standardised effect that a two-sided 5 % paired t-test with `n` pairs finds with 80 % power;
    NaN below 2 pairs."""
    if n < 2:
        return float("nan")
    return float(
        scipy.optimize.brentq(lambda effect: two_sided_power(effect, n) - POWER, 0.0, _FAR / np.sqrt(n))
    )


def pairs_needed(power: Callable[[int], float], *, least: int) -> int:
    """The smallest number of pairs, at least `least`, for which `power(n)`, rising in n, reaches 80 %;
    1,000,000 stands for that many or more."""
    return least + bisect.bisect_left(range(least, MOST), POWER, key=power)
