"""Sharpness-aware steps against the formula, with explicit gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from fdl.optim.sam import sharpness_aware

START = {"a": jnp.array([1.0, -2.0]), "b": {"kernel": jnp.array([[0.5, 3.0]])}}


def loss(params):
    return jnp.sum(params["a"] ** 4) + jnp.sum(jnp.cos(params["b"]["kernel"]) * params["a"])


def by_formula(params, rate, radius, steps):
    """SGD with gradients at the worst point, in float64 vectors."""
    flat, back = ravel_pytree(params)
    slope = lambda w: np.asarray(ravel_pytree(jax.grad(loss)(back(jnp.asarray(w))))[0])  # noqa: E731
    w = np.asarray(flat)
    for _ in range(steps):
        g = slope(w)
        w = w - rate * slope(w + radius * g / np.sqrt(np.sum(g**2)))
    return back(jnp.asarray(w))


def trained(optimizer, steps=3, start=START):
    optimizer, params = optax.with_extra_args_support(optimizer), start
    state = optimizer.init(params)
    for _ in range(steps):
        gradient = lambda params, _: jax.grad(loss)(params)  # noqa: E731
        own = {"grad_fn": gradient, "key": jax.random.key(0)}  # as a learner gives
        updates, state = optimizer.update(gradient(params, 0), state, params, **own)
        params = optax.apply_updates(params, updates)
    return params


def close(a, b, rtol=2e-5):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=1e-6), a, b)


@pytest.mark.parametrize("radius", [0.01, 0.5])
def test_steps_are_the_formulas(radius):
    rate = 0.01
    close(trained(sharpness_aware(optax.sgd(rate), radius=radius)), by_formula(START, rate, radius, 3))


@pytest.mark.parametrize("make", [optax.sgd, optax.adam])
def test_a_ball_of_no_size_changes_nothing(make):
    close(trained(sharpness_aware(make(0.01), radius=0.0)), trained(make(0.01)), rtol=1e-6)


def test_radius_and_rate_may_be_traced_and_vmapped():
    radii, rates = jnp.array([0.01, 0.5]), jnp.array([0.01, 0.002])
    run = lambda radius, rate: trained(sharpness_aware(optax.sgd(rate), radius=radius))  # noqa: E731
    together = jax.jit(jax.vmap(run))(radii, rates)
    for index in range(2):
        close(
            jax.tree.map(lambda leaf, i=index: leaf[i], together),
            run(0.01 if index == 0 else 0.5, rates[index]),
        )


def test_a_gradient_of_zero_moves_nothing():
    start = {"a": jnp.zeros(2), "b": {"kernel": jnp.full((1, 2), jnp.pi / 2)}}
    flat = lambda params, _: jax.tree.map(jnp.zeros_like, params)  # noqa: E731
    optimizer = sharpness_aware(optax.sgd(0.1))
    updates, _ = optimizer.update(flat(start, 0), optimizer.init(start), start, grad_fn=flat)
    close(updates, flat(start, 0))


def test_without_the_gradient_function_it_says_so():
    optimizer = sharpness_aware(optax.sgd(0.1))
    with pytest.raises(ValueError, match="grad_fn"):
        optimizer.update(START, optimizer.init(START), START)
