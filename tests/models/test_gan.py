"""Generators and discriminators: DCGAN against hand-written PyTorch, shapes, parameter counts."""

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl.models.axes import names_shown
from fdl.models.gan import DCGANDiscriminator, DCGANGenerator, MLPDiscriminator, MLPGenerator
from fdl.models.norms import batch_norm
from fdl.models.spectral import spectral_norm
from tests.models.torch_reference import assert_agrees, torch

pytestmark = pytest.mark.slow  # minutes of compiling

F = torch.nn.functional
DOUBLE: Any = np.float64


class Layer(torch.nn.Module):
    """A kernel [O, I, 4, 4], for a convolution, or for a transposed one (of which PyTorch flips it)."""

    def __init__(self, inputs, outputs, bias, transposed=False):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(outputs, inputs, 4, 4))
        self.bias = torch.nn.Parameter(torch.zeros(outputs)) if bias else None
        self.transposed = transposed

    def forward(self, x, stride, padding):
        if self.transposed:
            kernel = self.weight.transpose(0, 1).flip(2, 3)
            return F.conv_transpose2d(x, kernel, self.bias, stride, padding)
        return F.conv2d(x, self.weight, self.bias, stride, padding)


class Generator(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = Layer(5, 8, False, True), Layer(8, 4, False, True)
        self.c = Layer(4, 3, True, True)
        self.p, self.q = torch.nn.BatchNorm2d(8), torch.nn.BatchNorm2d(4)

    def forward(self, z):
        x = torch.relu(self.p(self.a(z[:, :, None, None], 1, 0)))
        x = torch.relu(self.q(self.b(x, 2, 1)))
        return torch.tanh(self.c(x, 2, 1))


class Discriminator(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = Layer(3, 4, True), Layer(4, 8, False), Layer(8, 1, True)
        self.q = torch.nn.BatchNorm2d(8)

    def forward(self, x):
        x = F.leaky_relu(self.a(x, 2, 1), 0.2)
        x = F.leaky_relu(self.q(self.b(x, 2, 1)), 0.2)
        return self.c(x, 1, 0).flatten()


@pytest.mark.parametrize("train", [False, True])
def test_dcgan_generator_agrees_with_torch(train):
    names = {f"ConvTranspose_{i}": name for i, name in enumerate("abc")}
    names |= {"BatchNorm_0": "p", "BatchNorm_1": "q"}
    assert_agrees(DCGANGenerator((8, 4)), Generator(), names, (6, 5), train=train, dtype=DOUBLE)


@pytest.mark.parametrize("train", [False, True])
def test_dcgan_discriminator_agrees_with_torch(train):
    names = {"Conv_0": "a", "Conv_1": "b", "Conv_2": "c", "BatchNorm_0": "q"}
    model = DCGANDiscriminator((4, 8))
    assert_agrees(model, Discriminator(), names, (6, 16, 16, 3), train=train, dtype=DOUBLE)


def parameters(model, *shape):
    made = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros(shape))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(made["params"]))


def test_parameter_counts_are_those_of_pytorchs_dcgan_example():
    # Theirs has no bias at all; ours has where no norm follows.
    assert parameters(DCGANGenerator((512, 256, 128, 64)), 1, 100) == 3_576_704 + 3
    assert parameters(DCGANDiscriminator((64, 128, 256, 512)), 1, 64, 64, 3) == 2_765_568 + 64 + 1


@pytest.mark.parametrize(
    ("model", "inputs", "outputs"),
    [
        (DCGANGenerator((8,), 1), (2, 3), (2, 8, 8, 1)),
        (DCGANGenerator((8, 4, 4), 2, norm=None), (2, 3), (2, 32, 32, 2)),
        (DCGANDiscriminator((8,)), (2, 8, 8, 1), (2,)),
        (DCGANDiscriminator((4, 8), norm=None, weight=spectral_norm), (2, 16, 16, 3), (2,)),
        (MLPGenerator((8,), (4, 4, 1)), (2, 3), (2, 4, 4, 1)),
        (MLPGenerator((8, 8), (2,), norm=batch_norm), (2, 3), (2, 2)),
        (MLPDiscriminator((8,)), (2, 4, 4, 1), (2,)),
        (MLPDiscriminator((8, 8), weight=spectral_norm), (2, 3), (2,)),
    ],
)
def test_shapes_and_names_of_axes(model, inputs, outputs):
    init = functools.partial(model.init_with_output, train=False)
    with names_shown():
        out, variables = jax.eval_shape(init, jax.random.key(0), jnp.zeros(inputs))
    assert out.shape == outputs
    boxed = jax.tree.leaves(variables["params"], is_leaf=lambda leaf: isinstance(leaf, nn.Partitioned))
    ours = [leaf for leaf in boxed if isinstance(leaf, nn.Partitioned)]
    assert ours and all(len(leaf.names) == leaf.value.ndim for leaf in ours)


@pytest.mark.parametrize("shape", [(1, 8, 8, 3), (1, 16, 8, 3), (1, 16, 16)])
def test_images_of_another_size_are_refused(shape):
    with pytest.raises(ValueError, match=r"expected \[B, 16, 16, C\]"):
        DCGANDiscriminator((4, 8)).init(jax.random.key(0), jnp.zeros(shape))


def test_an_mlp_pair_is_what_numpy_computes():
    model = MLPDiscriminator((4,))
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    out, variables = model.init_with_output(jax.random.key(0), x)
    first, last = (nn.unbox(variables)["params"][f"_Dense_{i}"] for i in range(2))
    hidden = x @ np.asarray(first["kernel"]) + first["bias"]
    hidden = np.where(hidden > 0, hidden, 0.2 * hidden)
    np.testing.assert_allclose(out, (hidden @ last["kernel"] + last["bias"])[:, 0], rtol=1e-5, atol=1e-6)
