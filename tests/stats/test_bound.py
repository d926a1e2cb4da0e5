"""The test that minds skew, against sampling, Clopper and Pearson, and closed forms."""

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.proportion import proportion_confint

from fdl.stats.bound import bound_test, chance_of_loss, exceedance, lower_end, skew_reach, widening


@pytest.mark.parametrize(
    "stakes",
    [
        [-1, 0.1, 0.1, 0.2, 0.3, 0.1],
        [-1, -0.5, -0.1, 0.6, 0.7, 0.1],
        [-1, 1000, 0, 0, 0.001, 2],
        [-100, 1, 1, 1, 1, 1],
        [-1, 0.4, 0.5, 0.6, 0.4, 0.5],
    ],
)
def test_the_chance_of_loss_is_that_of_samples(stakes: list[float]) -> None:
    count = 200_000
    samples = np.random.default_rng(0).exponential(size=(count, 6)) @ np.array(stakes)
    (expected,) = chance_of_loss(np.array([stakes], float))
    assert np.mean(samples <= 0) == pytest.approx(expected, abs=4 * np.sqrt(expected / count))


def test_the_chance_of_loss_in_closed_form() -> None:
    """One stake against one, and one against sixteen equal ones; none against any."""
    assert chance_of_loss(np.array([[-1.0, 1e8]])) == pytest.approx(1 / (1 + 1e8), rel=1e-5)
    assert chance_of_loss(np.array([[-1.0] + [0.1] * 16])) == pytest.approx(1.1**-16, rel=1e-9)
    assert chance_of_loss(np.array([[0.0, 1.0], [-1.0, 0.0]])).tolist() == [0.0, 1.0]


@pytest.mark.parametrize(("ones", "n"), [(3, 10), (1, 20), (4, 5), (29, 30), (50, 100)])
@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_two_values_give_clopper_and_pearsons_limit(ones: int, n: int, alpha: float) -> None:
    row = (np.arange(n) < ones).astype(float)
    low, _ = proportion_confint(ones, n, alpha, method="beta")
    assert lower_end(row[None], alpha / 2, 1.0) == pytest.approx(low, rel=1e-5)
    assert exceedance(row[None], low, 1.0) == pytest.approx(alpha / 2, rel=1e-4)


@pytest.mark.parametrize("n", [5, 16, 40])
def test_the_p_value_is_the_level_at_which_the_end_is_reached(n: int) -> None:
    rows = np.random.default_rng(n).normal(1.0, size=(4, n))
    p = bound_test(rows, 0.0)
    assert (p < 0.5).all()
    assert exceedance(rows, 0.0, skew_reach(n, p)) == pytest.approx(p, rel=1e-6)
    assert lower_end(rows, p, skew_reach(n, p)) == pytest.approx(np.zeros(4), abs=1e-6)


@pytest.mark.parametrize("n", [5, 16, 40, 64])
def test_widening_is_that_of_normal_samples(n: int) -> None:
    reach = float(skew_reach(n, 0.025))
    rows = np.random.default_rng(n).normal(size=(200, n))
    ratio = np.maximum(1.0, (rows.mean(axis=1) - lower_end(rows, 0.025, reach)) / _students(rows))
    assert np.mean(ratio) == pytest.approx(widening(n, 0.025, reach), rel=0.08)


def test_widening_by_moments_goes_on_where_that_by_scores_ends() -> None:
    widths = [widening(n, 0.025, 1.0) for n in (63, 64, 65, 66, 1_000, 100_000)]
    assert widths[1] == pytest.approx(widths[2], rel=0.01)
    assert widths == sorted(widths, reverse=True) and widths[-1] >= 1


def _students(rows: np.ndarray) -> np.ndarray:
    n = rows.shape[1]
    return scipy.stats.t.isf(0.025, n - 1) * rows.std(axis=1, ddof=1) / np.sqrt(n)
