"""Canonical correlations and linear regression against SciPy and scikit-learn."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from sklearn.linear_model import LinearRegression

from fdl.analysis import cca, linear_fit

RANDOM = np.random.default_rng(0)
A = RANDOM.normal(size=(60, 5)).astype(np.float32) * np.array([9, 3, 1, 0.3, 0.1], np.float32) + 2
B = np.concatenate([A[:, :2] + RANDOM.normal(size=(60, 2)), RANDOM.normal(size=(60, 1))], 1).astype(
    np.float32
)
LEFT, RIGHT = jnp.asarray(A), jnp.asarray(B)


def test_cca_is_by_the_angles_between_what_the_columns_span() -> None:
    angles = scipy.linalg.subspace_angles(A - A.mean(0), B - B.mean(0))
    np.testing.assert_allclose(cca(LEFT, RIGHT), np.mean(np.cos(angles) ** 2), atol=1e-5)
    np.testing.assert_allclose(cca(RIGHT, LEFT), cca(LEFT, RIGHT), atol=1e-6)


def test_regression_is_scikit_learns() -> None:
    score = LinearRegression().fit(B, A).score(B, A)
    residual = A - LinearRegression().fit(B, A).predict(B)
    wanted = 1 - np.sum(residual**2) / np.sum((A - A.mean(0)) ** 2)
    assert abs(wanted - score) > 1e-3  # scikit-learn's score weighs all columns alike
    np.testing.assert_allclose(linear_fit(LEFT, RIGHT), wanted, atol=1e-5)
    assert linear_fit(LEFT, RIGHT[:, 1:]) < linear_fit(RIGHT[:, 1:], LEFT) - 0.3


@pytest.mark.parametrize("similarity", [cca, linear_fit])
def test_a_feature_that_repeats_or_never_changes_adds_nothing(similarity) -> None:
    more = jnp.concatenate([RIGHT, RIGHT[:, :1], jnp.ones((60, 1))], axis=1)
    np.testing.assert_allclose(similarity(LEFT, more), similarity(LEFT, RIGHT), atol=1e-5)
    assert jnp.isnan(similarity(jnp.ones((60, 2)), RIGHT))


@pytest.mark.parametrize("similarity", [cca, linear_fit])
def test_other_rows_are_refused(similarity) -> None:
    with pytest.raises(ValueError, match="of the same inputs"):
        similarity(LEFT, RIGHT[1:])
