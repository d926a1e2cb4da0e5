"""How many pairs decide a criterion if the truth is what was seen."""

import functools
import math

import numpy as np
import scipy.stats

from fdl.stats.bound import skew_reach, tost_reach, widening
from fdl.stats.criterion import ALPHA, LEAST, TIED_LEAST, Criterion
from fdl.stats.inference import TOST_FROM
from fdl.stats.power import MOST, POWER, joint_power, one_sided_powers, pairs_needed, pairs_needed_each

_SIMULATED = 16  # arms of which the joint power is simulated


def effect_size_of(difference: float, sd: float) -> float:
    """`difference / sd`; 0 for no difference and infinite for one that never varies."""
    if difference == 0 or sd > 0:
        return difference / sd if difference else 0.0
    return math.copysign(math.inf, difference) if sd == 0 else math.nan


@functools.cache
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
    return int(seeds_needed_each(np.array([mean]), np.array([sd]), criterion)[0])


def seeds_needed_each(means: np.ndarray, sds: np.ndarray, criterion: Criterion) -> np.ndarray:
    """`seeds_needed` of several arms `[rows]`, which are looked for together."""
    found = np.where(criterion.exceeds_zero & (means == 0), MOST, TIED_LEAST)
    (varies,) = np.nonzero(sds != 0)
    means, sds = means[varies], sds[varies]
    if criterion.equivalent is None:
        found[varies] = _for_difference((criterion.sign * means - criterion.at_least) / sds, criterion)
    else:
        found[varies] = _for_equivalence(means, sds, criterion.equivalent, criterion.arms)
    return found


def _for_difference(gaps: np.ndarray, criterion: Criterion) -> np.ndarray:
    """Pairs for arms `[rows]` that are past the edge by `gaps`, standardised."""
    arms, least = criterion.arms, criterion.least
    if not 1 < arms <= _SIMULATED:
        return _each_alone(gaps, criterion)
    found = np.empty(len(gaps), int)
    found[gaps <= 0] = _each_alone(gaps[gaps <= 0], criterion)
    for row in np.flatnonzero(~(gaps <= 0)):
        gap = float(gaps[row])
        found[row] = pairs_needed(lambda n, gap=gap: joint_power(gap, n, _criticals(n, arms)), least=least)
    return found


def _each_alone(gaps: np.ndarray, criterion: Criterion) -> np.ndarray:
    """Likewise, of each by itself at the first of Holm's levels."""
    alpha = ALPHA / criterion.arms

    def two_sided(n: np.ndarray, row: np.ndarray) -> np.ndarray:
        wider = np.array([wider_than_t(int(pairs), alpha) for pairs in n])
        sides = [one_sided_powers(sign * gaps[row], n, alpha=alpha / 2, wider=wider) for sign in (1, -1)]
        return sides[0] + sides[1]

    return pairs_needed_each(two_sided, len(gaps), least=criterion.least)


def _for_equivalence(means: np.ndarray, sds: np.ndarray, bound: float, arms: int) -> np.ndarray:
    """Pairs for arms `[rows]` that are claimed to differ by no more than `bound`."""
    found = np.empty(len(means), int)
    outside = np.abs(means) > bound
    gaps = (np.abs(means) - bound) / sds
    found[outside] = _each_alone(gaps[outside], Criterion("higher", 0.0, bound, arms))
    margins = [side[~outside] for side in ((bound + means) / sds, (bound - means) / sds)]

    def supported(n: np.ndarray, row: np.ndarray) -> np.ndarray:
        alpha = np.where(n < TOST_FROM, ALPHA / 2, ALPHA)
        wider = np.array([_wider_of_equivalence(int(pairs)) for pairs in n])
        sides = [one_sided_powers(margin[row], n, alpha=alpha, wider=wider) for margin in margins]
        return np.maximum(0.0, sides[0] + sides[1] - 1)  # `equivalence_power`

    target = POWER ** (1 / arms)
    found[~outside] = pairs_needed_each(supported, len(margins[0]), least=LEAST, target=target)
    return found


def _wider_of_equivalence(n: int) -> float:
    """`widening` of the two tests by which `equivalence_interval` is made."""
    return wider_than_t(n, ALPHA) if n < TOST_FROM else widening(n, ALPHA, tost_reach(n))
