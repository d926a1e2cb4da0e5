"""A test of a mean that stays valid however often one looks, and whenever one stops: by betting.

Someone who starts with 1 bets on each difference before it comes, so that under the hypothesis no bet pays
on average. The capital is then a nonnegative supermartingale, and the chance that it ever reaches `1 / a` is
at most `a` (Ville 1939), at whatever seed the sweep stops.

Against "the mean is at most m" the bet on difference x is `capital * f * (x - m) / room`, where `room` is
how far below m a difference can fall; four shares f at once, a quarter of the capital each, as nobody knows
which is best. It is the capital process of Waudby-Smith and Ramdas (2023, Estimating means of bounded random
variables by betting, sec. 4, with the diversified bets of appendix B); an interval holds every mean against
which neither side's capital is `2 / a` (a confidence sequence, sec. 4.3).

Where bounds of the differences are known, `room = m - lowest` and nothing is assumed. Where they are not, no
test of a mean can hold its level (Bahadur and Savage 1956); then `room` is taken from the differences that
came before: `1 + 8 / i` times as far as the lowest of these i lies below their mean. The assumption is that
none falls farther beyond the true mean than that; what falls farther costs the whole stake, so that a rare
one does little harm. 8 is fitted by simulation (docs/statistics.md).
"""

import numpy as np

from fdl.arguments import InnerShare, NotNegative, Rising, checked

FROM = 4
"""The first difference that is bet on, where bounds are not known."""
_SHARES = np.array([1.0, 0.5, 0.25, 0.125])
_WIDER = 8.0
_HALVINGS = 100

Bounds = Rising[tuple[float, float]]


def capital(
    differences: np.ndarray, mean: float, *, bounds: Bounds | None = None, rounding: np.ndarray | float = 0.0
) -> np.ndarray:
    """What 1 has come to by bets against "the mean is at most `mean`", after each difference.

    `1 / capital` is a p-value wherever one stops. The most that it came to before would be too; but then a
    fall that is seen would not count where a conclusion came shortly before it.

    Args:
      differences: `[..., n]`, in the order in which they came.
      mean: the mean in question.
      bounds: the least and the most that a difference can be; not known if not given.
      rounding: `[n]`, what differences may show by rounding; where those before vary by no more, no bet
        is made, as nothing shows how far they can vary.

    Returns:
      `[..., n]`, 0 or more.
    """
    rows = np.asarray(differences, np.float64)
    room = _room(rows, rounding) if bounds is None else np.full(rows.shape, max(mean - bounds[0], 0.0))
    rates = np.divide(1.0, room, out=np.zeros_like(room), where=room > 0)
    stakes = _SHARES * (rates * (rows - mean))[..., None]
    with np.errstate(over="ignore"):
        return np.cumprod(np.maximum(1 + stakes, 0.0), axis=-2).mean(axis=-1)


@checked
def confidence_sequence(
    differences: np.ndarray,
    *,
    level: InnerShare[float] = 0.95,
    bounds: Bounds | None = None,
    rounding: NotNegative[np.ndarray | float] = 0.0,
) -> tuple[float, float]:
    """The interval of the mean of paired differences, valid at all times together: however often one looks as
    differences come, in at most 1 - level of sweeps it ever fails to hold the mean.

    Args:
      differences: `[n]`, in the order in which they came.
      level: the share of sweeps.
      bounds: the least and the most that a difference can be; if not given, none is taken to fall farther
        beyond the mean than is said above.
      rounding: as for `capital`.

    Returns:
      Its ends; NaN where nothing was bet on: without bounds below 4 differences, and where all are equal.

    Example:
      >>> import numpy as np
      >>> from fdl import stats
      >>> differences = np.array([0.2, 0.25, 0.18, 0.22, 0.21, 0.19, 0.24, 0.2])
      >>> low, high = stats.confidence_sequence(differences)
      >>> bool(0.0 < low < 0.21 < high < 0.4)
      True
    """
    mirrored = None if bounds is None else (-bounds[1], -bounds[0])
    needed = 2 / (1 - level)
    low = _lower_end(differences, needed, bounds, rounding)
    return low, -_lower_end(-differences, needed, mirrored, rounding)


def _room(rows: np.ndarray, rounding: np.ndarray | float) -> np.ndarray:
    """How far below the mean each difference may fall, by those before it; 0 where they do not say."""
    n = rows.shape[-1]
    before = np.arange(1, n)
    room = np.zeros_like(rows)
    means = np.cumsum(rows, axis=-1)[..., :-1] / before
    below = means - np.minimum.accumulate(rows, axis=-1)[..., :-1]
    noise = np.broadcast_to(rounding, n)[:-1] + 1e-12 * np.maximum.accumulate(np.abs(rows), axis=-1)[..., :-1]
    room[..., 1:] = np.where((below > 2 * noise) & (before >= FROM - 1), (1 + _WIDER / before) * below, 0.0)
    return room


def _lower_end(
    differences: np.ndarray, needed: float, bounds: Bounds | None, rounding: np.ndarray | float
) -> float:
    """The largest mean against which the capital is `needed`: it falls as the mean rises."""
    rows = np.asarray(differences, np.float64)
    room = _room(rows, rounding).max(initial=0.0)
    if not len(rows) or (bounds is None and not room):
        return float("nan")
    # One bet of one share alone pays enough at the lower of these.
    low = bounds[0] if bounds else float(rows.min() - len(_SHARES) * needed * room)
    high = float(rows.max())
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        reached = capital(rows, middle, bounds=bounds, rounding=rounding)[-1] >= needed
        low, high = (middle, high) if reached else (low, middle)
    return low
