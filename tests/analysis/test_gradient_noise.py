"""Norms and noise of gradients against each row's gradient by itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl.analysis import gradient_noise_scale, gradient_norms
from tests.analysis.problems import MATRIX, at, net, quadratic


def test_norms_are_those_of_the_gradient_by_layer():
    w = np.arange(6.0, dtype=np.float32)
    expected = MATRIX @ w
    found = gradient_norms(quadratic, at(w), jnp.asarray(MATRIX))
    assert found.keys() == {"a", "b", "all"}
    for name, part in (("a", expected[:2]), ("b", expected[2:]), ("all", expected)):
        assert float(found[name]) == pytest.approx(np.linalg.norm(part), rel=1e-5)


def test_the_noise_scale_is_its_formula_by_layer():
    loss, variables, batch = net()
    gradient = jax.jit(jax.grad(loss))
    rows = [gradient(variables, {name: a[i : i + 1] for name, a in batch.items()}) for i in range(20)]
    noise = jax.jit(lambda loss: gradient_noise_scale(loss, variables, batch, together=3), static_argnums=0)
    found = noise(loss)
    assert found.keys() == {"Layer_0/Dense_0", "Layer_1/Dense_0", "Dense_0", "all"}
    for name in found:
        part = lambda tree, name=name: tree["params"] if name == "all" else _walk(tree["params"], name)  # noqa: E731
        each = np.stack([np.concatenate([a.ravel() for a in jax.tree.leaves(part(row))]) for row in rows])
        # McCandlish et al. 2018, eq. A.2 and A.3, of batches of one row and of all.
        small, large = np.mean(np.sum(each**2, 1)), np.sum(np.mean(each, 0) ** 2)
        signal = (20 * large - small) / 19
        variance = (small - large) / (1 - 1 / 20)
        np.testing.assert_allclose(found[name][:2], [variance, signal], rtol=1e-4, atol=1e-5)
        expected = variance / signal if signal > 0 else np.nan
        np.testing.assert_allclose(found[name].scale, expected, rtol=1e-3)
    whole = lambda variables, batch: loss(variables, batch) * batch["x"].shape[0]  # noqa: E731
    np.testing.assert_allclose(noise(whole)["all"], found["all"], rtol=1e-4)


def _walk(tree, path):
    for part in path.split("/"):
        tree = tree[part]
    return tree


def linear(variables, batch):
    """A loss whose gradient is the mean of the rows."""
    return jnp.mean(batch @ variables["params"]["w"])


def test_the_estimates_are_unbiased_where_the_gradient_is_known():
    rows = jnp.array([0.5, -0.5, 0.0]) + jax.random.normal(jax.random.key(0), (4000, 8, 3)) * jnp.array(
        [1, 2, 0.5]
    )
    of = jax.jit(jax.vmap(lambda batch: gradient_noise_scale(linear, {"params": {"w": jnp.zeros(3)}}, batch)))
    found = of(rows)["all"]
    for estimates, truth in ((found.variance, 5.25), (found.signal, 0.5)):
        error = float(jnp.std(estimates)) / np.sqrt(4000)
        assert abs(float(jnp.mean(estimates)) - truth) < 4 * error < 0.2
    np.testing.assert_array_equal(jnp.isnan(found.scale), found.signal <= 0)


@pytest.mark.parametrize("batch", (jnp.ones((1, 3)), {"x": jnp.ones((4, 3)), "y": jnp.ones(3)}))
def test_too_few_rows_are_refused(batch):
    with pytest.raises(ValueError, match="rows; expected one number, 2 or more"):
        gradient_noise_scale(linear, {"params": {"w": jnp.zeros(3)}}, batch)


@pytest.mark.parametrize(
    ("loss", "variables", "said"),
    (
        (linear, {"w": jnp.zeros(3)}, r"variables have \['w'\]; expected \"params\""),
        (lambda variables, batch: batch, {"params": {}}, r"of shape \[2, 3\]; expected a scalar"),
    ),
)
def test_what_is_no_loss_of_parameters_is_refused(loss, variables, said):
    with pytest.raises(ValueError, match=said):
        gradient_norms(loss, variables, jnp.ones((2, 3)))
