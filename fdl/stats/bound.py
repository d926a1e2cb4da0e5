"""A one-sided test of a mean that minds skew: the seeds seen, and one more at a worst place.

Student's t errs where differences are skewed or discrete, since few of them do not show the long
tail: with 5 exponential differences an end of its 95 % interval errs in 12 % instead of 2.5 %. The
test here weighs the n differences, and one more seed that was not seen and lies farther out, by
independent exponential weights E, and takes for "the mean is at most e" the p-value

    P(E_0 (worst - e) + sum_i E_i (x_i - e) <= 0)

(Gaffke 2005, Three test statistics for a nonparametric one-sided hypothesis on the mean of a
nonnegative variable; Learned-Miller and Thomas 2020, arXiv:1905.06208; without the further seed it
is the Bayesian bootstrap, Rubin 1981). Where no difference can lie beyond `worst` the test errs in at
most the level asked, whatever the distribution, in all cases ever computed; for two values it is
Clopper and Pearson's. fdl does not know how far differences can go, and puts `worst` `reach` times as
far below their mean as the lowest of them.
"""

import functools
import math
from collections.abc import Callable

import numpy as np
import scipy.stats
from scipy.optimize import elementwise

_STEP = 0.2  # of the trapezoid rule; see `chance_of_loss` for the error with it
_NODES = _STEP * np.arange(71)  # to 14: sinh(14) = 6e5 widths, where nothing is left
_WEIGHTS = _STEP * np.where(_NODES == 0, 0.5, 1.0) * np.cosh(_NODES)
_BATCH = 2**20  # complex numbers held at once
_SCORES = 64  # pairs up to which `widening` is exact
_LEAST_P = 1e-15  # float64 cannot tell a smaller one from 0


def skew_reach(n: int, tail: float | np.ndarray) -> np.ndarray:
    """The reach with which a test at level `tail` of n exponential differences, whose long tail is on
    the side that was not seen, errs in at most twice that: both ends of an interval together then
    err in no more than they should. Fitted to simulations of n from 5 to 30 and levels from 0.025 to 0.001;
    with 30 pairs and the level of 10 arms it errs in 2.5 times that (docs/statistics.md). Never below 1,
    the lowest difference itself."""
    return np.maximum(1.0, 6.5 * np.log(0.3 / np.asarray(tail)) / n)


def tost_reach(n: int) -> float:
    """The reach with which a test at level 0.05 of exponential differences errs in at most 0.05."""
    return max(1.0, 25.0 / n)


def exceedance(differences: np.ndarray, edge: np.ndarray | float, reach: np.ndarray | float) -> np.ndarray:
    """The p-value of "the mean is at most `edge`" (above).

    Args:
      differences: `[rows, n]`.
      edge: the mean in question, `[rows]` or one for all.
      reach: how many times as far from the mean as the lowest difference the further seed lies, ≥ 1,
        `[rows]` or one for all.

    Returns:
      p `[rows]`.
    """
    mean = differences.mean(axis=-1)
    worst = mean - reach * (mean - differences.min(axis=-1))
    return chance_of_loss(np.column_stack([worst, differences]) - np.reshape(edge, (-1, 1)))


def lower_end(differences: np.ndarray, tail: np.ndarray | float, reach: np.ndarray | float) -> np.ndarray:
    """The mean `[rows]` whose `exceedance` by differences `[rows, n]` is just `tail`, < 0.5; `tail` and
    `reach` are `[rows]` or one for all."""
    mean = differences.mean(axis=-1)
    ends = mean - reach * (mean - differences.min(axis=-1)), differences.max(axis=-1)
    tails, reaches = np.broadcast_to(tail, len(mean)), np.broadcast_to(reach, len(mean))

    def excess(edge: np.ndarray, row: np.ndarray) -> np.ndarray:
        return exceedance(differences[row], edge, reaches[row]) - tails[row]

    return _root(excess, ends, len(mean))


def bound_test(differences: np.ndarray, edge: np.ndarray | float) -> np.ndarray:
    """The one-sided p-value of "the mean is at most `edge`" with `skew_reach` at that very level: the
    smallest level at which the test says that it is not."""
    n = differences.shape[-1]
    edges = np.broadcast_to(edge, len(differences))

    def excess(level: np.ndarray, row: np.ndarray) -> np.ndarray:
        """Falls as the level rises."""
        reach = skew_reach(n, np.exp(level))
        p = exceedance(differences[row], edges[row], reach)
        return np.log(np.maximum(p, _LEAST_P)) - level

    everywhere = np.full(len(differences), math.log(0.5)), np.full(len(differences), math.log(_LEAST_P))
    return np.exp(_root(excess, everywhere, len(differences)))


