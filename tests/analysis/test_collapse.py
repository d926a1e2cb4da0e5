"""Neural collapse against its formulas in NumPy, and at collapse itself."""

import jax.numpy as jnp
import numpy as np
import pytest

from fdl.analysis import neural_collapse

DRAWS = np.random.default_rng(0)


@pytest.mark.parametrize("width", (7, 2))  # also fewer features than classes
def test_it_is_its_formulas(width):
    labels = np.array([0] * 9 + [1] * 5 + [2] * 6 + [3] * 4)  # classes of other sizes
    features = DRAWS.normal(size=(24, width)) + 2 * DRAWS.normal(size=(4, width))[labels] + 5
    kernel, bias = DRAWS.normal(size=(width, 4)), DRAWS.normal(size=4)
    means = np.stack([features[labels == c].mean(0) for c in range(4)])
    between = means - means.mean(0)
    within = (features - means[labels]).T @ (features - means[labels]) / 24
    norms = np.linalg.norm(between, axis=1)
    cosines = between @ between.T / np.outer(norms, norms)
    pairs = cosines[np.triu_indices(4, 1)]
    apart = np.linalg.norm(features[:, None] - means, axis=-1)
    expected = [
        np.trace(within @ np.linalg.pinv(between.T @ between / 4, rcond=1e-10)) / 4,
        norms.std() / norms.mean(),
        pairs.std(),
        np.abs(pairs + 1 / 3).mean(),
        np.linalg.norm(kernel.T / np.linalg.norm(kernel) - between / np.linalg.norm(between)) ** 2,
        np.mean(np.argmax(features @ kernel + bias, 1) != np.argmin(apart, 1)),
    ]
    arrays = (jnp.asarray(array, jnp.float32) for array in (features, kernel, bias))
    features, kernel, bias = arrays
    found = neural_collapse(features, jnp.asarray(labels), kernel, bias)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_at_collapse_all_are_0():
    rotation = np.linalg.qr(DRAWS.normal(size=(6, 6)))[0][:, :4]
    vertices = (np.eye(4) - 1 / 4) @ rotation.T
    labels = jnp.arange(12) % 4
    rows = jnp.asarray(3 * vertices + 1, jnp.float32)[labels]
    bias = -jnp.asarray(vertices @ np.ones(6), jnp.float32)
    found = neural_collapse(rows, labels, jnp.asarray(vertices.T, jnp.float32), bias)
    np.testing.assert_allclose(found, 0, atol=1e-5)


@pytest.mark.parametrize("labels", ([0, 0, 1, 1], [0, 1, 2, 3], [0, 1, 2, -1]))
def test_a_class_without_rows_and_a_row_without_a_class_leave_nothing(labels):
    rows = jnp.asarray(DRAWS.normal(size=(4, 5)), jnp.float32)
    assert np.isnan(neural_collapse(rows, jnp.asarray(labels), rows[:3].T)).all()


def test_shapes_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match=r"the kernel \[3, 5\]; expected \[N, F\], \[N\] and \[F, C\]"):
        neural_collapse(jnp.ones((4, 5)), jnp.zeros(4, int), jnp.ones((3, 5)))
