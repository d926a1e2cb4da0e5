"""Power against statsmodels."""

import numpy as np
import pytest
from statsmodels.stats.power import TTestPower

from fdl.stats.criterion import Criterion
from fdl.stats.power import MOST, detectable, equivalence_power, pairs_needed, two_sided_power
from fdl.stats.seeds_needed import seeds_needed_each, wider_than_t


@pytest.mark.parametrize("n", [2, 5, 16, 64])
@pytest.mark.parametrize("effect", [0.0, 0.1, 0.5, 1.0])
def test_power_equals_statsmodels(effect: float, n: int) -> None:
    expected = TTestPower().power(effect, n, 0.05, alternative="two-sided")
    assert two_sided_power(effect, n) == pytest.approx(expected, rel=1e-6)
    assert two_sided_power(-effect, n) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("n", [3, 5, 8, 16, 100])
def test_the_detectable_effect_has_80_percent_power(n: int) -> None:
    assert TTestPower().power(detectable(n), n, 0.05, alternative="two-sided") == pytest.approx(0.8, abs=1e-6)


def test_one_pair_detects_nothing() -> None:
    assert np.isnan(detectable(1))


@pytest.mark.parametrize("effect", [0.05, 0.3, 1.0])
def test_pairs_needed_equals_statsmodels(effect: float) -> None:
    expected = TTestPower().solve_power(effect, power=0.8, alpha=0.05, alternative="two-sided")
    assert pairs_needed(lambda n: two_sided_power(effect, n), least=2) == int(np.ceil(expected))


@pytest.mark.parametrize(("effect", "expected"), [(0.0, MOST), (1e-5, MOST), (50.0, 5), (np.inf, 5)])
def test_pairs_needed_ends_at_its_bounds(effect: float, expected: int) -> None:
    assert pairs_needed(lambda n: two_sided_power(effect, n), least=5) == expected


@pytest.mark.parametrize(("margins", "n"), [((1.0, 1.0), 16), ((0.7, 1.3), 24), ((0.6, 0.6), 40)])
def test_equivalence_power_is_that_of_simulated_tests(margins: tuple[float, float], n: int) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(20_000, n))
    mean, error = rows.mean(axis=1), rows.std(axis=1, ddof=1) / np.sqrt(n)
    critical = {16: 1.75305, 24: 1.71387, 40: 1.68488}[n]  # t(0.95, n - 1), from a table
    inside = ((mean + margins[0]) / error > critical) & ((mean - margins[1]) / error < -critical)
    assert equivalence_power(margins, n) == pytest.approx(inside.mean(), abs=0.01)


@pytest.mark.parametrize("arms", [1, 40])
def test_seeds_of_arms_together_are_those_of_each_by_itself(arms: int) -> None:
    gaps, alpha = np.array([-0.5, 0.0, 0.02, 0.4, 3.0]), 0.05 / arms
    criterion = Criterion("higher", 0.0, None, arms)
    alone = [
        pairs_needed(
            lambda n, gap=gap: two_sided_power(gap, n, alpha=alpha, wider=wider_than_t(n, alpha)),
            least=criterion.least,
        )
        for gap in gaps.tolist()
    ]
    alone[1] = MOST
    assert seeds_needed_each(gaps, np.ones(5), criterion).tolist() == alone
