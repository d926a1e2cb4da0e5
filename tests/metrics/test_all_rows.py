"""Functions of all rows of a split, and sums by class, against scikit-learn and NumPy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score, roc_auc_score

from fdl import losses, metrics

RNG = np.random.default_rng(0)
SCORES = np.asarray(RNG.integers(0, 12, 101) / 8, np.float32)  # with ties
LABELS = RNG.integers(0, 2, 101)
WEIGHT = np.asarray(RNG.integers(0, 3, 101), np.float32)
CONFUSION = jax.jit(metrics.confusion, static_argnames="classes")
CUTS = [(0, 101), (0, 1, 40, 41, 101)]


def parts(cuts, of, rows):
    cut = lambda leaf, a, b: jnp.asarray(leaf[a:b])  # noqa: E731
    pairs = list(itertools.pairwise(cuts))
    pieces = [jax.tree.map(lambda leaf, a=a, b=b: cut(leaf, a, b), rows) for a, b in pairs]
    weights = [cut(WEIGHT, a, b) for a, b in pairs]
    return [metrics.all_rows(of, piece, weight) for piece, weight in zip(pieces, weights, strict=True)]


EXPECTED = [
    (metrics.largest_value, SCORES, SCORES[WEIGHT > 0].max()),
    (metrics.area_under_roc, (SCORES, LABELS), roc_auc_score(LABELS, SCORES, sample_weight=WEIGHT)),
    *(
        (metrics.quantile(q), SCORES, np.quantile(SCORES, q, weights=WEIGHT, method="inverted_cdf"))
        for q in (0.0, 0.1, 0.5, 0.9, 1.0)
    ),
]


@pytest.mark.parametrize(("of", "rows", "expected"), EXPECTED, ids=lambda one: getattr(one, "__name__", ""))
@pytest.mark.parametrize("cuts", CUTS)
def test_the_value_of_all_parts_is_that_of_the_split(of, rows, expected, cuts):
    joined = metrics.joined_rows(parts(cuts, of, rows))
    assert float(joined.value) == pytest.approx(float(expected), rel=1e-6)
    assert float(jax.jit(lambda one: one.value)(joined)) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize(("of", "rows", "expected"), EXPECTED, ids=lambda one: getattr(one, "__name__", ""))
def test_what_fills_a_batch_up_does_not_count_whatever_it_holds(of, rows, expected):
    fill = lambda leaf: np.where(WEIGHT > 0, leaf, np.nan if leaf.dtype == np.float32 else 7)  # noqa: E731
    assert float(of(jax.tree.map(fill, rows), WEIGHT)) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize(
    ("of", "rows", "weight"),
    [
        (metrics.largest_value, np.array([1.0, np.nan]), np.ones(2)),
        (metrics.largest_value, np.ones(2), np.zeros(2)),
        (metrics.quantile(0.5), np.array([1.0, np.nan]), np.ones(2)),
        (metrics.quantile(0.5), np.ones(2), np.zeros(2)),
        (metrics.area_under_roc, (np.array([0.1, np.nan]), np.array([0, 1])), np.ones(2)),
        (metrics.area_under_roc, (np.array([0.1, 0.2]), np.array([0, 2])), np.ones(2)),
        (metrics.area_under_roc, (np.array([0.1, 0.2]), np.array([1, 1])), np.ones(2)),
        (metrics.area_under_roc, (np.array([0.1, 0.2]), np.array([1, 0])), np.array([1.0, 0.0])),
    ],
)
def test_what_cannot_be_judged_is_no_number(of, rows, weight):
    assert np.isnan(of(rows, weight))


@pytest.mark.parametrize(("q", "rows"), [(0.3, 50), (0.54, 100), (0.6, 50), (7 / 360, 360), (7 / 13, 13)])
def test_a_share_that_rows_reach_exactly_is_reached(q, rows):
    values = RNG.permutation(np.arange(1, rows + 1, dtype=np.float32))
    found = float(metrics.quantile(q)(jnp.asarray(values), jnp.ones(rows)))
    assert found == round(q * rows) == np.quantile(values, q, method="inverted_cdf")


def test_the_same_quantile_is_the_same_function():
    assert metrics.quantile(0.5) == metrics.quantile(0.5) != metrics.quantile(0.25)
    with pytest.raises(ValueError, match=r"q is 1.5; expected from 0 to 1"):
        metrics.quantile(1.5)


def test_a_confusion_matrix_and_macro_f1_are_scikit_learns():
    said, true = RNG.integers(0, 4, 300), RNG.integers(0, 4, 300)
    weight = np.asarray(RNG.integers(0, 3, 300), np.float32)
    cut = [CONFUSION(said[a:b], true[a:b], weight[a:b], classes=5) for a, b in ((0, 90), (90, 300))]
    both = jax.tree.map(jnp.add, *cut)
    labels = range(5)
    np.testing.assert_allclose(both.counts, confusion_matrix(true, said, labels=labels, sample_weight=weight))
    assert float(both.value) == pytest.approx(f1_score(true, said, average="macro", sample_weight=weight))


@pytest.mark.parametrize(("said", "true"), [(0, -1), (0, 2), (2, 0), (-1, 0)])
def test_a_class_that_is_none_cannot_be_counted(said, true):
    made = CONFUSION(np.array([said, 0]), np.array([true, 0]), classes=2)
    assert np.isnan(made.counts).all() and np.isnan(made.value)
    filled = CONFUSION(np.array([said, 0]), np.array([true, 0]), np.array([0.0, 1.0]), classes=2)
    assert filled.counts.tolist() == [[1, 0], [0, 0]] and float(filled.value) == 1


@pytest.mark.parametrize(
    ("rows", "weight"),
    [
        (1.0, None), ((), None), ((np.ones(3), np.ones(2)), None), (np.ones(3), np.ones(2)),
        (np.ones(3), np.ones((3, 1))),
    ],
)  # fmt: skip
def test_rows_that_are_none_are_one_line(rows, weight):
    with pytest.raises(ValueError, match=r"have shapes .*; expected \[B, \.\.\.\] of each, with one B"):
        metrics.all_rows(metrics.largest_value, rows, weight)


ONE, COLUMN, CLASSES = jnp.array([1, 0, 1]), jnp.array([[1], [0], [1]]), jnp.eye(3)


@pytest.mark.parametrize(
    "metric",
    [
        lambda: metrics.largest_value(COLUMN, ONE),
        lambda: metrics.quantile(0.5)(COLUMN, ONE),
        lambda: metrics.area_under_roc((COLUMN, ONE), ONE),
        lambda: metrics.area_under_roc((ONE, COLUMN), ONE),
        lambda: metrics.confusion(COLUMN, ONE, classes=2),
        lambda: metrics.confusion(ONE, ONE, COLUMN, classes=2),
        lambda: metrics.mean(COLUMN, ONE),
        lambda: metrics.accuracy(CLASSES, COLUMN),
        lambda: losses.cross_entropy(CLASSES, COLUMN),
        lambda: metrics.top_k_accuracy(CLASSES, COLUMN),
        lambda: metrics.calibration(CLASSES, ONE, COLUMN),
        lambda: metrics.calibration(CLASSES, COLUMN, ONE),
        lambda: metrics.overlap(COLUMN, ONE, ONE, classes=2),
        lambda: metrics.overlap(ONE, ONE, COLUMN, classes=2),
    ],
)
def test_a_column_is_not_spread_over_the_rows(metric):
    """As a model of one output gives it, `[B, 1]`: spread to `[B, B]`, it was another number, in silence."""
    with pytest.raises(ValueError, match=r"shapes?\b.* \[3, 1\].*; expected"):
        metric()
