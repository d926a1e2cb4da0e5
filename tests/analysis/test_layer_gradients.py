"""Gradients of layers' outputs are those of the chain rule, written out."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl import analysis, models
from fdl.models.initializers import orthogonal
from fdl.models.mlp import LONGEST_UNROLLED

X = jax.random.normal(jax.random.key(1), (5, 4))


def chain_rule(layers, last, kernels):
    """By tanh layers `[B, D]` and the kernel that follows each: gradients of their outputs, first to last."""
    found = [2 * last @ kernels[-1].T]
    for h, kernel in zip(reversed(layers[1:]), reversed(kernels[:-1]), strict=True):
        found.append((found[-1] * (1 - h**2)) @ kernel.T)
    return found[::-1]


@pytest.mark.parametrize("depth", [3, LONGEST_UNROLLED + 2], ids=["unrolled", "scanned"])
def test_gradients_are_those_of_the_chain_rule(depth):
    model = models.MLP((4,) * depth, 3, activation=nn.tanh, initializer=orthogonal)
    variables = model.init(jax.random.key(0), X)
    found = analysis.layer_gradients(lambda outputs: jnp.sum(outputs**2), model.apply, variables, X)
    params, known = variables["params"], analysis.activations(model.apply, variables, X)
    if depth == 3:
        own = jnp.stack([found[f"Layer_{index}"] for index in range(depth)])
        kernels = [params[f"Layer_{index}"]["Dense_0"]["kernel"] for index in range(1, depth)]
        layers = [known[f"Layer_{index}"] for index in range(depth)]
        inside = found["Layer_1/Dense_0"] / (1 - layers[1] ** 2)
        np.testing.assert_allclose(inside, own[1], rtol=1e-5)
    else:
        own = found["Layer_0"]
        kernels = list(params["Layer_0"]["Dense_0"]["kernel"][1:])
        layers = [known[f"Layer_0[{index}]"] for index in range(depth)]
    expected = chain_rule(layers, known["output"], [*kernels, params["Dense_0"]["kernel"]])
    np.testing.assert_allclose(own, jnp.stack(expected), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["output"], 2 * known["output"], rtol=1e-6)


def test_a_batchs_own_statistics_carry_gradients_and_stay_as_they_are():
    model = models.MLP((4, 4), 3, norm=models.batch_norm)
    variables = model.init(jax.random.key(0), X)
    train = functools.partial(model.apply, train=True)
    found = analysis.layer_gradients(lambda outputs: jnp.sum(outputs**3), train, variables, X)
    before = found["Layer_1/Dense_0"]  # of the numbers that are normalised: a shift or a stretch is lost
    assert float(jnp.max(jnp.abs(before))) > 0.01
    np.testing.assert_allclose(jnp.sum(before, 0), 0, atol=1e-4)


def test_a_function_without_modules_is_told():
    with pytest.raises(ValueError, match="no module of the model gives one array"):
        analysis.layer_gradients(jnp.sum, lambda variables, x, mutable: (x, {}), {"params": {}}, X)
