"""What layers say, against the layers computed by hand."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl import models
from fdl.analysis import activations, dead_units, maximise_activation

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (5, 4))


def test_the_layers_of_a_perceptron_are_those_computed_by_hand():
    model = models.MLP(widths=(6, 3), outputs=2)
    variables = nn.meta.unbox(model.init(KEY, X))
    layers = activations(model.apply, variables, X)
    rows = np.asarray(X, np.float64)
    for name in ("Layer_0/Dense_0", "Layer_1/Dense_0", "Dense_0"):
        dense = variables["params"]
        for part in name.split("/"):
            dense = dense[part]
        before = rows @ np.asarray(dense["kernel"], np.float64) + np.asarray(dense["bias"])
        np.testing.assert_allclose(layers[name], before, atol=1e-5)
        rows = np.maximum(before, 0)
        if "/" in name:
            np.testing.assert_allclose(layers[name.split("/")[0]], rows, atol=1e-5)
    np.testing.assert_array_equal(layers["output"], model.apply(variables, X))


def test_scanned_layers_are_taken_apart():
    model = models.MLP(widths=(4,) * 18, outputs=2, skip=True)
    variables = nn.meta.unbox(model.init(KEY, X))
    layers = activations(model.apply, variables, X)
    inner = [name for name in layers if name.endswith("Dense_0[17]")]
    assert len(inner) == 1 and inner[0].removesuffix("[17]") not in layers
    (dense,) = [part["Dense_0"] for part in variables["params"].values() if "Dense_0" in part]
    rows = np.asarray(X, np.float64)
    for layer in range(18):
        before = rows @ np.asarray(dense["kernel"][layer], np.float64) + np.asarray(dense["bias"][layer])
        np.testing.assert_allclose(layers[inner[0].replace("[17]", f"[{layer}]")], before, atol=1e-5)
        rows = rows + np.maximum(before, 0) / np.sqrt(18)


class Odd(nn.Module):
    """A layer that is called twice, one that knows nothing of rows, one that mixes them."""

    @nn.compact
    def __call__(self, x):
        twice = nn.Dense(4)
        places = nn.Embed(4, 4)(jnp.arange(4))
        mixed = Mixed()(x)
        return twice(twice(x)) + places[0] + jnp.sum(mixed)


class Mixed(nn.Module):
    """The products of all pairs of rows."""

    def __call__(self, x):
        return x @ x.T


def test_calls_are_numbered_and_what_has_no_rows_is_left_out():
    model = Odd()
    found = activations(model.apply, model.init(KEY, X), X)
    assert {name: rows.shape for name, rows in found.items()} == {
        "Dense_0/0": (5, 4),
        "Dense_0/1": (5, 4),
        "output": (5, 4),
    }


def test_an_apply_that_records_nothing_is_refused():
    model = models.MLP(widths=(), outputs=2)
    with pytest.raises(ValueError, match=r"apply takes no capture_intermediates; expected model\.apply"):
        activations(lambda variables, x: model.apply(variables, x), {}, X)


def test_dead_units_are_those_without_a_value_anywhere():
    layer = np.ones((3, 2, 2, 4), np.float32)  # images
    layer[..., 0], layer[..., 1], layer[..., 2] = 0, 0, 0.001
    layer[1, 0, 1, 1] = -2
    np.testing.assert_array_equal(dead_units(jnp.asarray(layer)), [True, False, False, False])
    for size in (1, 1e-4):
        found = dead_units(size * jnp.asarray(layer), threshold=0.01)
        np.testing.assert_array_equal(found, [True, False, True, False])
    assert dead_units(jnp.zeros((2, 3))).all()


def convolution(layers):
    return jnp.mean(layers["output"][..., 1], (1, 2))


def test_the_input_that_a_unit_answers_most_to():
    model = nn.Conv(2, (2, 2), padding="VALID")
    x = jax.random.normal(KEY, (3, 3, 3, 1))
    variables = model.init(KEY, x)
    found = maximise_activation(model.apply, variables, x, convolution, norm=2.0)
    kernel, weights = np.asarray(variables["params"]["kernel"])[:, :, 0, 1], np.zeros((3, 3))
    for row in (0, 1):  # the mean over places is linear in x: the sum of shifted kernels
        for column in (0, 1):
            weights[row : row + 2, column : column + 2] += kernel
    expected = 2 * weights / np.linalg.norm(weights)
    np.testing.assert_allclose(found[..., 0], np.broadcast_to(expected, (3, 3, 3)), atol=1e-4)


def test_from_where_the_gradient_is_0_only_the_norm_changes():
    model = models.MLP(widths=(3,), outputs=1)
    variables = jax.tree.map(jnp.zeros_like, model.init(KEY, X))
    dead = lambda layers: layers["Layer_0"][:, 0]  # noqa: E731
    found = maximise_activation(model.apply, variables, X, dead, norm=1.0, steps=3)
    np.testing.assert_allclose(found, X / jnp.linalg.norm(X, axis=1, keepdims=True), rtol=1e-6)
