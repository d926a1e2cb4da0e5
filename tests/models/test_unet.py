"""The U-Net against a hand-written PyTorch one."""

import jax
import jax.numpy as jnp
import pytest

from fdl.models.norms import batch_norm
from fdl.models.unet import UNet
from tests.models.torch_reference import assert_agrees, torch

pytestmark = pytest.mark.slow  # minutes of compiling


class Double(torch.nn.Module):
    def __init__(self, inputs, channels, norm):
        super().__init__()
        self.convs = torch.nn.ModuleList(
            torch.nn.Conv2d(before, channels, 3, padding=1, bias=not norm) for before in (inputs, channels)
        )
        make = torch.nn.BatchNorm2d if norm else lambda _: torch.nn.Identity()
        self.norms = torch.nn.ModuleList(make(channels) for _ in range(2))

    def forward(self, x):
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = torch.relu(norm(conv(x)))
        return x


class Up(torch.nn.Module):
    """Holds the transposed kernel as a convolution's `[O, I, *K]`, turned round."""

    def __init__(self, inputs, channels):
        super().__init__()
        self.conv = torch.nn.Conv2d(inputs, channels, 2)

    def forward(self, x):
        weight = self.conv.weight.transpose(0, 1).flip(2, 3)
        return torch.nn.functional.conv_transpose2d(x, weight, self.conv.bias, stride=2)


class Net(torch.nn.Module):
    def __init__(self, widths, outputs, norm, skip):
        super().__init__()
        down, inputs = [], 3
        for width in widths:
            down.append(Double(inputs, width, norm))
            inputs = width
        ups, doubles = [], []
        for width in reversed(widths[:-1]):
            ups.append(Up(inputs, width))
            doubles.append(Double(2 * width if skip else width, width, norm))
            inputs = width
        self.doubles, self.ups = torch.nn.ModuleList(down + doubles), torch.nn.ModuleList(ups)
        self.out, self.levels, self.skip = torch.nn.Conv2d(inputs, outputs, 1), len(widths), skip

    def forward(self, x):
        kept = []
        for double in self.doubles[: self.levels - 1]:
            kept.append(double(x))
            x = torch.nn.functional.max_pool2d(kept[-1], 2)
        x = self.doubles[self.levels - 1](x)
        for up, double in zip(self.ups, self.doubles[self.levels :], strict=True):
            x, same = up(x), kept.pop()
            x = double(torch.cat([same, x], 1) if self.skip else x)
        return self.out(x)


@pytest.mark.parametrize(("norm", "skip"), [(False, True), (True, True), (False, False)])
def test_agrees_with_torch(norm, skip):
    widths = (4, 6, 8)
    names = {"Conv_0": "out"}
    for index in range(2):
        names[f"ConvTranspose_{index}"] = f"ups.{index}.conv"
    for index in range(5):
        for layer in range(2):
            names[f"DoubleConv_{index}/Conv_{layer}"] = f"doubles.{index}.convs.{layer}"
            names[f"DoubleConv_{index}/BatchNorm_{layer}"] = f"doubles.{index}.norms.{layer}"
    model = UNet(2, widths, norm=batch_norm if norm else None, skip=skip)
    assert_agrees(model, Net(widths, 2, norm, skip), names, (2, 8, 12, 3))


def test_sizes_that_cannot_be_halved_are_refused():
    with pytest.raises(ValueError, match="images are 12x20; expected multiples of 8, for 4 widths"):
        jax.eval_shape(UNet(1, (2, 2, 2, 2)).init, jax.random.key(0), jnp.zeros((1, 12, 20, 1)))


def test_the_papers_widths_have_its_parameters():
    variables = jax.eval_shape(UNet(2).init, jax.random.key(0), jnp.zeros((1, 32, 32, 1)))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == 31_030_658
