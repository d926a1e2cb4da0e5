from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core.meta import unbox

from fdl.models import MLP, batch_norm, layer_norm, mlp

DEEP = (16,) * (mlp.LONGEST_UNROLLED + 1)
X = jax.random.normal(jax.random.key(0), (32, 4, 4))


def unstacked(tree):
    """The variables of one scanned run of layers, as those of the unrolled ones."""
    layers = {f"Layer_{i}": jax.tree.map(lambda x, i=i: x[i], tree["Layer_0"]) for i in range(len(DEEP))}
    return layers | {name: value for name, value in tree.items() if name != "Layer_0"}


@pytest.mark.medium
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("norm", [None, batch_norm, layer_norm])
def test_scanned_layers_are_the_unrolled_ones(norm, skip, train, monkeypatch):
    model = MLP(DEEP, 3, activation=nn.tanh, norm=norm, skip=skip)
    with jax.enable_x64(True):  # in float32, rounding grows with the depth
        x = X.astype(jnp.float64)
        variables = unbox(jax.jit(model.init)(jax.random.key(1), x))
        assert variables["params"]["Layer_0"]["Dense_0"]["kernel"].shape == (len(DEEP), 16, 16)
        variables = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), variables)

        def loss(variables, x):
            out, state = model.apply(variables, x, train, mutable=["batch_stats"])
            return jnp.sum(jnp.square(out)), (out, state)

        def results(variables):
            return jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(variables, x)

        (scanned, scanned_x), (scanned_out, scanned_state) = results(variables)
        monkeypatch.setattr(mlp, "LONGEST_UNROLLED", len(DEEP))
        unrolled = results({name: unstacked(tree) for name, tree in variables.items()})
        ours = (
            ({k: unstacked(v) for k, v in scanned.items()}, scanned_x),
            (scanned_out, {k: unstacked(v) for k, v in scanned_state.items()}),
        )
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), ours, unrolled)


def test_the_program_does_not_grow_with_the_depth():
    def size(depth):
        return str(jax.make_jaxpr(MLP((16,) * depth, 3).init)(jax.random.key(0), X)).count("\n")

    assert size(20) == size(100)


def test_scanned_layers_start_different_and_at_the_initializers_scale():
    kernel = np.asarray(
        unbox(jax.jit(MLP((64,) * 40, 3).init)(jax.random.key(0), jnp.zeros((1, 64))))["params"]["Layer_0"][
            "Dense_0"
        ]["kernel"]
    )
    assert len(np.unique(kernel[:, 0, 0])) == 40
    np.testing.assert_allclose(kernel.std(axis=(1, 2)), 2**0.5 / 8, rtol=0.1)  # He's: variance 2/64


@pytest.mark.parametrize(
    ("activation", "widths", "given", "gain"),
    [
        (nn.relu, (64,), None, 2),
        (nn.tanh, (64,), None, 1),
        (nn.relu, (), None, 1),
        (nn.relu, (64,), nn.initializers.lecun_normal, 1),
    ],
)
def test_relu_starts_as_he_says_and_the_rest_as_lecun(activation, widths, given, gain):
    model = MLP(widths, 300, activation, initializer=given)
    params = unbox(jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 64))))["params"]
    for kernel in (leaf for leaf in jax.tree.leaves(params) if leaf.ndim == 2):
        np.testing.assert_allclose(np.var(kernel) * 64, gain, rtol=0.1)


def test_each_scanned_layer_draws_its_own_mask():
    # Layers that do nothing but drop out: a unit survives all of them with probability 0.95^L.
    identity = lambda: lambda key, shape, dtype: jnp.eye(*shape, dtype=dtype)  # noqa: E731
    model = MLP((256,) * len(DEEP), 256, activation=lambda x: x, dropout=0.05, initializer=identity)
    x = jnp.ones((100, 256))
    variables = unbox(jax.jit(model.init)(jax.random.key(0), x))
    out = model.apply(variables, x, True, rngs={"dropout": jax.random.key(1)})
    survival = 0.95 ** len(DEEP)
    error = np.sqrt(survival * (1 - survival) / x.size)
    assert abs(np.mean(np.asarray(out) > 0) - survival) < 4 * error


@pytest.mark.medium
@pytest.mark.parametrize("widths", [(16, 8), DEEP])
def test_jit_and_eager_and_vmap_over_seeds_and_rates_agree(widths):
    def output(rate, seed) -> Any:
        model = MLP(widths, 3, norm=layer_norm, dropout=rate, skip=True)
        key = jax.random.key(seed)
        return model.apply(model.init(key, X[:1]), X, True, rngs={"dropout": key})

    rates, seeds = jnp.array([0.0, 0.5, 0.9]), jnp.arange(3)
    together = jax.jit(jax.vmap(output))(rates, seeds)
    jitted = jax.jit(output)
    for index in range(3):
        np.testing.assert_allclose(together[index], jitted(rates[index], seeds[index]), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(together[1], output(rates[1], seeds[1]), rtol=1e-5, atol=1e-5)
    assert np.abs(together[0] - together[1]).max() > 0.1


@pytest.mark.parametrize("widths", [(16, 8), DEEP])
def test_a_traced_rate_of_zero_is_no_dropout(widths):
    variables = unbox(jax.jit(MLP(widths, 3).init)(jax.random.key(0), X))

    def output(rate) -> Any:
        return MLP(widths, 3, dropout=rate).apply(variables, X, True, rngs={"dropout": jax.random.key(1)})

    np.testing.assert_allclose(jax.jit(output)(0.0), output(0.0), rtol=1e-5, atol=1e-6)


def test_no_hidden_layer_is_a_linear_model():
    model: Any = MLP((), 3)
    variables = unbox(jax.jit(model.init)(jax.random.key(0), X))
    dense = variables["params"]["Dense_0"]
    expected = np.asarray(X).reshape(32, 16) @ np.asarray(dense["kernel"]) + np.asarray(dense["bias"])
    np.testing.assert_allclose(model.apply(variables, X), expected, rtol=1e-5, atol=1e-6)


def test_evaluation_is_independent_of_the_batch_and_needs_no_keys():
    model: Any = MLP((16, 8), 3, norm=batch_norm, dropout=0.5)
    variables = unbox(jax.jit(model.init)(jax.random.key(0), X))
    np.testing.assert_allclose(model.apply(variables, X)[:1], model.apply(variables, X[:1]), rtol=1e-6)
