"""Intersection over union against sets of places, and against scikit-learn's Jaccard index."""

import jax
import numpy as np
import pytest
from sklearn.metrics import jaccard_score

from fdl import metrics

overlap = jax.jit(metrics.overlap, static_argnames="classes")

RNG = np.random.default_rng(0)
SAID, TRUE = RNG.integers(0, 4, (6, 5, 7)), RNG.integers(0, 4, (6, 5, 7))


def places(labels, wanted):
    return {tuple(place) for place in np.argwhere(labels == wanted)}


@pytest.mark.parametrize("classes", [4, 6])
def test_shares_are_those_of_sets(classes):
    got = overlap(SAID, TRUE, np.ones(SAID.shape), classes=classes)
    shares = []
    for label in range(4):
        said, true = places(SAID, label), places(TRUE, label)
        shares.append(len(said & true) / len(said | true))
    np.testing.assert_allclose(got.by_class[:4], shares, rtol=1e-6)
    assert np.isnan(got.by_class[4:]).all()
    assert float(got.value) == pytest.approx(np.mean(shares), rel=1e-6)
    assert float(got.value) == pytest.approx(
        jaccard_score(TRUE.ravel(), SAID.ravel(), average="macro"), rel=1e-6
    )


def test_batches_add_up_and_places_without_weight_do_not_count():
    weight = RNG.integers(0, 2, SAID.shape)
    unlabelled = np.where(weight > 0, TRUE, -1)
    halves = [
        overlap(SAID[rows], unlabelled[rows], weight[rows], classes=4) for rows in (np.s_[:2], np.s_[2:])
    ]
    whole = jax.tree.map(lambda *leaves: sum(leaves), *halves)
    seen = weight > 0
    wanted = jaccard_score(TRUE[seen], SAID[seen], average=None)
    np.testing.assert_allclose(whole.by_class, wanted, rtol=1e-6)


@pytest.mark.parametrize("label", [-1, 4])
def test_a_label_of_no_class_makes_all_not_a_number_unless_its_weight_is_zero(label):
    true, weight = TRUE.copy(), np.ones(TRUE.shape)
    true[0, 0, 0] = label
    assert np.isnan(overlap(SAID, true, weight, classes=4).value)
    weight[0, 0, 0] = 0
    assert np.isfinite(overlap(SAID, true, weight, classes=4).value)
