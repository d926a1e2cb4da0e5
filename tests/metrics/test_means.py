"""Top-k accuracy against scikit-learn's."""

import jax
import numpy as np
import pytest
from sklearn.metrics import top_k_accuracy_score

from fdl import metrics

accuracy, mean = jax.jit(metrics.accuracy), jax.jit(metrics.mean)
top_k_accuracy = jax.jit(metrics.top_k_accuracy, static_argnames="k")

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(60, 7)).astype(np.float32)
LABELS = RNG.integers(0, 7, 60)


@pytest.mark.parametrize("k", [1, 2, 3, 7, 9])
def test_top_k_is_scikit_learns(k):
    got = top_k_accuracy(LOGITS, LABELS, k=k)
    wanted = 1.0 if k >= 7 else top_k_accuracy_score(LABELS, LOGITS, k=k, labels=np.arange(7))
    assert float(got.mean()) == pytest.approx(wanted, abs=1e-6)


def test_top_one_is_accuracy_even_with_ties():
    logits = np.asarray(RNG.integers(0, 2, (200, 4)), np.float32)
    labels = RNG.integers(0, 4, 200)
    np.testing.assert_array_equal(top_k_accuracy(logits, labels, k=1), accuracy(logits, labels))


def test_every_row_has_k_right_labels_even_with_ties():
    logits = np.asarray([[1, 1, 1, 1], [2, 0, 2, 2]], np.float32)
    for k in (1, 2, 3, 4):
        right = sum(np.asarray(top_k_accuracy(logits, np.full(2, label), k=k)) for label in range(4))
        np.testing.assert_array_equal(right, [k, k])


def test_rows_that_are_not_numbers_are_wrong():
    np.testing.assert_array_equal(top_k_accuracy(np.full((1, 3), np.nan), np.array([0]), k=3), [0.0])


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("label", [-1, 3, 200])
def test_a_label_of_no_class_is_neither_right_nor_wrong(label, k):
    logits, labels = LOGITS[:2, :3], np.array([label, 1])
    assert np.isnan(accuracy(logits, labels)).tolist() == [True, False]
    assert np.isnan(top_k_accuracy(logits, labels, k=k)).tolist() == [True, False]


def test_no_places_are_refused():
    with pytest.raises(ValueError, match="k is 0; expected at least 1"):
        top_k_accuracy(LOGITS, LABELS, k=0)


def test_means_add_up_and_leave_out_rows_of_weight_zero():
    values = np.asarray([1, 2, np.nan, 4], np.float32)
    parts = [mean(values[:2], np.ones(2)), mean(values[2:], np.asarray([0, 3], np.float32))]
    whole = jax.tree.map(lambda *leaves: sum(leaves), *parts)
    assert float(whole.value) == pytest.approx((1 + 2 + 12) / 5)
