"""Norms and initialisers against PyTorch and their definitions; batch and layer norm: test_mlp_torch."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl.models.initializers import identity
from fdl.models.norms import batch_norm, group_norm, layer_norm, local_response_norm, rms_norm
from tests.models.torch_reference import assert_agrees, torch


class Norm(nn.Module):
    norm: functools.partial

    @nn.compact
    def __call__(self, x, train=False):
        return self.norm(x, train)


class OverChannels(torch.nn.Module):
    """A torch norm over the last axis, given the channels first."""

    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, x):
        return self.norm(x.movedim(1, -1)).movedim(-1, 1)


@pytest.mark.parametrize(
    ("norm", "flax", "reference"),
    [
        (functools.partial(group_norm, groups=2), "GroupNorm_0", torch.nn.GroupNorm(2, 6)),
        (functools.partial(group_norm, groups=6), "GroupNorm_0", torch.nn.InstanceNorm2d(6, affine=True)),
        (functools.partial(rms_norm, epsilon=1e-3), "RMSNorm_0", OverChannels(torch.nn.RMSNorm(6, eps=1e-3))),
        (functools.partial(layer_norm), "LayerNorm_0", OverChannels(torch.nn.LayerNorm(6))),
        (functools.partial(batch_norm), "BatchNorm_0", torch.nn.BatchNorm2d(6)),
    ],
    ids=["group", "instance", "rms", "layer", "batch"],
)
def test_agrees_with_torch(norm, flax, reference):
    module = "norm" if isinstance(reference, OverChannels) else ""
    assert_agrees(Norm(norm), reference, {flax: module}, (3, 4, 5, 6), train=True)


def test_local_response_norm_agrees_with_torch():
    x = 10 * np.random.default_rng(0).normal(size=(2, 3, 4, 8)).astype(np.float32)
    theirs = torch.nn.functional.local_response_norm(
        torch.tensor(np.moveaxis(x, -1, 1)), 5, alpha=5e-3, beta=0.75, k=2
    )
    ours = local_response_norm(jnp.asarray(x), scale=1e-3)  # PyTorch divides its alpha by the size
    np.testing.assert_allclose(ours, np.moveaxis(theirs.numpy(), 1, -1), rtol=1e-5)


def test_groups_that_do_not_divide_the_channels_are_refused():
    with pytest.raises(ValueError, match="6 channels do not divide into 4 groups"):
        Norm(functools.partial(group_norm, groups=4)).init(jax.random.key(0), jnp.zeros((1, 6)))


@pytest.mark.parametrize("norm", [batch_norm, layer_norm, functools.partial(group_norm, groups=3), rms_norm])
def test_a_gain_of_zero_gives_zeros(norm):
    x = jax.random.normal(jax.random.key(0), (4, 5, 6))
    module = Norm(functools.partial(norm, gain=nn.initializers.zeros))
    out, _ = module.init_with_output(jax.random.key(1), x)
    np.testing.assert_array_equal(out, np.zeros_like(x))


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (3, 3, 4, 6), (3, 3, 6, 4), (5, 4, 4)])
def test_identity_passes_on_what_both_sides_have(shape):
    kernel = identity(2.0)(jax.random.key(0), shape, jnp.float32)
    x = jax.random.normal(jax.random.key(1), (2, *[7] * (len(shape) - 2), shape[-2]))
    layer = nn.Conv(shape[-1], shape[:-2]) if shape[:-2] else nn.Dense(shape[-1])
    out: Any = layer.clone(use_bias=False).apply({"params": {"kernel": kernel}}, x)
    common = min(shape[-2:])
    expected = np.zeros(out.shape, np.float32)
    expected[..., :common] = 2 * x[..., :common]
    np.testing.assert_allclose(out, expected, rtol=1e-6)
