"""Grad-CAM, guided backpropagation and occlusion against what they are by hand."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl import analysis, models
from tests.analysis.nets import ROWS, TABLE, TARGET, VARIABLES, layers, shaken

IMAGES = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
CLASSES = jnp.array([1, 3])


class MeanNet(nn.Module):
    """A feature map, its mean over places, a linear layer: the network of class activation maps."""

    calls: int = 1
    again: bool = False

    @nn.compact
    def __call__(self, x):
        conv = (nn.remat(nn.Conv) if self.again else nn.Conv)(6, (3, 3), strides=2)
        y = sum(conv(x) for _ in range(self.calls))
        return nn.Dense(4)(jnp.mean(y, axis=(1, 2)))


def test_grad_cam_of_a_mean_is_the_class_activation_map():
    """Zhou et al. 2016: the output's weights times the map; Grad-CAM divides by its places."""
    net = MeanNet()
    variables = shaken(net.init(jax.random.key(0), IMAGES))
    found = analysis.grad_cam(net.apply, variables, IMAGES, CLASSES, layer="Conv_0")
    params = variables["params"]
    maps = jnp.asarray(nn.Conv(6, (3, 3), strides=2).apply({"params": params["Conv_0"]}, IMAGES))
    weights = params["Dense_0"]["kernel"].T[CLASSES] / 16
    wanted = np.maximum(np.einsum("bhwc,bc->bhw", maps, weights), 0)
    assert wanted.max() > 0.01
    np.testing.assert_allclose(found, jax.image.resize(wanted, (2, 8, 8), "linear"), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("net", "layer", "message"),
    [
        (MeanNet(), "conv_7", "there is no layer 'conv_7'; did you mean 'Conv_0'"),
        (MeanNet(calls=2), "Conv_0", "called 2 times; expected once"),
        (MeanNet(), "Dense_0", r"gives \(2, 4\) of \(2, 8, 8, 3\); expected"),
        (models.MLP(widths=(4,) * 20, outputs=4), "Layer_1/Dense_0", "is inside nn.scan or nn.remat"),
        (MeanNet(again=True), "CheckpointConv_0", "is inside nn.scan or nn.remat"),
    ],
)
def test_grad_cam_refuses_a_layer_without_one_map(net, layer, message):
    variables = net.init(jax.random.key(0), IMAGES)
    with pytest.raises(ValueError, match=message):
        analysis.grad_cam(net.apply, variables, IMAGES, CLASSES, layer=layer)


@pytest.mark.parametrize("lifted", [lambda net: net, jax.jit, jax.checkpoint], ids=["plain", "jit", "remat"])
def test_guided_backpropagation_is_the_rule_by_hand(lifted):
    (w1, b1), (w2, b2), (w3, _) = layers(VARIABLES)
    first = np.asarray(ROWS) @ w1 + b1
    second = np.maximum(first, 0) @ w2 + b2
    slope = w3.T[np.asarray(TARGET)]
    slope = np.maximum(slope * (second > 0), 0) @ w2.T
    slope = np.maximum(slope * (first > 0), 0) @ w1.T
    found = analysis.guided_backpropagation(lifted(TABLE.apply), VARIABLES, ROWS, TARGET)
    np.testing.assert_allclose(found, slope, rtol=1e-4, atol=1e-5)


def test_guided_backpropagation_leaves_other_activations():
    net = lambda w, x: jax.nn.softplus(jax.nn.relu(x) @ w) - jnp.tanh(x @ w)  # noqa: E731
    weights = jax.random.normal(jax.random.key(4), (4, 3))
    found = analysis.guided_backpropagation(net, weights, ROWS, TARGET)
    x, w = np.asarray(ROWS), np.asarray(weights)
    chosen = w.T[np.asarray(TARGET)]
    outer = 1 / (1 + np.exp(-np.sum(np.maximum(x, 0) * chosen, axis=1, keepdims=True)))
    other = 1 - np.tanh(np.sum(x * chosen, axis=1, keepdims=True)) ** 2
    wanted = np.where(x > 0, np.maximum(outer * chosen, 0), 0) - other * chosen
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (models.MLP(widths=(4,), outputs=3, activation=jnp.tanh), "has no ReLU"),
        (models.MLP(widths=(4,) * 20, outputs=3), "a ReLU is inside scan"),
    ],
)
def test_guided_backpropagation_refuses_what_it_cannot_guide(net, message):
    with pytest.raises(ValueError, match=message):
        analysis.guided_backpropagation(net.apply, net.init(jax.random.key(0), ROWS), ROWS, TARGET)


@pytest.mark.parametrize(
    ("window", "strides"), [((3, 3), (2, 2)), ((4, 8), None), ((3, 2), (3, 1)), ((9, 1), (1, 1))]
)
def test_occlusion_is_the_loop_over_windows(window, strides):
    net = MeanNet()
    variables = net.init(jax.random.key(0), IMAGES)
    rows, columns = strides or window
    whole = np.asarray(net.apply(variables, IMAGES))[np.arange(2), CLASSES]
    total, count = np.zeros((2, 8, 8)), np.zeros((8, 8))
    for top in range(0, max(8 - window[0], 0) + rows, rows):
        for left in range(0, max(8 - window[1], 0) + columns, columns):
            place = np.s_[top : top + window[0], left : left + window[1]]
            if not count[place].size:
                continue
            changed = np.array(IMAGES)
            changed[(slice(None), *place)] = 0.5
            total[(slice(None), *place)] += (
                whole - np.asarray(net.apply(variables, changed))[np.arange(2), CLASSES]
            )[:, None, None]
            count[place] += 1
    found = analysis.occlusion(net.apply, variables, IMAGES, CLASSES, 0.5, window=window, strides=strides)
    np.testing.assert_allclose(found, total / count, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("window", "strides", "message"),
    [((2,), (3,), "entries are left out"), ((1, 1, 1, 1), None, "expected one a leading axis")],
)
def test_occlusion_refuses_windows_that_do_not_fit(window, strides, message):
    net = MeanNet()
    with pytest.raises(ValueError, match=message):
        analysis.occlusion(net.apply, {}, IMAGES, CLASSES, window=window, strides=strides)
