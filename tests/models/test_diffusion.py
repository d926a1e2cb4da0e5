"""Denoisers against hand-written PyTorch ones, and against their published sizes."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl.models.condition import Condition as OurCondition
from fdl.models.condition import ddpm_waves, time_waves
from fdl.models.diffusion import DiffusionMLP, DiffusionUNet, ddpm_unet
from fdl.models.dit import DiT, from_patches, place_waves, to_patches
from fdl.models.norms import group_norm

torch = pytest.importorskip("torch", reason="PyTorch is the reference")
from tests.models.torch_reference import assert_agrees  # noqa: E402

pytestmark = pytest.mark.slow  # minutes of compiling

functional = torch.nn.functional
TIME = np.array([0.1, 0.83], np.float32)
LABEL = np.array([2, -1], np.int32)
CLASSES = 3
# 1000 t in a sine loses digits in float32. The gradient of a key's bias is zero, as it shifts all scores
# of a query alike.
PRECISE: dict[str, Any] = {"dtype": np.float64, "rtol": 1e-6, "zero": ("key.bias",)}


class Asked(nn.Module):
    """A denoiser at fixed times and labels."""

    model: nn.Module

    def __call__(self, x, train=False):
        return self.model(x, jnp.asarray(TIME, x.dtype), LABEL, train)


def waves(width):
    """`[2, width]` in float64, then float32."""
    rates = 10000.0 ** (-np.arange(width // 2) / (width // 2))
    angles = 1000.0 * TIME.astype(np.float64)[:, None] * rates
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=-1)


class Condition(torch.nn.Module):
    def __init__(self, width, waves):
        super().__init__()
        self.time_in, self.time_out = torch.nn.Linear(waves, width), torch.nn.Linear(width, width)
        self.labels, self.waves = torch.nn.Linear(CLASSES, width, bias=False), waves

    def forward(self):
        dtype = self.time_in.weight.dtype
        x = self.time_out(functional.silu(self.time_in(torch.tensor(waves(self.waves)).to(dtype))))
        return x + torch.stack([self.labels.weight[:, LABEL[0]], torch.zeros_like(x[1])])


class Attention(torch.nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (torch.nn.Linear(width, width) for _ in range(4))

    def forward(self, x):
        split = lambda y: y.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)  # noqa: E731
        parts = (split(part(x)) for part in (self.query, self.key, self.value))
        y = functional.scaled_dot_product_attention(*parts)
        return self.out(y.transpose(1, 2).reshape(x.shape))


class Block(torch.nn.Module):
    def __init__(self, inputs, channels, width):
        super().__init__()
        self.norms = torch.nn.ModuleList(torch.nn.GroupNorm(2, n) for n in (inputs, channels))
        self.first = torch.nn.Conv2d(inputs, channels, 3, padding=1)
        self.second = torch.nn.Conv2d(channels, channels, 3, padding=1)
        self.condition = torch.nn.Linear(width, channels)
        self.project = torch.nn.Conv2d(inputs, channels, 1) if inputs != channels else torch.nn.Identity()

    def forward(self, x, condition):
        y = self.first(functional.silu(self.norms[0](x)))
        y = y + self.condition(functional.silu(condition))[:, :, None, None]
        return self.project(x) + self.second(functional.silu(self.norms[1](y)))


class MapAttention(torch.nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm, self.attention = torch.nn.GroupNorm(2, channels), Attention(channels, 2)

    def forward(self, x):
        y = self.attention(self.norm(x).flatten(2).transpose(1, 2))
        return x + y.transpose(1, 2).reshape(x.shape)


class UNet(torch.nn.Module):
    """Widths 4 and 6, one block on the way down, two on the way up, attention at the smaller size."""

    def __init__(self):
        super().__init__()
        self.condition, self.enter = Condition(16, 4), torch.nn.Conv2d(2, 4, 3, padding=1)
        sizes = [(4, 4), (4, 6), (6, 6), (6, 6), (12, 6), (10, 6), (10, 4), (8, 4)]
        self.blocks = torch.nn.ModuleList(Block(i, o, 16) for i, o in sizes)
        self.attentions = torch.nn.ModuleList(MapAttention(6) for _ in range(4))
        self.down = torch.nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.up = torch.nn.Conv2d(6, 6, 3, padding=1)
        self.norm, self.out = torch.nn.GroupNorm(2, 4), torch.nn.Conv2d(4, 2, 3, padding=1)

    def forward(self, x):
        c, (b, a) = self.condition(), (self.blocks, self.attentions)
        first = self.enter(x)
        second = b[0](first, c)
        third = self.down(second)
        fourth = a[0](b[1](third, c))
        x = b[3](a[1](b[2](fourth, c)), c)
        x = a[2](b[4](torch.cat([x, fourth], 1), c))
        x = a[3](b[5](torch.cat([x, third], 1), c))
        x = self.up(functional.interpolate(x, scale_factor=2))
        x = b[7](torch.cat([b[6](torch.cat([x, second], 1), c), first], 1), c)
        return self.out(functional.silu(self.norm(x)))


PARTS = ("query", "key", "value", "out")
CONDITION = {f"model/condition/{n}": f"condition.{n}" for n in ("time_in", "time_out", "labels")}


def test_the_unet_agrees_with_torch():
    names = {"model/in": "enter", "model/out": "out", "model/GroupNorm_0": "norm"} | CONDITION
    names |= {"model/down_1": "down", "model/up_1": "up"}
    for index in range(8):
        ours, theirs = f"model/ConditionedBlock_{index}", f"blocks.{index}"
        names |= {f"{ours}/{n}": f"{theirs}.{n}" for n in ("first", "second", "condition", "project")}
        names |= {f"{ours}/GroupNorm_{n}": f"{theirs}.norms.{n}" for n in range(2)}
    for index in range(4):
        ours, theirs = f"model/MapAttention_{index}", f"attentions.{index}"
        names |= {f"{ours}/attention/{n}": f"{theirs}.attention.{n}" for n in PARTS}
        names[f"{ours}/GroupNorm_0"] = f"{theirs}.norm"
    norm = functools.partial(group_norm, groups=2)
    model = DiffusionUNet((4, 6), 1, (False, True), heads=2, classes=CLASSES, norm=norm)
    assert_agrees(Asked(model), UNet(), names, (2, 4, 6, 2), **PRECISE)


class DiTReference(torch.nn.Module):
    def __init__(self, width, layers):
        super().__init__()
        self.condition, self.patches = Condition(width, 256), torch.nn.Linear(8, width)
        self.modulations = torch.nn.ModuleList(torch.nn.Linear(width, 6 * width) for _ in range(layers))
        self.attentions = torch.nn.ModuleList(Attention(width, 2) for _ in range(layers))
        self.ups = torch.nn.ModuleList(torch.nn.Linear(width, 4 * width) for _ in range(layers))
        self.downs = torch.nn.ModuleList(torch.nn.Linear(4 * width, width) for _ in range(layers))
        self.modulation, self.out = torch.nn.Linear(width, 2 * width), torch.nn.Linear(width, 8)

    def forward(self, x):
        b, c, h, w = x.shape
        y = x.reshape(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 3, 5, 1).reshape(b, -1, 4 * c)
        y = self.patches(y) + torch.tensor(np.asarray(place_waves(h // 2, w // 2, 8))).to(x.dtype)
        condition = functional.silu(self.condition())[:, None]
        norm = lambda y: functional.layer_norm(y, y.shape[-1:], eps=1e-6)  # noqa: E731
        layers = (self.modulations, self.attentions, self.ups, self.downs)
        for modulation, attention, up, down in zip(*layers, strict=True):
            shift, scale, gate, shift_last, scale_last, gate_last = modulation(condition).chunk(6, -1)
            y = y + gate * attention(norm(y) * (1 + scale) + shift)
            hidden = functional.gelu(up(norm(y) * (1 + scale_last) + shift_last), approximate="tanh")
            y = y + gate_last * down(hidden)
        shift, scale = self.modulation(condition).chunk(2, -1)
        y = self.out(norm(y) * (1 + scale) + shift).reshape(b, h // 2, w // 2, 2, 2, c)
        return y.permute(0, 5, 1, 3, 2, 4).reshape(b, c, h, w)


def test_the_transformer_agrees_with_torch():
    names = {f"model/{n}": n for n in ("patches", "modulation", "out")} | CONDITION
    for index in range(2):
        ours = f"model/block_{index}"
        names[f"{ours}/modulation"] = f"modulations.{index}"
        names |= {f"{ours}/attention/{n}": f"attentions.{index}.{n}" for n in PARTS}
        names |= {f"{ours}/feed_forward/{n}": f"{n}s.{index}" for n in ("up", "down")}
    model = Asked(DiT(2, 8, 2, 2, CLASSES))
    assert_agrees(model, DiTReference(8, 2), names, (2, 4, 6, 2), **PRECISE)


def size(model, shape):
    made = functools.partial(model.init, train=False)
    variables = jax.eval_shape(made, jax.random.key(0), jnp.zeros(shape), jnp.zeros(1), None)
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


@pytest.mark.parametrize(
    ("model", "shape", "published"),
    [
        (ddpm_unet(), (1, 32, 32, 3), 35.746307),  # of the authors' checkpoint for CIFAR-10
        (DiT(classes=1000), (1, 32, 32, 4), 33),
        (DiT(width=768, heads=12, classes=1000), (1, 32, 32, 4), 130),
    ],
    ids=["ddpm-cifar10", "dit-s/2", "dit-b/2"],
)
def test_published_sizes(model, shape, published):
    digits = 6 if isinstance(published, float) else 0
    assert round(size(model, shape) / 1e6, digits) == published


MODELS = {
    "dit": (DiT(2, 8, 1, 2, classes=2), 4),
    "mlp": (DiffusionMLP((8, 8), classes=2), 2),
}


@pytest.mark.parametrize("name", MODELS)
def test_it_starts_at_zero_and_sees_times_and_labels(name):
    model, rank = MODELS[name]
    x = jnp.broadcast_to(jax.random.normal(jax.random.key(0), (1, 4, 4, 4)[:rank]), (4, 4, 4, 4)[:rank])
    out, variables = jax.jit(model.init_with_output)(jax.random.key(1), x, jnp.zeros(4))
    np.testing.assert_array_equal(out, 0)
    draw = lambda leaf: leaf + 0.3 * jax.random.normal(jax.random.key(leaf.size), leaf.shape)  # noqa: E731
    variables, label = jax.tree.map(draw, nn.unbox(variables)), jnp.array([-1, -1, 0, 1])
    out = jax.jit(model.apply)(variables, x, jnp.array([0.5, 0.8, 0.8, 0.8]), label)
    gaps = [np.abs(out[i] - out[i + 1]).max() for i in range(3)]
    assert min(gaps) > 1e-3  # of a time, of no label to one, of one label to another


def test_no_label_is_label_minus_one():
    module, time = OurCondition(4, 4, 2), jnp.asarray(TIME)
    label = jnp.array([-1, -1])
    variables = module.init(jax.random.key(0), time, label, jnp.float32)
    without = module.apply(variables, time, None, jnp.float32)
    np.testing.assert_array_equal(without, module.apply(variables, time, label, jnp.float32))


def test_time_waves():
    np.testing.assert_allclose(time_waves(jnp.asarray(TIME), 8), waves(8), atol=1e-4)
    with pytest.raises(ValueError, match="the width of the time's embedding is 3; expected an even number"):
        time_waves(jnp.asarray(TIME), 3)


def test_ddpm_waves_are_those_of_its_code():
    half, t = 4, np.array([0, 1, 250, 999])
    rates = np.exp(np.arange(half) * -(np.log(10000) / (half - 1)))
    wanted = np.concatenate([np.sin(t[:, None] * rates), np.cos(t[:, None] * rates)], axis=1)
    np.testing.assert_allclose(ddpm_waves(jnp.asarray(t / 1000), 8), wanted, atol=2e-4)


def test_the_ddpm_unet_starts_and_drops_as_the_papers():
    model = ddpm_unet((32, 64), attention=(False, True))
    x, time = jnp.zeros((1, 8, 8, 3)), jnp.zeros(1)
    params = nn.unbox(jax.jit(model.init)(jax.random.key(0), x, time))["params"]
    kernel = params["ConditionedBlock_2"]["first"]["kernel"]  # from 32 to 64 channels
    bound = np.sqrt(3 / (9 * (32 + 64) / 2))
    assert 0.99 * bound < np.abs(kernel).max() < bound
    np.testing.assert_allclose(np.var(kernel), bound**2 / 3, rtol=0.05)
    dropped, attending = set(), set()

    def seen(call, args, kwargs, context):
        if type(context.module).__name__ == "Dropout":
            dropped.add(float(context.module.rate))
        if type(context.module).__name__ == "Attention":
            attending.add(context.module.dropout)
        return call(*args, **kwargs)

    with nn.intercept_methods(seen):
        jax.eval_shape(lambda: model.init(jax.random.key(0), x, time))
    assert dropped == {0.1} and attending == {0.0}  # in blocks; of attention weights there is none


def test_patches_and_back():
    x = jnp.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3)
    patches = to_patches(x, 2)
    np.testing.assert_array_equal(patches[1, 4].reshape(2, 2, 3), x[1, 2:4, 2:4])
    np.testing.assert_array_equal(from_patches(patches, 2, 4), x)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (DiffusionUNet((8, 8, 8), 1, (False,) * 3), "images are 6x4; expected multiples of 4"),
        (DiffusionUNet((8, 8), 1, (False,)), r"attention is \(False,\) for 2 widths"),
        (DiT(4, 8, 1, 2), "images are 6x4; expected multiples of the patch's 4"),
        (DiT(2, 6, 1, 2), "the width is 6; expected a multiple of 4"),
    ],
)
def test_what_does_not_fit_is_refused(model, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 6, 4, 1)), jnp.zeros(1))
