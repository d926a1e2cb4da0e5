"""A convolutional variational autoencoder against a hand-written PyTorch one, with the same draws."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl.models import MLP
from fdl.models.autoencoder import ConvDecoder, ConvEncoder
from fdl.models.vae import VAE

pytestmark = pytest.mark.slow  # minutes of compiling

NOISE = np.random.default_rng(1).normal(size=(3, 5)).astype(np.float32)


class Drawn(nn.Module):
    """Outputs at latents drawn with fixed noise: all parameters have gradients."""

    vae: VAE

    def __call__(self, x, train=False):
        mean, log_variance = self.vae.encode(x, train)
        return self.vae.decode(mean + jnp.exp(0.5 * log_variance) * NOISE, train)


def test_agrees_with_torch():
    torch = pytest.importorskip("torch", reason="PyTorch is the reference")
    from tests.models.torch_reference import assert_agrees

    class Up(torch.nn.Module):
        """Holds the transposed kernel as a convolution's `[O, I, *K]`, turned round."""

        def __init__(self, inputs, outputs):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(outputs, inputs, 4, 4))
            self.bias = torch.nn.Parameter(torch.zeros(outputs))

        def forward(self, x):
            kernel = self.weight.transpose(0, 1).flip(2, 3)
            return torch.nn.functional.conv_transpose2d(x, kernel, self.bias, stride=2, padding=1)

    class Reference(torch.nn.Module):
        def __init__(self):
            super().__init__()
            down = [torch.nn.Conv2d(i, o, 4, stride=2, padding=1) for i, o in ((2, 4), (4, 6))]
            self.down, self.code = torch.nn.ModuleList(down), torch.nn.Linear(2 * 3 * 6, 10)
            self.start = torch.nn.Linear(5, 2 * 3 * 6)
            self.up = torch.nn.ModuleList([Up(6, 4), Up(4, 2)])

        def forward(self, x):
            for conv in self.down:
                x = torch.relu(conv(x))
            mean, log_variance = self.code(x.permute(0, 2, 3, 1).flatten(1)).chunk(2, dim=1)
            z = mean + torch.exp(0.5 * log_variance) * torch.tensor(NOISE)
            x = torch.relu(self.start(z)).reshape(-1, 2, 3, 6).permute(0, 3, 1, 2)
            return self.up[1](torch.relu(self.up[0](x)))

    model = Drawn(VAE(ConvEncoder(10, (4, 6)), ConvDecoder((8, 12, 2), (6, 4))))
    names = {"vae/encoder/dense": "code", "vae/decoder/dense": "start"}
    for index in range(2):
        names[f"vae/encoder/convs/Conv_{index}"] = f"down.{index}"
        names[f"vae/decoder/convs/ConvTranspose_{index}"] = f"up.{index}"
    assert_agrees(model, Reference(), names, (3, 8, 12, 2))


def test_a_call_decodes_the_mean():
    model: Any = VAE(MLP((), 2 * 3), MLP((), 4))
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    variables = nn.unbox(jax.jit(model.init)(jax.random.key(0), x))
    dense = variables["params"]["encoder"]["Dense_0"]
    mean = x @ dense["kernel"][:, :3]
    np.testing.assert_allclose(model.apply(variables, x, method="encode")[0], mean, rtol=1e-5, atol=1e-6)
    outputs = mean @ variables["params"]["decoder"]["Dense_0"]["kernel"]
    np.testing.assert_allclose(model.apply(variables, x), outputs, rtol=1e-5, atol=1e-6)


def test_an_odd_encoder_is_refused():
    model = VAE(MLP((), 3), MLP((), 4))
    with pytest.raises(ValueError, match="the encoder has 3 outputs; expected an even number"):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 4)))
