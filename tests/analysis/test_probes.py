"""Linear probes against scikit-learn's logistic regression."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression

from fdl.analysis import linear_probe

X, Y = load_wine(return_X_y=True)
X = X[:, :6].astype(np.float32)


@pytest.mark.medium
def test_it_is_scikit_learns():
    scaled = (X - X.mean(0)) / X.std(0)
    reference = LogisticRegression(C=1 / (0.1 * len(X)), tol=1e-8, max_iter=1000).fit(scaled, Y)
    probe = linear_probe(jnp.asarray(X).reshape(-1, 2, 3), jnp.asarray(Y), classes=3, penalty=0.1)
    logits = np.asarray(probe.logits(jnp.asarray(X)))
    np.testing.assert_allclose(jax.nn.softmax(logits), reference.predict_proba(scaled), atol=1e-3)
    np.testing.assert_allclose(probe.kernel * X.std(0)[:, None], reference.coef_.T, atol=2e-3)
    assert float(probe.gradient) < 1e-4
    assert float(probe.accuracy(jnp.asarray(X), jnp.asarray(Y))) == pytest.approx(reference.score(scaled, Y))


@pytest.mark.medium
def test_features_that_say_nothing_and_labels_that_are_none():
    rows = jnp.concatenate([jnp.asarray(X), jnp.full((len(X), 1), 0.1)], 1)  # a dead unit
    both = jnp.stack([jnp.asarray(Y), jnp.asarray(Y).at[0].set(3)])
    probes = jax.jit(jax.vmap(lambda labels: linear_probe(rows, labels, classes=3, penalty=0.1)))(both)
    assert jnp.isfinite(probes.kernel[0]).all() and not probes.kernel[0, 6].any()
    assert float(jnp.std(rows[:, 6])) > 0  # by rounding
    assert jnp.isnan(probes.kernel[1]).all() and jnp.isnan(probes.gradient[1])


def test_other_labels_are_refused():
    with pytest.raises(ValueError, match=r"rows are \[4, 2\] and labels \[3\]; expected"):
        linear_probe(jnp.ones((4, 2)), jnp.zeros(3, int), classes=2)
