"""The proximal step against scikit-learn's Lasso, whose minimum is its fixed point."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.linear_model import Lasso

from fdl.optim.proximal_l1 import proximal_l1

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 8)).astype(np.float32)
Y = (X[:, :3] @ [2.0, -1.0, 0.3] + 0.1 * RNG.normal(size=40)).astype(np.float32)


def descended(factor, rate=0.1, steps=2000):
    optimizer = optax.chain(optax.sgd(rate), proximal_l1(factor, learning_rate=rate))
    params = {"Dense_0": {"kernel": jnp.zeros((8, 1)), "bias": jnp.zeros(1)}}

    def loss(params):
        layer = params["Dense_0"]
        return 0.5 * jnp.mean(jnp.square(X @ layer["kernel"][:, 0] + layer["bias"] - Y))

    def step(_, carry):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    return jax.lax.fori_loop(0, steps, step, (params, optimizer.init(params)))[0]["Dense_0"]


@pytest.mark.parametrize("factor", [0.02, 0.2, 1.0])
def test_comes_to_rest_at_the_lasso(factor):
    lasso = Lasso(alpha=factor, tol=1e-10, max_iter=100_000).fit(X.astype(float), Y.astype(float))
    got = jax.jit(descended)(factor)
    np.testing.assert_allclose(got["kernel"][:, 0], lasso.coef_, atol=2e-5)
    np.testing.assert_allclose(got["bias"], [lasso.intercept_], atol=2e-5)
    np.testing.assert_array_equal(np.asarray(got["kernel"][:, 0]) == 0, lasso.coef_ == 0)
    assert (lasso.coef_ == 0).sum() >= 1


def test_one_step_by_hand():
    params = {"kernel": jnp.array([[1.0, -1.0, 0.05, -0.05]]), "bias": jnp.array([0.05])}
    optimizer = proximal_l1(0.2, learning_rate=0.5)
    updates = jax.tree.map(jnp.zeros_like, params)
    changed, _ = optimizer.update(updates, optimizer.init(params), params)
    new = optax.apply_updates(params, changed)
    np.testing.assert_allclose(new["kernel"], [[0.9, -0.9, 0.0, 0.0]], rtol=1e-6)
    np.testing.assert_array_equal(new["bias"], params["bias"])


def test_a_schedule_is_followed_from_its_first_step():
    optimizer = proximal_l1(1.0, learning_rate=lambda count: 0.1 * (count + 1))
    params = {"kernel": jnp.array([[1.0]])}
    state, zeros = optimizer.init(params), {"kernel": jnp.zeros((1, 1))}
    for wanted in (0.9, 0.7, 0.4, 0.0):
        changed, state = optimizer.update(zeros, state, params)
        params = optax.apply_updates(params, changed)
        np.testing.assert_allclose(params["kernel"], [[wanted]], atol=1e-6)


def test_factor_and_rate_may_be_vmapped():
    factors, rates = jnp.array([0.02, 0.2]), jnp.array([0.1, 0.05])
    together = jax.jit(jax.vmap(lambda f, r: descended(f, r, steps=5)))(factors, rates)
    alone = descended(0.2, 0.05, steps=5)
    np.testing.assert_allclose(together["kernel"][1], alone["kernel"], rtol=1e-5, atol=1e-7)


def test_without_parameters_it_says_so():
    optimizer = proximal_l1(1.0, learning_rate=0.1)
    with pytest.raises(ValueError, match="proximal_l1 got no parameters"):
        optimizer.update({}, optimizer.init({}))
