from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl.models import Dropout

X = jax.random.normal(jax.random.key(0), (64, 512))


def drop(rate, key, x=X) -> Any:
    return Dropout(rate).apply({}, x, True, rngs={"dropout": key})


@pytest.mark.parametrize("rate", [0.0, 0, 0.3, jnp.float32(0.3)])
def test_evaluation_is_the_identity_and_needs_no_key(rate):
    assert Dropout(rate).apply({}, X, False) is X


def test_a_python_zero_draws_nothing():
    assert Dropout(0.0).apply({}, X, True) is X


def test_a_traced_zero_gives_the_input_exactly():
    np.testing.assert_array_equal(jax.jit(drop)(0.0, jax.random.key(1)), X)


@pytest.mark.parametrize("traced", [False, True])
def test_rate_one_gives_zeros_and_zero_gradients(traced):
    function = jax.jit(drop) if traced else drop
    np.testing.assert_array_equal(function(1.0, jax.random.key(1)), np.zeros_like(X))
    gradient = jax.grad(lambda x: function(1.0, jax.random.key(1), x).sum())(X)
    np.testing.assert_array_equal(gradient, np.zeros_like(X))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_share_of_zeros_is_the_rate_and_the_rest_is_scaled(rate):
    out = np.asarray(drop(rate, jax.random.key(2)))
    zero = out == 0
    error = np.sqrt(rate * (1 - rate) / X.size)
    assert abs(zero.mean() - rate) < 4 * error
    np.testing.assert_allclose(out[~zero], np.asarray(X)[~zero] / (1 - rate), rtol=1e-6)


def test_masks_are_a_function_of_the_key():
    first, again, other = (np.asarray(drop(0.5, jax.random.key(k))) for k in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert 0.4 < np.mean((first == 0) != (other == 0)) < 0.6


def test_rates_share_one_program_and_agree_with_python_numbers():
    traces = 0

    @jax.jit
    def traced(rate, key):
        nonlocal traces
        traces += 1
        return drop(rate, key)

    for rate in (0.0, 0.2, 0.7, 1.0):
        np.testing.assert_allclose(traced(rate, jax.random.key(5)), drop(rate, jax.random.key(5)), rtol=1e-6)
    assert traces == 1


def test_vmap_over_rates():
    rates = jnp.array([0.0, 0.5, 1.0])
    together = jax.vmap(drop, (0, None))(rates, jax.random.key(6))
    for rate, out in zip(rates, together, strict=True):
        np.testing.assert_allclose(out, drop(rate, jax.random.key(6)), rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_a_traced_rate_keeps_the_dtype(dtype):
    assert jax.jit(drop)(0.5, jax.random.key(7), X.astype(dtype)).dtype == dtype


@pytest.mark.parametrize("rate", [-0.1, 1.5, float("nan")])
def test_a_rate_that_is_no_probability_is_refused(rate):
    with pytest.raises(ValueError, match=r"rate is .*; expected (from 0 to 1|a number)"):
        drop(rate, jax.random.key(0))
