"""Interval, permutation test and correction against SciPy, statsmodels, enumeration and simulation."""

import itertools

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.multitest import multipletests

from fdl.stats import holm, interval, sign_flip

EXPERIMENTS = 2_000


def null_differences(kind: str, n: int) -> np.ndarray:
    """Differences `[experiments, n]` of mean 0."""
    rng = np.random.default_rng(n)
    shape = (EXPERIMENTS, n)
    match kind:
        case "normal":
            return rng.normal(size=shape)
        case "skewed":
            return rng.gamma(4.0, size=shape) - 4.0
        case _:  # two runs each of skewed metrics
            return rng.gamma(2.0, size=shape) - rng.gamma(2.0, size=shape)


def coverage(kind: str, n: int, *, level: float = 0.95) -> float:
    low, high = interval(null_differences(kind, n), level=level)
    return float(np.mean((low <= 0) & (high >= 0)))


@pytest.mark.parametrize("kind", ["normal", "skewed"])
@pytest.mark.parametrize("n", [5, 8, 10, 16, 32])
def test_interval_covers_93_to_97_percent(kind: str, n: int) -> None:
    assert 0.93 <= coverage(kind, n) <= 0.97


@pytest.mark.parametrize(("n", "documented"), [(5, 0.959), (8, 0.956), (10, 0.930), (16, 0.932)])
def test_coverage_of_heavy_tails_is_as_documented(n: int, documented: float) -> None:
    error = np.sqrt(documented * (1 - documented) / EXPERIMENTS)
    assert coverage("heavy-tailed", n) == pytest.approx(documented, abs=3 * error)


@pytest.mark.parametrize("n", [8, 16, 32])
def test_the_ninety_percent_interval_covers_88_to_92_percent(n: int) -> None:
    assert 0.88 <= coverage("normal", n, level=0.9) <= 0.92


def test_plain_bca_would_not_cover_at_ten_pairs() -> None:
    rows = null_differences("normal", 10)
    plain = scipy.stats.bootstrap((rows,), np.mean, axis=-1, n_resamples=999, batch=50, rng=0)
    ends = plain.confidence_interval
    low, high = interval(rows)
    assert np.mean((ends.low <= 0) & (ends.high >= 0)) < 0.93
    assert np.mean((low < ends.low) & (ends.high < high)) > 0.99


@pytest.mark.parametrize("n", [8, 10, 12])
@pytest.mark.parametrize("kind", ["normal", "heavy-tailed"])
def test_sign_flip_rejects_3_to_7_percent_of_null_ablations(kind: str, n: int) -> None:
    assert 0.03 <= np.mean(sign_flip(null_differences(kind, n)) < 0.05) <= 0.07


@pytest.mark.slow
@pytest.mark.parametrize("n", [14, 16, 32])
def test_sign_flip_rejects_3_to_7_percent_with_more_pairs(n: int) -> None:
    assert 0.03 <= np.mean(sign_flip(null_differences("normal", n)) < 0.05) <= 0.07


@pytest.mark.parametrize(("n", "level"), [(10, 0.98290), (16, 0.97229), (32, 0.96175)])
def test_interval_is_scipys_bca_at_the_raised_level(n: int, level: float) -> None:
    """Levels: `1 - 2 Phi(-sqrt(n / (n - 1)) t)`, to five digits."""
    row = np.random.default_rng(n).gamma(2.0, size=n)
    expected = scipy.stats.bootstrap(
        (row,), np.mean, confidence_level=level, n_resamples=100_000, method="BCa", rng=1
    ).confidence_interval
    width = expected.high - expected.low
    np.testing.assert_allclose(interval(row), expected, atol=0.02 * width)


def test_interval_of_few_pairs_is_students() -> None:
    row = np.random.default_rng(0).normal(size=(3, 9))
    for level in (0.9, 0.95):
        expected = scipy.stats.ttest_1samp(row, 0.0, axis=-1).confidence_interval(level)
        np.testing.assert_allclose(interval(row, level=level), expected, rtol=1e-12)


@pytest.mark.parametrize("n", [2, 5, 10, 30])
def test_equal_differences_give_an_interval_of_no_width(n: int) -> None:
    assert interval(np.full(n, 0.25)) == (0.25, 0.25)
    assert interval(np.zeros(n)) == (0.0, 0.0)


@pytest.mark.parametrize("n", [10, 16])
def test_one_row_that_does_not_vary_leaves_the_others_alone(n: int) -> None:
    rows = np.random.default_rng(0).normal(size=(3, n))
    rows[1] = 0.3
    low, high = interval(rows)
    for i in range(3):
        alone = interval(rows[i])
        np.testing.assert_allclose((low[i], high[i]), alone, atol=0.02 * float(alone[1] - alone[0]))


@pytest.mark.parametrize("n", [0, 1])
def test_below_two_pairs_nothing_is_known(n: int) -> None:
    assert np.isnan(interval(np.ones(n))).all()
    assert sign_flip(np.ones(n)) == 1.0


@pytest.mark.parametrize(
    "row",
    [
        [0.3, 0.1, 0.4, 0.15, 0.9, 0.2],
        [0.3, -0.1, 0.4, -0.15, 0.9, 0.2],
        [0.1, 0.2, 0.3, -0.3, -0.2, -0.1],
        [0.0, 0.0, 0.1, 0.1, 0.1, -0.1],
        [0.0] * 6,
    ],
)
def test_sign_flip_equals_enumeration(row: list[float]) -> None:
    flipped = [np.dot(signs, row) for signs in itertools.product((1, -1), repeat=len(row))]
    expected = np.mean(np.abs(flipped) >= abs(sum(row)) - 1e-12)
    assert sign_flip(np.array(row)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n", [5, 6, 8, 14])
def test_smallest_p_of_n_pairs(n: int) -> None:
    assert sign_flip(1.0 + 0.1 * np.arange(n)) == pytest.approx(2 / 2**n)


def test_sign_flip_of_many_pairs_is_near_the_t_test_and_repeats_itself() -> None:
    row = np.random.default_rng(3).normal(0.2, size=100)
    assert sign_flip(row) == pytest.approx(scipy.stats.ttest_1samp(row, 0.0).pvalue, abs=0.01)
    assert sign_flip(row) == sign_flip(row)


@pytest.mark.parametrize("p", [[0.01], [0.04, 0.01, 0.03], [0.5, 0.9, 0.7], [0.01, 0.01, 0.2, 0.02]])
def test_holm_equals_statsmodels(p: list[float]) -> None:
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], rtol=1e-12)
