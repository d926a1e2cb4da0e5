"""Stochastic depth: whole rows, at the rate, with the mean kept."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from fdl.models.drop_path import DropPath

X = jax.random.normal(jax.random.key(0), (500, 3, 4))


def drop(rate, key, x=X) -> Any:
    return DropPath(rate).apply({}, x, True, rngs={"dropout": key})


@pytest.mark.parametrize("rate", [0.0, 0, 0.3, jnp.float32(0.3)])
def test_evaluation_is_the_identity_and_needs_no_key(rate):
    assert DropPath(rate).apply({}, X, False) is X


def test_a_python_zero_draws_nothing_and_a_traced_one_gives_the_input():
    assert DropPath(0.0).apply({}, X, True) is X
    np.testing.assert_array_equal(jax.jit(drop)(0.0, jax.random.key(1)), X)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_rows_are_dropped_whole_at_the_rate_and_the_rest_is_scaled(rate):
    out = np.asarray(jax.jit(drop)(rate, jax.random.key(2)))
    dropped = (out == 0).all(axis=(1, 2))
    assert stats.binomtest(int(dropped.sum()), len(X), rate).pvalue > 1e-3
    np.testing.assert_allclose(out[~dropped], np.asarray(X)[~dropped] / (1 - rate), rtol=1e-6)


def test_rate_one_gives_zeros_and_zero_gradients():
    np.testing.assert_array_equal(jax.jit(drop)(1.0, jax.random.key(1)), np.zeros_like(X))
    gradient = jax.grad(lambda x: jax.jit(drop)(1.0, jax.random.key(1), x).sum())(X)
    np.testing.assert_array_equal(gradient, np.zeros_like(X))


def test_the_mean_over_keys_is_the_input():
    keys = jax.random.split(jax.random.key(3), 4000)
    means = jnp.mean(jax.vmap(lambda key: drop(0.3, key, X[:4]))(keys), axis=0)
    error = np.abs(np.asarray(X[:4])) * np.sqrt(0.3 / 0.7 / 4000)
    assert (np.abs(means - X[:4]) < 5 * error + 1e-6).all()


def test_masks_are_a_function_of_the_key_and_traced_rates_agree():
    same = [np.asarray(drop(0.5, jax.random.key(k)) == 0) for k in (3, 3, 4)]
    np.testing.assert_array_equal(same[0], same[1])
    assert (same[0] != same[2]).any()
    traced = jax.jit(drop)(jnp.float32(0.5), jax.random.key(3))
    np.testing.assert_allclose(traced, drop(0.5, jax.random.key(3)), rtol=1e-6)


@pytest.mark.parametrize("rate", [-0.1, 1.5])
def test_no_probability_is_refused(rate):
    with pytest.raises(ValueError, match=f"rate is {rate}; expected from 0 to 1"):
        drop(rate, jax.random.key(0))
