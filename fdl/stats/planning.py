"""How many seeds a comparison needs to tell a difference of a given size, from how much earlier runs vary."""

import functools

import numpy as np

from fdl.stats.betting import capital
from fdl.stats.comparison import Comparison
from fdl.stats.criterion import ALPHA, Criterion
from fdl.stats.power import pairs_needed, two_sided_power
from fdl.stats.seeds_needed import wider_than_t

MOST_BETS = 1_024
"""Pairs after which a test by bets is not followed any longer."""
LOOK = 4
"""After so many more pairs a sweep is looked at again."""
_DRAWS = 1_000


def seeds_for(one: Comparison, *, effect: float, power: float) -> int:
    """The pairs with which a comparison tells the true difference from one that is `effect` off.

    For normal differences with the spread seen, at the level of Holm's first step: a chance of `power` for
    each arm by itself. Of a comparison at any time, without bounds, the pairs within which that share of
    sweeps is decided, by 1,000 simulated ones that are looked at after every 4 from 8 on; 1,024 stands for
    that many or more.

    Args:
      one: earlier runs' comparison, whose differences vary.
      effect: in the metric's unit, > 0.
      power: the chance, as 0.8.
    """
    standardised, alpha = effect / one.spread, ALPHA / one.arms
    if one.anytime:
        reached = _capitals(standardised)[:, 2 * LOOK - 1 :: LOOK] > 2 / alpha
        ends = np.where(reached.any(axis=1), LOOK * (reached.argmax(axis=1) + 2), MOST_BETS)
        return int(np.quantile(ends, power, method="inverted_cdf"))
    least = Criterion("higher", 0.0, None, one.arms).least
    return pairs_needed(
        lambda n: two_sided_power(standardised, n, alpha=alpha, wider=wider_than_t(n, alpha)),
        least=least,
        target=power,
    )


@functools.cache
def _capitals(effect: float) -> np.ndarray:
    """`[draws, pairs]`: what bets on normal differences come to, without bounds."""
    return capital(np.random.default_rng(0).normal(size=(_DRAWS, MOST_BETS)) + effect, 0.0)
