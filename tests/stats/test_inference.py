"""Interval, permutation test and correction against SciPy, statsmodels, enumeration and simulation."""

import itertools

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.multitest import multipletests

from fdl.stats import holm, interval, sign_flip
from fdl.stats.inference import _counted, _sampled, equivalence_interval, mean_test

EXPERIMENTS = 2_000


def null_differences(kind: str, n: int, experiments: int = EXPERIMENTS) -> np.ndarray:
    """Differences `[experiments, n]` of mean 0."""
    rng = np.random.default_rng(n)
    shape = (experiments, n)
    match kind:
        case "normal":
            return rng.normal(size=shape)
        case "skewed":
            return rng.gamma(4.0, size=shape) - 4.0
        case "exponential":
            return rng.exponential(size=shape) - 1.0
        case "two values":
            return 1.0 * (rng.random(shape) < 0.3) - 0.3
        case _:  # two runs each of skewed metrics
            return rng.gamma(2.0, size=shape) - rng.gamma(2.0, size=shape)


@pytest.mark.parametrize("kind", ["normal", "skewed", "exponential", "two values", "heavy-tailed"])
@pytest.mark.parametrize("n", [5, 10, 16])
def test_intervals_cover_as_they_should(kind: str, n: int) -> None:
    """Or more; less, by chance, in no more than three standard errors. Differences that are all equal
    have none, which is counted as covering."""
    rows = null_differences(kind, n, 600)
    for (low, high), level in ((interval(rows), 0.95), (interval(rows, level=0.9), 0.9)):
        missed = np.mean((low > 0) | (high < 0))
        assert missed <= 1 - level + 3 * np.sqrt(level * (1 - level) / len(rows))
    low, high = equivalence_interval(rows)
    assert max(np.mean(low > 0), np.mean(high < 0)) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / len(rows))


@pytest.mark.parametrize("n", [5, 19, 20, 30])
def test_intervals_are_nested_and_no_narrower_than_students(n: int) -> None:
    rows = null_differences("skewed", n, 20)
    wide, narrow = interval(rows), equivalence_interval(rows)
    assert (wide[0] <= narrow[0]).all() and (narrow[1] <= wide[1]).all()
    for (low, high), level in ((wide, 0.95), (narrow, 0.9)):
        students = scipy.stats.ttest_1samp(rows, 0.0, axis=-1).confidence_interval(level)
        assert (low <= students.low + 1e-12).all() and (high >= students.high - 1e-12).all()


@pytest.mark.parametrize("n", [5, 8, 16, 30])
@pytest.mark.parametrize("shift", [0.3, 1.0])
def test_the_test_of_the_mean_goes_with_the_interval(n: int, shift: float) -> None:
    """At the level 1 - p the interval ends just at the mean in question."""
    row = shift + null_differences("normal", n, 1)[0]
    for edge in (0.0, 0.1):
        p = float(mean_test(row, edge))
        if p < 1:
            low, high = interval(row, level=1 - p)
            assert min(abs(low - edge), abs(high - edge)) < 1e-6


@pytest.mark.parametrize("n", [8, 10, 12])
@pytest.mark.parametrize("kind", ["normal", "heavy-tailed"])
def test_sign_flip_rejects_3_to_7_percent_of_null_ablations(kind: str, n: int) -> None:
    assert 0.03 <= np.mean(sign_flip(null_differences(kind, n)) < 0.05) <= 0.07


@pytest.mark.slow
@pytest.mark.parametrize("n", [14, 16, 32])
def test_sign_flip_rejects_3_to_7_percent_with_more_pairs(n: int) -> None:
    assert 0.03 <= np.mean(sign_flip(null_differences("normal", n)) < 0.05) <= 0.07


@pytest.mark.parametrize("n", [2, 5, 10, 30])
def test_equal_differences_have_no_interval(n: int) -> None:
    for row in (np.full(n, 0.25), np.zeros(n)):
        assert np.isnan([*interval(row), *equivalence_interval(row)]).all()
        assert mean_test(row) == 1


@pytest.mark.parametrize("n", [10, 16])
def test_one_row_that_does_not_vary_leaves_the_others_alone(n: int) -> None:
    rows = np.random.default_rng(0).normal(size=(3, n))
    rows[1] = 0.3
    low, high = interval(rows)
    for i in range(3):
        alone = interval(rows[i])
        np.testing.assert_allclose((low[i], high[i]), alone, rtol=1e-6)


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


@pytest.mark.parametrize("n", [5, 6, 8, 14, 16, 30])
def test_smallest_p_of_n_pairs(n: int) -> None:
    assert sign_flip(1.0 + 0.1 * np.arange(n)) == pytest.approx(2 / 2**n)


@pytest.mark.parametrize(("n", "falls"), [(16, 1), (29, 4), (30, 9), (40, 4), (60, 10), (100, 50), (100, 0)])
def test_sign_flip_of_equal_sizes_is_the_sign_test(n: int, falls: int) -> None:
    """Exact to 30 pairs, and from there on to a few per cent even where p is 1e-30."""
    row = np.where(np.arange(n) < falls, -0.3, 0.3)
    expected = scipy.stats.binomtest(falls, n).pvalue
    assert sign_flip(row) == pytest.approx(expected, rel=1e-9 if n <= 30 else 0.05)
    assert sign_flip(row) == sign_flip(row)


def test_sampled_flips_agree_with_counted_ones() -> None:
    rng = np.random.default_rng(0)
    for shift in (0.1, 0.5, 1.0, 2.0):
        sizes = np.abs(rng.normal(shift, size=24))
        total = 0.9 * sizes.sum() * min(shift, 1.0)
        assert _sampled(sizes, total) == pytest.approx(_counted(sizes, total), rel=0.05)


def test_sixteen_pairs_are_enough_for_a_thousand_arms() -> None:
    row = 1.0 + 0.1 * np.random.default_rng(0).normal(size=16)
    assert holm([float(sign_flip(row))] * 1_000)[0] < 0.05
    assert holm([float(mean_test(row))] * 1_000)[0] < 0.05


@pytest.mark.parametrize("p", [[0.01], [0.04, 0.01, 0.03], [0.5, 0.9, 0.7], [0.01, 0.01, 0.2, 0.02]])
def test_holm_equals_statsmodels(p: list[float]) -> None:
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], rtol=1e-12)


def test_a_row_has_the_bits_that_it_has_alone() -> None:
    rows = np.random.default_rng(0).normal(0.3, size=(20, 12))
    for function in (mean_test, sign_flip, interval, equivalence_interval):
        alone = np.stack([np.asarray(function(row)) for row in rows], axis=-1)
        assert np.array_equal(np.asarray(function(rows)), alone)
