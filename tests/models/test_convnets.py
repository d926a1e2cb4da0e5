"""Networks without branches: published sizes, PyTorch, learning."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
import pytest

from fdl.models.convnets import alexnet, cifar_alexnet, conv_net, lenet5, vgg
from fdl.models.mobile import mobilenet, small_mobilenet
from fdl.models.norms import batch_norm
from tests.models.torch_reference import assert_agrees, torch


@pytest.mark.parametrize(
    ("model", "shape", "parameters"),
    [
        (lenet5(), (32, 32, 1), 61_706),
        (lenet5(padding=2), (28, 28, 1), 61_706),
        (alexnet(), (224, 224, 3), 60_965_224),  # the paper's: about 60 million
        (alexnet(groups=1), (224, 224, 3), 62_378_344),  # in one tower
        (cifar_alexnet(), (28, 28, 3), 1_387_786),
        (vgg(11), (224, 224, 3), 132_863_336),  # torchvision's
        (vgg(13), (224, 224, 3), 133_047_848),
        (vgg(16), (224, 224, 3), 138_357_544),
        (vgg(19), (224, 224, 3), 143_667_240),
        (mobilenet(), (224, 224, 3), 4_231_976),  # the paper's: 4.2 million
    ],
)
def test_parameter_counts_are_the_published_ones(model, shape, parameters):
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *shape)))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == parameters


def test_an_unknown_depth_is_refused():
    with pytest.raises(ValueError, match="depth is 12; expected one of 11, 13, 16, 19"):
        vgg(12)


class ChannelsLast(torch.nn.Module):
    """Flattens as `[H, W, C]`, so that the dense layers' weights are the same."""

    def forward(self, x):
        return x.movedim(1, -1).flatten(1)


def test_lenet_agrees_with_torch():
    nn_, pool = torch.nn, torch.nn.AvgPool2d(2)
    features = [nn_.Conv2d(1, 6, 5), nn_.Tanh(), pool, nn_.Conv2d(6, 16, 5), nn_.Tanh(), pool, ChannelsLast()]
    dense = [nn_.Linear(400, 120), nn_.Tanh(), nn_.Linear(120, 84), nn_.Tanh(), nn_.Linear(84, 10)]
    names = {"Conv_0": "0", "Conv_1": "3", "Dense_0": "7", "Dense_1": "9", "Dense_2": "11"}
    assert_agrees(lenet5(), nn_.Sequential(*features, *dense), names, (3, 32, 32, 1))


@pytest.mark.medium
def test_vgg_agrees_with_torch():
    layers, names, inputs = [], {}, 3
    for factor, count in zip((1, 2, 4, 8, 8), (1, 1, 2, 2, 2), strict=True):
        for _ in range(count):
            names[f"Conv_{len(names)}"] = str(len(layers))
            layers += [torch.nn.Conv2d(inputs, 2 * factor, 3, padding=1), torch.nn.ReLU()]
            inputs = 2 * factor
        layers.append(torch.nn.MaxPool2d(2))
    layers.append(ChannelsLast())
    for index, (before, after) in enumerate(((16, 8), (8, 5))):
        names[f"Dense_{index}"] = str(len(layers))
        layers += [torch.nn.Linear(before, after)] + [torch.nn.ReLU()] * (index == 0)
    model = vgg(11, 5, width=2, hidden=(8,), dropout=0.0)
    assert_agrees(model, torch.nn.Sequential(*layers), names, (2, 32, 32, 3))


@pytest.mark.medium
def test_mobilenet_agrees_with_torch():
    def part(inputs, outputs, size, stride=1, groups=1):
        conv = torch.nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
        return [conv, torch.nn.BatchNorm2d(outputs), torch.nn.ReLU()]

    model = small_mobilenet(5, width=4)
    model = model.clone(blocks=((6, 1), (8, 2)))
    layers = part(3, 4, 3) + part(4, 4, 3, 1, 4) + part(4, 6, 1) + part(6, 6, 3, 2, 6) + part(6, 8, 1)
    layers += [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 5)]
    names = {"Conv_0": "0", "BatchNorm_0": "1", "Dense_0": "17"}
    for block in range(2):
        for layer in range(2):
            place = 3 + 6 * block + 3 * layer
            names[f"SeparableConv_{block}/Conv_{layer}"] = str(place)
            names[f"SeparableConv_{block}/BatchNorm_{layer}"] = str(place + 1)
    assert_agrees(model, torch.nn.Sequential(*layers), names, (2, 8, 8, 3))


@pytest.mark.medium
def test_signals_in_one_dimension():
    model = conv_net((4, 8), (16,), 3, norm=batch_norm)
    out, variables = model.init_with_output(jax.random.key(0), jnp.zeros((2, 32, 5)))
    assert out.shape == (2, 3)
    assert nn.unbox(variables)["params"]["Conv_1"]["kernel"].shape == (3, 4, 8)


@pytest.mark.medium
@pytest.mark.parametrize(
    "model",
    [conv_net((8,), (32,), 4), lenet5(4, activation=nn.relu, padding=2)],
    ids=["conv_net", "lenet5"],
)
def test_it_memorises_16_images(model):
    x, labels = jax.random.normal(jax.random.key(0), (16, 28, 28, 1)), jnp.arange(16) % 4
    params = jax.jit(model.init)(jax.random.key(1), x)
    optimizer = optax.adam(3e-3)

    def step(carry, _):
        params, state = carry

        def loss(params):
            logits = model.apply(params, x, train=True)
            return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))

        value, grads = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(grads, state)
        return (optax.apply_updates(params, updates), state), value

    history = jax.jit(lambda c: jax.lax.scan(step, c, length=30)[1])((params, optimizer.init(params)))
    assert history[0] > 1.0
    assert history[-1] < 0.1


def test_dropout_only_in_training():
    model: Any = conv_net((4,), (64,), 3, dropout=0.5)
    x = jnp.ones((2, 8, 8, 1))
    variables = jax.jit(model.init)(jax.random.key(0), x)
    assert (model.apply(variables, x) == model.apply(variables, x)).all()
    first, second = (
        model.apply(variables, x, train=True, rngs={"dropout": jax.random.key(k)}) for k in (0, 1)
    )
    assert not (first == second).all()
