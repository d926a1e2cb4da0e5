"""LIME's regression against scikit-learn's and the package lime, on the same perturbations."""

import jax
import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import pairwise_distances

from fdl import analysis
from tests.analysis.nets import BACKGROUND, ROWS, TABLE, TARGET, VARIABLES, outputs

KEY = jax.random.key(7)
KNOWN = np.asarray(jax.random.bernoulli(KEY, 0.5, (200, 4)).at[0].set(True))
DISTANCE = pairwise_distances(KNOWN.astype(float), KNOWN[:1].astype(float), metric="cosine").ravel()


def predicted(row):
    """The chosen output of each perturbation, by hand."""
    background, own, target = np.asarray(BACKGROUND), np.asarray(ROWS[row]), int(TARGET[row])
    found = [np.asarray(outputs(VARIABLES, np.where(one, own, background))) for one in KNOWN]
    return np.array([one[:, target].mean() for one in found])


def kernel(distance, width):
    return np.sqrt(np.exp(-(distance**2) / width**2))


@pytest.mark.parametrize(("width", "ridge"), [(0.25, 1.0), (0.7, 0.01)])
def test_is_scikit_learns_weighted_ridge_regression(width, ridge):
    found = analysis.lime(
        TABLE.apply, VARIABLES, ROWS, TARGET, BACKGROUND, KEY, samples=200, width=width, ridge=ridge
    )
    for row in (0, 3):
        model = Ridge(alpha=ridge).fit(KNOWN, predicted(row), sample_weight=kernel(DISTANCE, width))
        np.testing.assert_allclose(found[row], model.coef_, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_agrees_with_the_package_lime():
    base = pytest.importorskip("lime.lime_base", reason="lime is not installed: CONTRIBUTING.md says how")
    found = analysis.lime(TABLE.apply, VARIABLES, ROWS, TARGET, BACKGROUND, KEY, samples=200)
    explainer = base.LimeBase(lambda distance: kernel(distance, 0.25))
    for row in (0, 3):
        labels = predicted(row)[:, None]
        _, pairs, *_ = explainer.explain_instance_with_data(
            KNOWN.astype(float), labels, DISTANCE, 0, num_features=4, feature_selection="none"
        )
        theirs = dict(pairs)
        np.testing.assert_allclose(found[row], [theirs[one] for one in range(4)], rtol=1e-3, atol=1e-5)
