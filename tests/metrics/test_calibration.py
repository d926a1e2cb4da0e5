"""Calibration against a loop over rows, and against scikit-learn's curve."""

import jax
import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from fdl import metrics

RNG = np.random.default_rng(0)
PROBABILITIES = np.asarray(RNG.dirichlet([0.5] * 4, 300), np.float32)
LABELS = RNG.integers(0, 4, 300)
RUN = jax.jit(metrics.calibration, static_argnames="bins")


@pytest.mark.parametrize("bins", [1, 4, 10, 15])
def test_is_the_loop_over_rows(bins):
    table = np.zeros((bins, 3))
    for row, label in zip(PROBABILITIES, LABELS, strict=True):
        inside = [m for m in range(bins) if np.float32(m / bins) < row.max() <= np.float32((m + 1) / bins)]
        table[inside[0]] += [1, row.max(), row.argmax() == label]
    got = RUN(PROBABILITIES, LABELS, np.ones(300), bins=bins)
    np.testing.assert_allclose(np.stack(got, axis=1), table, rtol=1e-5)
    filled = table[table[:, 0] > 0]
    error = sum(n / 300 * abs(right / n - sure / n) for n, sure, right in filled)
    assert float(got.value) == pytest.approx(error, rel=1e-4)


def test_the_curve_is_scikit_learns():
    sure = PROBABILITIES.max(axis=1)
    right = PROBABILITIES.argmax(axis=1) == LABELS
    true, said = calibration_curve(right, sure, n_bins=8)
    confidence, accuracy = RUN(PROBABILITIES, LABELS, np.ones(300), bins=8).curve
    filled = ~np.isnan(confidence)
    np.testing.assert_allclose(confidence[filled], said, rtol=1e-5)
    np.testing.assert_allclose(accuracy[filled], true, rtol=1e-5)


def test_batches_add_up_and_rows_without_weight_do_not_count():
    weight = np.asarray(RNG.integers(0, 2, 300), np.float32)
    broken = np.where(weight[:, None] > 0, PROBABILITIES, np.nan)
    parts = [RUN(broken[rows], LABELS[rows], weight[rows]) for rows in (np.s_[:100], np.s_[100:])]
    whole = jax.tree.map(lambda *leaves: sum(leaves), *parts)
    seen = weight > 0
    wanted = RUN(PROBABILITIES[seen], LABELS[seen], np.ones(seen.sum()))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), whole, wanted)


def test_a_calibrated_classifier_has_little_error_and_a_boaster_has_much():
    labels = np.array([RNG.choice(4, p=row / row.sum()) for row in PROBABILITIES.astype(float)])
    boast = np.eye(4)[PROBABILITIES.argmax(axis=1)]
    honest, loud = (float(RUN(p, labels, np.ones(300), bins=5).value) for p in (PROBABILITIES, boast))
    right = (PROBABILITIES.argmax(axis=1) == labels).mean()
    assert loud == pytest.approx(1 - right, abs=1e-6)
    assert honest < loud / 3


def test_no_bins_are_refused():
    with pytest.raises(ValueError, match="bins is 0"):
        RUN(PROBABILITIES, LABELS, np.ones(300), bins=0)
