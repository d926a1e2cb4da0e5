"""The risk-coverage curve against a loop, with ties against the mean over their orders."""

import itertools

import numpy as np
import pytest

from fdl import metrics


def test_the_curve_is_the_loop_over_thresholds():
    rng = np.random.default_rng(0)
    sure, wrong = rng.random(50), rng.integers(0, 2, 50)
    found = metrics.risk_coverage(sure, wrong)
    order = np.argsort(-sure)
    risks = [wrong[order][:count].mean() for count in range(1, 51)]
    np.testing.assert_allclose(found.risk, risks)
    np.testing.assert_allclose(found.coverage, np.arange(1, 51) / 50)
    assert found.area == pytest.approx(np.mean(risks))


def test_equal_confidences_have_one_point_and_the_mean_over_their_orders():
    found = metrics.risk_coverage([0.5, 0.5, 0.5, 0.9], [1, 0, 0, 1])
    assert found.coverage.tolist() == [0.25, 1.0] and found.risk == pytest.approx([1.0, 0.5])
    orders = [np.cumsum([1, *one]) / np.arange(1, 5) for one in itertools.permutations([1, 0, 0])]
    assert found.area == pytest.approx(np.mean(orders))


@pytest.mark.parametrize(("sure", "wrong"), [([0.5], [1, 0]), ([], []), ([float("nan")], [1])])
def test_what_has_no_curve_is_refused(sure, wrong):
    with pytest.raises(ValueError, match="expected"):
        metrics.risk_coverage(sure, wrong)
