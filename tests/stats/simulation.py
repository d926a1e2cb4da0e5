"""How often verdicts are wrong, and how often they are reached: simulated sweeps.

`tests/stats/write_tables.py` makes the tables of docs/statistics.md of it.

At the edge of a criterion (`better`: a true difference of 0, `at_least`, `equivalent`: of just that)
either conclusion is wrong: SUPPORTED because the claim holds only beyond the edge, REFUTED because
it holds at it. Each is a test of the edge against one side, which is vectorised here over many sweeps;
`test_error_rates.py` checks that `compare` concludes the same.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.stats

from fdl.stats.betting import Bounds, capital
from fdl.stats.bound import exceedance, skew_reach, tost_reach
from fdl.stats.criterion import ALPHA
from fdl.stats.inference import TOST_FROM, sign_flip, spread

PAIRS = (5, 6, 8, 10, 12, 14, 16, 20, 30)
FLIPS_UP_TO = 16  # beyond, the permutation test, which can only make conclusions rarer, is left out

Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]


class Family(NamedTuple):
    """Differences of mean 0.

    Attributes:
      name: as a table shows it.
      draw: `(generator, [sweeps, n]) -> differences`.
      rare: how often the rarer of two kinds of outcome comes; 0 where there is but one kind.
    """

    name: str
    draw: Draw
    rare: float = 0.0


def _two(share: float, noise: float = 0.0) -> Draw:
    """-1 in this share of seeds, else 0, noise added; shifted to mean 0."""

    def draw(random: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
        fell = random.random(shape) < share
        return share - fell + (noise * random.normal(size=shape) if noise else 0.0)

    return draw


HELD = (
    Family("normal", lambda random, shape: random.normal(size=shape)),
    Family("uniform", lambda random, shape: random.uniform(-1, 1, size=shape)),
    Family("heavy tails: t, 3 degrees of freedom", lambda random, shape: random.standard_t(3, size=shape)),
    Family(
        "heavy tails: 10 % of normal ones 5 times as wide",
        lambda random, shape: np.where(random.random(shape) < 0.1, 5, 1) * random.normal(size=shape),
    ),
    Family("skewed: gamma, shape 4", lambda random, shape: 4 - random.gamma(4, size=shape)),
    Family("skewed: exponential", lambda random, shape: 1 - random.exponential(size=shape)),
    Family("two values, 50 %", _two(0.5), 0.5),
    Family("two values, 30 %", _two(0.3), 0.3),
    Family("two values, 20 %", _two(0.2), 0.2),
    Family("two values, 10 %", _two(0.1), 0.1),
    Family("two values, 5 %", _two(0.05), 0.05),
)
MIXED = (
    Family("mixed, 50 % fall", _two(0.5, 0.02), 0.5),
    Family("mixed, 30 % fall", _two(0.3, 0.02), 0.3),
    Family("mixed, 10 % fall", _two(0.1, 0.02), 0.1),
    Family("mixed, 10 % fall, more noise", _two(0.1, 0.2), 0.1),
)
BEYOND = (
    Family(
        "skewed: lognormal, sigma 1 (skewness 6.2)",
        lambda random, shape: np.exp(0.5) - np.exp(random.normal(size=shape)),
    ),
)


def draw(family: Family, n: int, sweeps: int) -> np.ndarray:
    """Differences `[sweeps, n]`, always the same."""
    return family.draw(np.random.default_rng([n, len(family.name)]), (sweeps, n))


def above(differences: np.ndarray, edge: float = 0.0, *, arms: int = 1) -> np.ndarray:
    """Whether `[sweeps]` each row `[n]` of differences of one arm shows a mean above `edge`, at the level
    that Holm asks of one of so many arms: the rule of `better`, `at_least`, and REFUTED equivalence."""
    n, tail = differences.shape[-1], ALPHA / 2 / arms
    found = _beats(differences, edge, tail, float(skew_reach(n, tail)))
    if n <= FLIPS_UP_TO and (n > 5 or arms > 1):
        rows = np.flatnonzero(found)
        found[rows] = sign_flip(differences[rows] - edge) < ALPHA / arms
    return found


def within(differences: np.ndarray, edge: float = 0.0) -> np.ndarray:
    """Whether each row shows that the mean is not below `edge`, as one of the two tests of equivalence."""
    n = differences.shape[-1]
    tail, reach = (0.05, tost_reach(n)) if n >= TOST_FROM else (0.025, float(skew_reach(n, 0.025)))
    return _beats(differences, edge, tail, reach)


def students(differences: np.ndarray, edge: float = 0.0, *, tail: float = 0.025) -> np.ndarray:
    """Whether Student's t alone would say that the mean is above `edge`; it takes ties for certain."""
    n = differences.shape[-1]
    mean, error = differences.mean(axis=-1) - edge, spread(differences) / np.sqrt(n)
    return mean > scipy.stats.t.isf(tail, n - 1) * error


