"""How many pairs decide a criterion if the truth is what was seen."""

import math

import numpy as np
import scipy.stats

from fdl.stats.bound import skew_reach, tost_reach, widening
from fdl.stats.criterion import ALPHA, LEAST, TIED_LEAST, Criterion
from fdl.stats.inference import TOST_FROM
from fdl.stats.power import MOST, POWER, equivalence_power, joint_power, pairs_needed, two_sided_power

_SIMULATED = 16  # arms of which the joint power is simulated


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


def seeds_needed(mean: float, sd: float, criterion: Criterion) -> int:
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
