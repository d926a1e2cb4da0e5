"""Neighbours in a bank vote as scikit-learn's do."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl.data.datasets.tables import digits
from fdl.tasks.neighbours import neighbour_labels

DIGITS = digits()


def known(classes=10):
    """Features and labels of the bank, then of the queries."""
    pairs = [(np.array(part["x"]), np.array(part["y"]) % classes) for part in (DIGITS.train, DIGITS.test)]
    return *pairs[0], *pairs[1]


def fitted(bank, labels, k):
    from sklearn.neighbors import KNeighborsClassifier

    # Doubles, in which rounding makes no ties.
    return KNeighborsClassifier(k, algorithm="brute", metric="cosine").fit(bank.astype(np.float64), labels)


@pytest.mark.parametrize("k", [1, 5, 21])
def test_of_two_labels_the_majority_wins_as_in_scikit_learn(k):
    bank, labels, queries, _ = known(2)
    assert len(queries) > 256  # more than are compared together
    got = jax.jit(neighbour_labels, static_argnames="k")(queries, bank, labels, k=k)
    np.testing.assert_array_equal(got, fitted(bank, labels, k).predict(queries.astype(np.float64)))


@pytest.mark.parametrize("k", [4, 10])
def test_of_equally_many_votes_the_nearest_voters_label_wins(k):
    bank, labels, queries, own = known()
    near = fitted(bank, labels, k).kneighbors(queries.astype(np.float64), return_distance=False)
    # `Counter` keeps what it met first before what has as many.
    expected = [collections.Counter(labels[row]).most_common(1)[0][0] for row in near]
    got = neighbour_labels(jnp.asarray(queries), jnp.asarray(bank), jnp.asarray(labels), k=k)
    np.testing.assert_array_equal(got, expected)
    assert np.mean(np.asarray(got) == own) > 0.9


def test_lengths_do_not_matter_and_a_whole_bank_may_vote():
    bank = jnp.array([[1.0, 0.0], [0.0, 9.0], [0.1, 0.0], [0.0, -1.0]])
    queries, labels = jnp.array([[3.0, 1.0], [1.0, 4.0]]), jnp.array([5, 2, 5, 7])
    np.testing.assert_array_equal(neighbour_labels(queries, bank, labels, k=1), [5, 2])
    np.testing.assert_array_equal(neighbour_labels(queries, bank, labels, k=4), [5, 5])


@pytest.mark.parametrize(
    ("shapes", "k", "message"),
    [
        (((2, 3), (4, 3), (4,)), 0, "k is 0; expected at least 1"),
        (((2, 3), (4, 3), (4,)), 5, "k is 5; expected 1 to 4, the rows of the bank"),
        (((2, 3), (4, 2), (4,)), 1, r"\[\[2, 3\], \[4, 2\], \[4\]\]; expected \[Q, D\], \[N, D\], \[N\]"),
        (((2, 3), (4, 3), (3,)), 1, "expected .*"),
        (((3,), (4, 3), (4,)), 1, "expected .*"),
    ],
)
def test_what_does_not_fit_is_refused(shapes, k, message):
    features, bank = (jnp.ones(shape) for shape in shapes[:2])
    with pytest.raises(ValueError, match=message):
        neighbour_labels(features, bank, jnp.zeros(shapes[2], jnp.int32), k=k)
