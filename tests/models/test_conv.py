"""Layers of local connections and pools against PyTorch."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core.meta import unbox

from fdl.models.axes import laid_out_by, names_shown
from fdl.models.conv import Conv, ConvTranspose, Local
from fdl.models.norms import weight_norm
from fdl.models.pooling import average_pool, blur_pool, global_average, max_pool
from tests.models.torch_reference import assert_agrees, channels_first, close, torch

CONV = {1: torch.nn.Conv1d, 2: torch.nn.Conv2d}


class Called(nn.Module):
    """A layer as a model."""

    layer: nn.Module

    def __call__(self, x, train=False):
        return self.layer(x)


@pytest.mark.parametrize(
    ("rank", "options", "theirs"),
    [
        (2, {}, {"padding": 1}),
        (2, {"strides": 2, "padding": 1, "bias": False}, {"padding": 1, "stride": 2, "bias": False}),
        (
            2,
            {"size": (3, 5), "padding": ((1, 1), (2, 2)), "strides": (1, 3)},
            {"padding": (1, 2), "stride": (1, 3)},
        ),
        (2, {"dilation": 2, "padding": "VALID"}, {"dilation": 2}),
        (2, {"size": 1, "strides": 2}, {"stride": 2}),
        (2, {"groups": 2}, {"groups": 2, "padding": 1}),
        (2, {"groups": None, "strides": 2, "padding": 1}, {"groups": 4, "stride": 2, "padding": 1}),
        (1, {"dilation": 2, "padding": 2}, {"dilation": 2, "padding": 2}),
        (1, {"size": 4, "strides": 3, "padding": "VALID"}, {"stride": 3}),
        (1, {"groups": None}, {"groups": 4, "padding": 1}),
    ],
)
def test_conv_agrees_with_torch(rank, options, theirs):
    reference = torch.nn.Sequential(CONV[rank](4, 8, options.get("size", 3), **theirs))
    model = Called(Conv(8, **options))
    assert_agrees(model, reference, {"layer": "0"}, (*(2, 9, 8)[: rank + 1], 4))


@pytest.mark.parametrize("size, strides, padding", [(2, 2, 0), (4, 2, 1), (3, 1, 1), (5, 3, 0)])
def test_transposed_conv_agrees_with_torch(size, strides, padding):
    class Flipped(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(4, 6, size)  # holds the weights [O, I, *K]

        def forward(self, x):
            weight = self.conv.weight.transpose(0, 1).flip(2, 3)
            return torch.nn.functional.conv_transpose2d(x, weight, self.conv.bias, strides, padding)

    model = Called(ConvTranspose(6, size, strides, padding))
    assert_agrees(model, Flipped(), {"layer": "conv"}, (2, 5, 4, 4))


def test_a_transposed_conv_undoes_a_convs_shape():
    x = jnp.zeros((1, 8, 4))
    small = Conv(6, size=4, strides=2, padding=1).init_with_output(jax.random.key(0), x)[0]
    assert small.shape == (1, 4, 6)
    layer = ConvTranspose(4, size=4, strides=2, padding=1)
    assert layer.init_with_output(jax.random.key(0), small)[0].shape == x.shape


@pytest.mark.parametrize("shape, strides, padding", [((2, 6, 7, 3), 1, 1), ((2, 7, 8, 3), 2, 0)])
def test_local_is_a_matrix_of_its_own_at_each_place(shape, strides, padding):
    layer = Local(5, strides=strides, padding=padding)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    params = nn.unbox(jax.jit(layer.init)(jax.random.key(0), x))["params"]
    params["bias"] = params["bias"] + np.arange(params["bias"].size).reshape(params["bias"].shape)
    patches = torch.nn.functional.unfold(
        torch.tensor(channels_first(x)), 3, stride=strides, padding=padding
    )  # [B, I K, places]
    patches = patches.reshape(shape[0], shape[-1], 9, -1).permute(0, 3, 2, 1).flatten(2).numpy()
    kernel, bias = (np.asarray(params[name]) for name in ("kernel", "bias"))
    expected = np.einsum("bpi,pio->bpo", patches, kernel.reshape(-1, 27, 5)) + bias.reshape(-1, 5)
    close(layer.apply({"params": params}, x), expected.reshape(shape[0], *bias.shape), 1e-5, "outputs")


def test_local_in_one_dimension_with_equal_kernels_is_a_conv():
    x = jax.random.normal(jax.random.key(0), (2, 9, 3))
    conv: Any = Conv(4, size=3, strides=2)
    variables = nn.unbox(jax.jit(conv.init)(jax.random.key(1), x))
    kernel, bias = variables["params"]["kernel"], variables["params"]["bias"]
    params = {"kernel": jnp.tile(kernel.reshape(1, 9, 4), (5, 1, 1)), "bias": jnp.tile(bias, (5, 1))}
    local: Any = Local(4, size=3, strides=2).apply({"params": params}, x)
    np.testing.assert_allclose(local, conv.apply(variables, x), rtol=1e-5, atol=1e-6)


def test_local_kernels_start_different_and_at_the_scale_of_one():
    kernel = nn.unbox(jax.jit(Local(64).init)(jax.random.key(0), jnp.zeros((1, 4, 4, 16))))["params"][
        "kernel"
    ]
    assert kernel.shape == (4, 4, 144, 64)
    assert len(np.unique(kernel[..., 0, 0])) == 16
    np.testing.assert_allclose(kernel.std(axis=(2, 3)), 1 / 12, rtol=0.05)  # lecun_normal


F = torch.nn.functional
POOLS = {
    "max, tiles": (max_pool, lambda x: F.max_pool2d(x, 2)),
    "max, tiles of 3": (functools.partial(max_pool, window=3), lambda x: F.max_pool2d(x, 3)),
    "max, overlapping": (
        functools.partial(max_pool, window=3, strides=2, padding=1),
        lambda x: F.max_pool2d(x, 3, 2, 1),
    ),
    "average, tiles": (average_pool, lambda x: F.avg_pool2d(x, 2)),
    "average, overlapping": (
        functools.partial(average_pool, window=3, strides=2, padding=1),
        lambda x: F.avg_pool2d(x, 3, 2, 1),
    ),
    "global average": (global_average, lambda x: x.mean((2, 3))),
    "blur": (
        blur_pool,
        lambda x: F.conv2d(
            F.pad(x, (1, 1, 1, 1), mode="reflect"),
            torch.outer(torch.tensor([1.0, 2, 1]), torch.tensor([1.0, 2, 1])).expand(3, 1, 3, 3) / 16,
            stride=2,
            groups=3,
        ),
    ),
}


class Pool(nn.Module):
    pool: str

    def __call__(self, x, train=False):
        return POOLS[self.pool][0](x)


class TorchPool(torch.nn.Module):
    def __init__(self, pool):
        super().__init__()
        self.forward = POOLS[pool][1]


@pytest.mark.parametrize("pool", POOLS)
def test_pools_agree_with_torch(pool):
    assert_agrees(Pool(pool), TorchPool(pool), {}, (2, 7, 8, 3))


@pytest.mark.parametrize("pool", [max_pool, average_pool, blur_pool])
def test_pools_take_one_dimension(pool):
    x = np.random.default_rng(0).normal(size=(2, 8, 3)).astype(np.float32)
    wide = np.repeat(x[:, :, None], 8, axis=2)
    np.testing.assert_allclose(pool(jnp.asarray(x)), pool(jnp.asarray(wide))[:, :, 0], rtol=1e-5, atol=1e-6)


def test_weight_norm_agrees_with_torch():
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype(np.float32)
    layer: Any = Conv(4, padding=1, weight=weight_norm)
    variables = nn.unbox(jax.jit(layer.init)(jax.random.key(0), x))
    plain: Any = Conv(4, padding=1).apply(
        {"params": {k: variables["params"][k] for k in ("kernel", "bias")}}, x
    )
    np.testing.assert_allclose(
        layer.apply(variables, x), plain, rtol=1e-5, atol=1e-6
    )  # the start is the same
    grads = jax.grad(lambda v: jnp.sum(jnp.sin(layer.apply(v, x))))(variables)["params"]

    reference = torch.nn.utils.parametrizations.weight_norm(torch.nn.Conv2d(3, 4, 3, padding=1))
    kernel = np.array(jnp.moveaxis(variables["params"]["kernel"], (-1, -2), (0, 1)))
    reference.weight = torch.tensor(kernel)
    reference.bias.data.zero_()
    torch.sin(reference(torch.tensor(channels_first(x)))).sum().backward()
    lengths, directions = (
        reference.parametrizations.weight.original0,
        reference.parametrizations.weight.original1,
    )
    kernel_grad = np.asarray(jnp.moveaxis(grads["kernel"], (-1, -2), (0, 1)))
    close(kernel_grad, directions.grad.numpy(), 1e-5, "direction")
    close(np.asarray(grads["_Length_0"]["scale"]), lengths.grad.numpy().ravel(), 1e-5, "length")


def test_parameters_and_activations_bear_names():
    layer = Conv(8)
    with names_shown():
        boxed = jax.eval_shape(layer.init, jax.random.key(0), jnp.zeros((1, 8, 8, 4)))["params"]
    plain = jax.eval_shape(layer.init, jax.random.key(0), jnp.zeros((1, 8, 8, 4)))["params"]
    assert plain == unbox(boxed) != boxed
    assert boxed["kernel"].names == (None, None, None, "channels")
    assert boxed["bias"].names == ("channels",)
    seen = []
    variables = jax.jit(layer.init)(jax.random.key(0), jnp.zeros((1, 8, 8, 4)))
    with laid_out_by(lambda x, names: seen.append((x.shape, names)) or x):
        layer.apply(variables, jnp.zeros((1, 8, 8, 4)))
    assert seen == [((1, 8, 8, 8), ("batch", "height", "width", "channels"))]