def chance_of_loss(stakes: np.ndarray) -> np.ndarray:
    """P(sum_i stakes_i E_i <= 0) for independent standard exponential E.

    The integral of the Laplace transform `prod 1 / (1 - stakes_i s)` over `s`, along the line through
    its saddle point left of 0, by the trapezoid rule after s = saddle + i width sinh(v). Against
    Clopper and Pearson's limits the relative error is below 1e-7 up to 30 stakes, 1e-4 up to 100.

    Args:
      stakes: `[rows, m]`.

    Returns:
      `[rows]`.
    """
    lowest, highest = stakes.min(axis=-1), stakes.max(axis=-1)
    result = np.where(lowest < -1e-12 * highest, 1.0, 0.0)  # decided where all have one sign
    open_ = np.flatnonzero((lowest < -1e-12 * highest) & (highest > 0))
    size = max(1, _BATCH // (stakes.shape[-1] * len(_NODES)))
    for rows in np.split(open_, range(size, len(open_), size)):
        result[rows] = _integral(stakes[rows] / -lowest[rows, None])
    return result


def _integral(scaled: np.ndarray) -> np.ndarray:
    """`chance_of_loss` where the lowest stake of each row is -1 and the highest positive."""
    saddle = _saddle(scaled)
    curvature = ((scaled / (1 - scaled * saddle[:, None])) ** 2).sum(axis=-1) + saddle**-2
    width = 1 / np.sqrt(curvature)
    top = -np.log1p(-scaled * saddle[:, None]).sum(axis=-1) - np.log(-saddle)
    turns = 1j * width[:, None] * np.sinh(_NODES)  # away from the saddle
    slopes = scaled / (1 - scaled * saddle[:, None])
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        product = np.prod(1 - slopes[:, None, :] * turns[..., None], axis=-1) * (1 + turns / saddle[:, None])
        values = np.where(np.isfinite(product), 1 / product, 0.0)  # 1 / infinity
    # A product for each row: one of all of them would round by how many there are.
    sums = (np.real(values)[:, None, :] @ _WEIGHTS[:, None])[:, 0, 0]
    return np.exp(top) * width / np.pi * sums


def _saddle(scaled: np.ndarray) -> np.ndarray:
    """Between -1 and 0, where the transform over `-s` is least; any point would do, this one is fastest."""
    low, high = np.full(len(scaled), -40.0), np.full(len(scaled), 40.0)
    for _ in range(14):
        middle = (low + high) / 2
        s = -1 / (1 + np.exp(middle))
        rising = (scaled / (1 - scaled * s[:, None])).sum(axis=-1) > 1 / s
        low, high = np.where(rising, low, middle), np.where(rising, middle, high)
    return -1 / (1 + np.exp(low))


def _root(
    excess: Callable[[np.ndarray, np.ndarray], np.ndarray], ends: tuple[np.ndarray, np.ndarray], rows: int
) -> np.ndarray:
    """Where `excess(x, row)` is 0 for each of the rows: it is below 0 at the first of the ends, which is
    returned where it is not."""
    found = elementwise.find_root(
        lambda x, row: excess(x, row.astype(int)),
        ends,
        args=(np.arange(rows),),
        tolerances={"xrtol": 1e-9, "fatol": 0.0},
    )
    return np.where(found.success, found.x, ends[0])


@functools.cache
def widening(n: int, tail: float, reach: float) -> float:
    """How many times as far from the mean as Student's end the further of both ends lies, for n
    normal differences: exact for normal scores up to 64, from two moments beyond (within 1 %)."""
    if n <= _SCORES:
        scores = scipy.stats.norm.ppf((np.arange(n) + 0.5) / n)
        end = -float(lower_end(scores[None] / scores.std(ddof=1), tail, reach)[0])
    else:
        worst = reach * float(scipy.stats.norm.ppf(0.5 / n))
        mean = worst / (n + 1)
        variance = ((n - 1 + worst**2) / (n + 1) - mean**2) / (n + 2)
        end = scipy.stats.norm.isf(tail) * math.sqrt(variance) - mean
    return max(1.0, float(end * math.sqrt(n) / scipy.stats.t.isf(tail, n - 1)))
