"""Residual networks against hand-written PyTorch ones."""

import numpy as np
import pytest

from fdl.models.resnet import ResNet, cifar_resnet
from tests.models.torch_reference import assert_agrees, torch

pytestmark = pytest.mark.slow  # minutes of compiling


def conv(inputs, outputs, size, stride=1, padding=None):
    padding = (size - 1) // 2 if padding is None else padding
    return torch.nn.Conv2d(inputs, outputs, size, stride, padding, bias=False)


class Block(torch.nn.Module):
    def __init__(self, inputs, channels, stride, bottleneck, project, skip):
        super().__init__()
        outputs = 4 * channels if bottleneck else channels
        shapes = [(inputs, channels, 3, stride), (channels, channels, 3, 1)]
        if bottleneck:
            shapes = [(inputs, channels, 1, 1), (channels, channels, 3, stride), (channels, outputs, 1, 1)]
        self.convs = torch.nn.ModuleList(conv(*shape) for shape in shapes)
        self.norms = torch.nn.ModuleList(torch.nn.BatchNorm2d(shape[1]) for shape in shapes)
        self.same = stride == 1 and inputs == outputs
        if skip and project and not self.same:
            self.shortcut = torch.nn.Sequential(
                conv(inputs, outputs, 1, stride), torch.nn.BatchNorm2d(outputs)
            )
        self.skip, self.project, self.more = skip, project, outputs - inputs

    def forward(self, x):
        y = x
        for index, (layer, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            y = norm(layer(y))
            y = torch.relu(y) if index < len(self.convs) - 1 else y
        if not self.skip:
            return torch.relu(y)
        if self.same:
            return torch.relu(x + y)
        if self.project:
            return torch.relu(self.shortcut(x) + y)
        half = self.more // 2
        padded = torch.nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, half, self.more - half))
        return torch.relu(padded + y)


class Net(torch.nn.Module):
    def __init__(self, blocks, outputs, width, bottleneck, small, skip):
        super().__init__()
        self.stem = conv(3, width, 3) if small else conv(3, width, 7, 2)
        self.norm = torch.nn.BatchNorm2d(width)
        self.pool = torch.nn.Identity() if small else torch.nn.MaxPool2d(3, 2, 1)
        parts, inputs = [], width
        for stage, count in enumerate(blocks):
            for index in range(count):
                channels = width * 2**stage
                stride = 2 if stage and not index else 1
                parts.append(Block(inputs, channels, stride, bottleneck, not small, skip))
                inputs = 4 * channels if bottleneck else channels
        self.blocks = torch.nn.Sequential(*parts)
        self.out = torch.nn.Linear(inputs, outputs)

    def forward(self, x):
        x = self.pool(torch.relu(self.norm(self.stem(x))))
        return self.out(self.blocks(x).mean((2, 3)))


def names(model):
    out = {"Conv_0": "stem", "BatchNorm_0": "norm", "Dense_0": "out"}
    layers = 3 if model.bottleneck else 2
    for index in range(sum(model.blocks)):
        for layer in range(layers):
            out[f"Residual_{index}/Conv_{layer}"] = f"blocks.{index}.convs.{layer}"
            out[f"Residual_{index}/BatchNorm_{layer}"] = f"blocks.{index}.norms.{layer}"
        out[f"Residual_{index}/Conv_{layers}"] = f"blocks.{index}.shortcut.0"
        out[f"Residual_{index}/BatchNorm_{layers}"] = f"blocks.{index}.shortcut.1"
    return out


def check(model, shape, **options):
    fields = (model.blocks, model.outputs, model.width, model.bottleneck, model.small, model.skip)
    assert_agrees(model, Net(*fields), names(model), shape, **options)


@pytest.mark.parametrize("depth, skip", [(20, True), (8, False)])
def test_agrees_in_float32(depth, skip):
    check(cifar_resnet(depth, skip=skip), (2, 8, 8, 3))


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (cifar_resnet(8), (4, 8, 8, 3)),
        (ResNet((1, 2), 5, width=4), (2, 32, 32, 3)),
        (ResNet((1, 2), 5, width=4, bottleneck=True), (2, 33, 32, 3)),
    ],
    ids=["cifar", "basic", "bottleneck"],
)
def test_training_agrees(model, shape):
    # Gradients through batch norm lose digits a layer: float64 shows that the function is the same.
    check(model, shape, train=True, dtype=np.float64, rtol=1e-9)
