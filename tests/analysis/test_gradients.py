"""Gradients against the chain rule by hand, and identities of sums, integrals and means."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from fdl import analysis, models
from tests.analysis.nets import BACKGROUND, ROWS, TABLE, TARGET, VARIABLES, layers, linear, shaken

KEY = jax.random.key(3)
METHODS = {
    "gradient": analysis.gradient,
    "gradient_times_input": analysis.gradient_times_input,
    "integrated_gradients": partial(analysis.integrated_gradients, steps=3),
    "smooth_grad": partial(analysis.smooth_grad, key=KEY, sigma=0.1, samples=3),
    "guided_backpropagation": analysis.guided_backpropagation,
    "occlusion": partial(analysis.occlusion, window=(2,)),
    "exact_shapley": partial(analysis.exact_shapley, background=BACKGROUND),
    "permutation_shapley": partial(analysis.permutation_shapley, background=BACKGROUND, key=KEY),
    "kernel_shapley": partial(analysis.kernel_shapley, background=BACKGROUND, key=KEY, pairs=32),
    "lime": partial(analysis.lime, background=BACKGROUND, key=KEY, samples=64),
    "deletion_curve": partial(analysis.deletion_curve, attribution=jnp.abs(ROWS), steps=3),
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_lifts_over_variables_under_jit(method):
    several = [VARIABLES, shaken(VARIABLES, 9)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *several)
    lifted = jax.jit(jax.vmap(lambda variables: method(TABLE.apply, variables, ROWS, TARGET)))(stacked)
    for found, variables in zip(lifted, several, strict=True):
        alone = method(TABLE.apply, variables, ROWS, TARGET)
        np.testing.assert_allclose(found, alone, rtol=1e-3, atol=1e-4)


def test_gradient_is_the_chain_rule():
    (w1, b1), (w2, b2), (w3, _) = layers(VARIABLES)
    first = np.asarray(ROWS) @ w1 + b1
    second = np.maximum(first, 0) @ w2 + b2
    slope = w3.T[np.asarray(TARGET)] * (second > 0) @ w2.T * (first > 0) @ w1.T
    found = analysis.gradient(TABLE.apply, VARIABLES, ROWS, TARGET)
    np.testing.assert_allclose(found, slope, rtol=1e-4, atol=1e-5)


def test_gradient_times_input_adds_up_without_biases():
    variables = TABLE.init(jax.random.key(5), ROWS)
    found = analysis.gradient_times_input(TABLE.apply, variables, ROWS, TARGET)
    outputs = np.take_along_axis(np.asarray(TABLE.apply(variables, ROWS)), np.asarray(TARGET)[:, None], 1)
    np.testing.assert_allclose(found.sum(axis=1), outputs[:, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("steps", "exact"), [(2, True), (1, False)])
def test_integrated_gradients_of_a_polynomial_add_up(steps, exact):
    """Of degree 4 two nodes integrate the gradient, of degree 3, exactly; one does not."""
    quartic = lambda _, x: jnp.stack([x[:, 0] ** 4 - x[:, 0] * x[:, 1] ** 3, x[:, 2] ** 3], axis=1)  # noqa: E731
    target, baseline = jnp.array([0, 1, 0, 1, 0]), BACKGROUND[0]
    found = analysis.integrated_gradients(quartic, None, ROWS, target, baseline, steps=steps)
    ends = [quartic(None, one)[jnp.arange(5), target] for one in (ROWS, jnp.broadcast_to(baseline, (5, 4)))]
    error = np.abs(found.sum(axis=1) - (ends[0] - ends[1])).max()
    assert (error < 1e-4) == exact
    assert not np.any(found[:, 3])  # what the output does not depend on


def test_integrated_gradients_of_a_smooth_net_add_up():
    net = models.MLP(widths=(8, 8), outputs=3, activation=jnp.tanh)
    found = analysis.integrated_gradients(net.apply, VARIABLES, ROWS, TARGET, 0.5, steps=20)
    ends = [
        jnp.asarray(net.apply(VARIABLES, one))[jnp.arange(5), TARGET] for one in (ROWS, jnp.full((5, 4), 0.5))
    ]
    np.testing.assert_allclose(found.sum(axis=1), ends[0] - ends[1], atol=1e-4)


def test_smooth_grad_of_relu_is_the_normal_distributions():
    """The mean slope of max(w x, 0) under noise is w times the chance that w x is above 0."""
    weights, sigma = jnp.array([[1.0], [-2.0]]), 0.7
    x = jnp.array([[0.3, 0.1], [1.0, 1.0], [-0.2, -0.4]])
    relu = lambda weights, x: jax.nn.relu(x @ weights)  # noqa: E731
    target = jnp.zeros(3, int)
    found = analysis.smooth_grad(relu, weights, x, target, KEY, sigma=sigma, samples=20_000)
    chance = norm.cdf(np.asarray(x @ weights) / (sigma * np.sqrt(5)))
    np.testing.assert_allclose(found, chance * np.asarray(weights).T, atol=0.03)


def test_smooth_grad_without_noise_is_the_gradient():
    found = analysis.smooth_grad(TABLE.apply, VARIABLES, ROWS, TARGET, KEY, sigma=0.0, samples=2)
    wanted = analysis.gradient(TABLE.apply, VARIABLES, ROWS, TARGET)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("x", "target", "message"),
    [
        (jnp.ones((2, 4)), jnp.array([0, 3]), "target has 3; expected 0 to 2"),
        (jnp.ones((2, 4)), jnp.array([-1, 0]), "target has -1; expected 0 to 2"),
        (jnp.ones((2, 4)), jnp.array([0]), r"target has the shape \(1,\); expected \(2,\)"),
        (jnp.ones((2, 4)), jnp.array([0.0, 1.0]), "target is .*; expected whole numbers"),
    ],
)
def test_a_target_that_is_no_output_is_refused(x, target, message):
    with pytest.raises(ValueError, match=message):
        analysis.gradient(TABLE.apply, VARIABLES, x, target)


def test_outputs_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"apply gives \(2,\); expected \[2, C\]"):
        analysis.gradient(
            lambda w, x: linear(w, x)[:, 0], jnp.ones((4, 1)), jnp.ones((2, 4)), jnp.array([0, 0])
        )
