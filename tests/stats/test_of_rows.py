"""Intervals of what is measured on rows: known cases, and how often they hold."""

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import roc_auc_score
from statsmodels.stats.proportion import proportion_confint

from fdl.stats.of_rows import area_interval, bootstrap_interval, calibration_interval, ranges_interval

RNG = np.random.default_rng(0)


def test_the_range_of_two_rates_is_of_their_exact_intervals():
    low, high = ranges_interval([[(9, 10), (1, 10)]])
    ends = [proportion_confint(hits, 10, alpha=0.025, method="beta") for hits in (9, 1)]
    assert low == pytest.approx(ends[0][0] - ends[1][1]) and high == pytest.approx(ends[0][1] - ends[1][0])
    assert ranges_interval([[(5, 10), (5, 10)]])[0] == 0


@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_the_calibration_error_is_within_its_interval(shift):
    held = 0
    for _ in range(100):
        sure = RNG.uniform(0.9, 1.0, 200)
        place = np.where(sure < 0.95, 0, 1)
        right = RNG.random(200) < sure - shift
        low, high = calibration_interval(sure, right, place)
        held += low <= shift <= high
    assert held >= 90  # of 95 or more


@pytest.mark.parametrize("apart", [0.0, 1.0, 3.0])
def test_the_area_is_within_its_interval(apart):
    true, held = scipy.stats.norm.cdf(apart / np.sqrt(2)), 0
    for _ in range(100):
        scores = np.concatenate([RNG.normal(apart, 1, 30), RNG.normal(0, 1, 40)])
        low, high = area_interval(roc_auc_score(np.repeat([1, 0], [30, 40]), scores), 30, 40)
        held += low <= true <= high
    assert held >= 88  # of about 95


def test_an_area_of_one_is_not_taken_for_certain():
    low, high = area_interval(1.0, 30, 30)
    assert high == 1 and 0.9 < low < 0.95
    assert area_interval(0.0, 30, 30) == pytest.approx((1 - high, 1 - low))
    assert area_interval(0.5, 10, 10)[0] == pytest.approx(1 - area_interval(0.5, 10, 10)[1])


def test_the_bootstrap_of_a_mean_is_the_normal_interval():
    values = RNG.normal(3, 2, 400)
    low, high = bootstrap_interval(lambda index: float(values[index].mean()), 400)
    margin = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - margin, abs=0.03)
    assert high == pytest.approx(values.mean() + margin, abs=0.03)


def test_a_bin_without_an_error_is_not_taken_for_certain():
    low, high = calibration_interval(np.full(60, 0.97), np.ones(60), np.zeros(60, int))
    assert low == 0 and 0.05 < high < 0.12
