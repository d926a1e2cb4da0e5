"""Maxout, Fourier and random features, deep linear nets."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.core.meta import unbox

from fdl import tasks
from fdl.data import Splits, digits
from fdl.data.synthetic import two_spirals
from fdl.models.feedforward import DeepLinear, FourierNet, Maxout, RandomFeatureNet
from fdl.models.mlp import MLP
from tests.tasks.test_supervised import evaluated, trained

X = jax.random.normal(jax.random.key(0), (7, 4))


def started(model: Any, x=X, seed=1) -> Any:
    return unbox(jax.jit(model.init)(jax.random.key(seed), x))


def net(scale: Any) -> Any:
    return FourierNet(MLP((), 3), features=8, scale=scale)


def dense(params, i):
    layer = params[f"Dense_{i}"]
    return np.asarray(layer["kernel"]), np.asarray(layer.get("bias", 0.0))


@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_maxout_is_the_largest_piece(pieces):
    model: Any = Maxout((5, 6), 2, pieces=pieces)
    variables = started(model)
    h = np.asarray(X)
    for i, width in enumerate((5, 6)):
        kernel, bias = dense(variables["params"], i)
        sums = h @ kernel + bias
        h = np.stack([sums[:, u * pieces : (u + 1) * pieces].max(-1) for u in range(width)], axis=-1)
    kernel, bias = dense(variables["params"], 2)
    np.testing.assert_allclose(model.apply(variables, X), h @ kernel + bias, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3)))[1:])
def test_maxout_does_not_depend_on_the_order_of_its_pieces(order):
    model: Any = Maxout((5,), 2, pieces=3)
    variables = started(model)
    first = {k: v.reshape(*v.shape[:-1], 5, 3)[..., order] for k, v in variables["params"]["Dense_0"].items()}
    first = {k: v.reshape(*v.shape[:-2], 15) for k, v in first.items()}
    swapped = {"params": variables["params"] | {"Dense_0": first}}
    np.testing.assert_allclose(model.apply(swapped, X), model.apply(variables, X), rtol=1e-6)


def test_fourier_features_are_sines_and_cosines():
    variables = started(net(0.7))
    frequencies = np.asarray(variables["frozen"]["frequencies"])
    angle = 2 * np.pi * np.asarray(X) @ frequencies * 0.7
    kernel, bias = dense(variables["params"]["body"], 0)
    expected = np.concatenate([np.cos(angle), np.sin(angle)], -1) @ kernel + bias
    output = net(0.7).apply(variables, X)
    np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-5)


def test_random_features_approximate_the_gaussian_kernel():
    model: Any = RandomFeatureNet(1, features=20_000, scale=0.6)
    frozen = started(model)["frozen"]
    z = np.sqrt(2 / 20_000) * np.cos(0.6 * np.asarray(X) @ frozen["weights"] + frozen["phases"])
    metrics = pytest.importorskip("sklearn.metrics.pairwise")
    kernel = metrics.rbf_kernel(np.asarray(X), gamma=0.6**2 / 2)
    np.testing.assert_allclose(z @ z.T, kernel, atol=5 / np.sqrt(20_000))
    params = started(model)["params"]
    weights, bias = dense(params, 0)
    output = model.apply({"params": params, "frozen": frozen}, X)
    np.testing.assert_allclose(output, z @ weights + bias, rtol=1e-4, atol=1e-5)


@pytest.mark.medium
@pytest.mark.parametrize("model", [FourierNet(MLP((8,), 10), features=6), RandomFeatureNet(10, features=6)])
def test_training_leaves_frozen_features_alone(model):
    experiment = tasks.classification(model, digits(), optax.adamw(0.1), steps=3)
    before, after = jax.jit(experiment.learner.init)(jax.random.key(0)), trained(experiment, 3)
    jax.tree.map(np.testing.assert_array_equal, before.model_state["frozen"], after.model_state["frozen"])
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), before.params, after.params)
    assert min(jax.tree.leaves(moved)) > 0
    other = jax.jit(experiment.learner.init)(jax.random.key(1))
    assert not np.allclose(*map(lambda s: jax.tree.leaves(s.model_state)[0], (before, other)))  # noqa: C417


def test_a_traced_scale_shares_one_program():
    variables, traces = started(net(1.0)), 0

    @jax.jit
    def output(scale):
        nonlocal traces
        traces += 1
        return net(scale).apply(variables, X)

    one, two = output(0.5), output(1.5)
    assert traces == 1
    assert not np.allclose(one, two)
    np.testing.assert_allclose(two, net(1.5).apply(variables, X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("widths", [(), (6,), (6, 2, 5)])
def test_a_deep_linear_net_is_the_product_of_its_matrices(widths):
    model: Any = DeepLinear(widths, 3)
    variables = started(model)
    product = np.linalg.multi_dot(
        [np.eye(4), *(dense(variables["params"], i)[0] for i in range(len(widths) + 1))]
    )
    np.testing.assert_allclose(model.apply(variables, X), np.asarray(X) @ product, rtol=1e-5, atol=1e-5)
    assert all("bias" not in layer for layer in variables["params"].values())


@pytest.mark.medium
@pytest.mark.parametrize(
    "model",
    [Maxout((32, 32, 32), 2, pieces=3), FourierNet(MLP((64,), 2), features=64, scale=0.5)],
    ids=["maxout", "fourier"],
)
def test_two_spirals_are_beyond_a_linear_net_only(model):
    points = two_spirals()
    part = {"x": points["x"] / 3, "y": points["y"]}
    splits = Splits(part, part, part)  # the question is whether the net can fit them
    accuracy = {}
    for name, other in (("linear", DeepLinear((32,), 2)), ("net", model)):
        experiment = tasks.classification(other, splits, optax.adam(5e-3), steps=500, batch_size=194)
        accuracy[name] = evaluated(experiment, trained(experiment, 500), "test")["accuracy"]
    assert accuracy["net"] > 0.95
    assert accuracy["linear"] < 0.7