def _beats(differences: np.ndarray, edge: float, tail: float, reach: float) -> np.ndarray:
    found = students(differences, edge, tail=tail) & (spread(differences) > 0)
    rows = np.flatnonzero(found)
    found[rows] = exceedance(differences[rows], edge, reach) < tail
    return found


def unpaired(family: Family, n: int, sweeps: int) -> tuple[np.ndarray, np.ndarray]:
    """Values `[sweeps, n]` of two independent arms of one mean: of a family, and normal ones that vary a
    fifth as much as a standard normal."""
    return draw(family, n, sweeps), 0.2 * np.random.default_rng([n, 1]).normal(size=(sweeps, n))


def interaction(family: Family, n: int, sweeps: int) -> np.ndarray:
    """Differences of differences `[sweeps, n]` of four arms that are alike, of a family each."""
    randoms = [np.random.default_rng([n, cell, len(family.name)]) for cell in range(4)]
    cells = [family.draw(random, (sweeps, n)) for random in randoms]
    return cells[0] - cells[1] - cells[2] + cells[3]


def welchs(arm: np.ndarray, baseline: np.ndarray, *, tail: float = 0.025) -> np.ndarray:
    """Whether Welch's test alone would say that the mean of `arm` is above that of `baseline`."""
    found = scipy.stats.ttest_ind(arm, baseline, axis=-1, equal_var=False, alternative="greater")
    return np.asarray(found.pvalue < tail)


def decided(
    differences: np.ndarray, edge: float = 0.0, *, arms: int = 1, bounds: Bounds | None = None
) -> np.ndarray:
    """After how many seeds `[sweeps]` each row `[n]` of differences of one of so many arms shows a mean above
    `edge`, where one looks after every 4 from 8 on; 0 for never. The rule of `compare(anytime=True)`."""
    reached = capital(differences, edge, bounds=bounds)[:, 7::4] > 2 * arms / ALPHA
    return np.where(reached.any(axis=1), 8 + 4 * reached.argmax(axis=1), 0)


def all_supported(differences: np.ndarray) -> np.ndarray:
    """Whether `[sweeps]` Holm's method finds every arm of `[sweeps, arms, n]` above 0."""
    sweeps, arms, n = differences.shape
    rows, holds = differences.reshape(-1, n), np.ones(sweeps, bool)
    for left in range(1, arms + 1):  # the i-th smallest of p below ALPHA / (arms + 1 - i), for all i
        holds &= above(rows, arms=left).reshape(sweeps, arms).sum(axis=1) >= arms + 1 - left
    return holds


def common_baseline(effect: float, arms: int, n: int, sweeps: int) -> np.ndarray:
    """Differences `[sweeps, arms, n]` of arms that are `effect` standard deviations of a difference
    better than a baseline that varies as they do."""
    random = np.random.default_rng([arms, n])
    runs = random.normal(size=(sweeps, arms + 1, n)) / np.sqrt(2)
    return runs[:, 1:] - runs[:, :1] + effect


def failing(n: int, sweeps: int, *, arm: float, baseline: float, gap: float) -> np.ndarray:
    """Differences `[sweeps, n]` of two arms of whose runs these shares fail and count as worst, and
    that are `gap` standard deviations apart where they survive."""
    random = np.random.default_rng([n, int(100 * arm), int(100 * baseline)])
    values = random.normal(size=(2, sweeps, n)) + np.array([gap, 0.0])[:, None, None]
    lost = random.random(values.shape) < np.array([arm, baseline])[:, None, None]
    lost[:, lost.all(axis=(0, 2)), 0] = False  # one run at least has a value
    lowest = np.where(lost, np.inf, values).min(axis=(0, 2))
    highest = np.where(lost, -np.inf, values).max(axis=(0, 2))
    counted = np.where(lost, (2 * lowest - highest)[:, None], values)
    return counted[0] - counted[1]
