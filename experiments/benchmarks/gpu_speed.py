"""Parts of `gpu.py` about the speed of training steps in bfloat16: gpt, resnet.

Steps of fdl's learner, which also measures its metrics, and of PyTorch's loss alone under `torch.compile`.
Parameters in float32 and products in bfloat16 (PyTorch: autocast); noise, resident on the device. By turns in
one process. The MFU: FLOPs of matrix products, counted from fdl's program for all (of attention all places,
also those that the mask hides), over the peak of dense bfloat16 products that the GPU's data sheet states.
"""

import functools
import itertools
import statistics
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from gpu_lines import Line, by_turns, ratio, spent, utilisation

from fdl import data, models, tasks
from fdl.aot.flops import cost_of
from fdl.experiment import Batch, Learner


class Sizes(NamedTuple):
    """Of the GPT and its batch."""

    vocabulary: int = 50257
    length: int = 1024
    width: int = 768
    layers: int = 12
    heads: int = 12
    rows: int = 8


class Images(NamedTuple):
    """Of the ResNet-18 and its batch."""

    width: int = 64
    side: int = 32
    rows: int = 256


def gpt(
    sizes: Sizes = Sizes(),  # noqa: B008
    device: str = "cuda",
    *,
    kernel: Literal["cudnn", "xla"] = "cudnn",
    rounds: int = 5,
    steps: int = 10,
) -> list[Line]:
    """GPT-2 with AdamW, and once more with attention by one kernel; see `fdl.models.fused_attend`."""
    tokens = np.random.default_rng(0).integers(0, sizes.vocabulary, (sizes.rows, sizes.length + 1))
    batch = {"x": jnp.asarray(tokens[:, :-1], jnp.int32), "y": jnp.asarray(tokens[:, 1:], jnp.int32)}
    learners = {
        "fdl": gpt_learner(sizes),
        f"fdl, attention by {kernel}": gpt_learner(
            sizes, attend=functools.partial(models.fused_attend, implementation=kernel)
        ),
    }
    flops = flops_of(learners["fdl"], batch)
    init = learners["fdl"].init  # which takes long to compile; the other makes the same parameters
    runs = {name: with_fdl(learner._replace(init=init), batch, steps) for name, learner in learners.items()}
    runs["PyTorch"] = gpt_with_torch(sizes, tokens, device, steps)
    return compared(by_turns(runs, rounds), flops, sizes.rows * sizes.length, "tokens/s", steps, least=45)


def resnet(
    images: Images = Images(),  # noqa: B008
    device: str = "cuda",
    *,
    rounds: int = 5,
    steps: int = 20,
) -> list[Line]:
    """ResNet-18 for small images, gradient descent with momentum; PyTorch's with channels last."""
    dice = np.random.default_rng(0)
    x = dice.standard_normal((images.rows, images.side, images.side, 3), np.float32)
    rows = {"x": x, "y": dice.integers(0, 10, images.rows).astype(np.int32)}
    model = models.MixedPrecision(models.resnet18(10, small=True, width=images.width))
    learner = tasks.classification_learner(
        model, data.Splits(rows, rows, rows), optax.sgd(0.01, momentum=0.9)
    )
    batch = jax.device_put(rows)
    runs = {
        "fdl": with_fdl(learner, batch, steps),
        "PyTorch": resnet_with_torch(images, rows, device, steps),
    }
    return compared(by_turns(runs, rounds), flops_of(learner, batch), images.rows, "images/s", steps)


def compared(
    seconds: dict[str, list[float]], flops: int, rows: int, unit: str, steps: int, least: float | None = None
) -> list[Line]:
    """Times, speeds and ratios to PyTorch."""
    kind = jax.devices()[0].device_kind
    lines = []
    for name, times in seconds.items():
        step = statistics.median(times) / steps
        goal = ("≥", least) if least and name != "PyTorch" else None
        lines += [spent(f"{name}: a step", times, each=steps), Line(f"{name}: speed", rows / step, unit)]
        lines += utilisation(f"{name}: use of the peak", flops, step, kind, goal)
    ours = [name for name in seconds if name != "PyTorch"]
    return lines + [
        ratio(f"{name} over torch.compile", seconds["PyTorch"], seconds[name], ("≥", 1.0)) for name in ours
    ]


def gpt_learner(sizes: Sizes, **options: Any) -> Learner:
    """fdl's; options are those of the transformer."""
    vocabulary, length, width, layers, heads, _ = sizes
    model = models.gpt2(vocabulary, length=length, width=width, layers=layers, heads=heads, **options)
    return tasks.language_learner(models.MixedPrecision(model), optax.adamw(1e-3))


def flops_of(learner: Learner, batch: Batch) -> int:
    """Those of matrix products of one step."""
    key = jax.random.key(0)
    return cost_of(
        learner.step, *jax.eval_shape(lambda: (learner.init(key), batch, key)), platform="cuda"
    ).matrix


def with_fdl(learner: Learner, batch: Batch, steps: int) -> Callable[[], Any]:
    """Some steps of a learner, compiled, called one by one."""
    key = jax.random.key(0)
    state = [jax.jit(learner.init)(key)]
    compiled = jax.jit(learner.step, donate_argnums=0)

    def run() -> None:
        for _ in range(steps):
            state[0], _ = compiled(state[0], batch, key)
        jax.block_until_ready(state)

    return run


def with_torch(loss: Callable[[], Any], optimizer: Any, device: str, steps: int) -> Callable[[], Any]:
    """Some steps down a loss, which is compiled for a GPU."""
    import torch

    compiled = torch.compile(loss, disable=device == "cpu")

    def run() -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            compiled().backward()
            optimizer.step()
        if device != "cpu":
            torch.cuda.synchronize()

    return run


def gpt_with_torch(sizes: Sizes, tokens: np.ndarray, device: str, steps: int) -> Callable[[], Any]:
    """The GPT's steps with PyTorch."""
    import torch
    from torch.nn import functional

    torch.set_float32_matmul_precision("high")
    net = torch_gpt(sizes).to(device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)
    x, y = (torch.tensor(part, device=device) for part in (tokens[:, :-1], tokens[:, 1:]))

    def loss() -> torch.Tensor:
        with torch.autocast(device, torch.bfloat16):
            logits = net(x)
        return functional.cross_entropy(logits.float().flatten(0, 1), y.flatten())

    return with_torch(loss, optimizer, device, steps)


def resnet_with_torch(images: Images, rows: Batch, device: str, steps: int) -> Callable[[], Any]:
    """The ResNet's steps with PyTorch, images and kernels with channels last."""
    import torch
    from torch.nn import functional

    net: Any = torch_resnet(images.width).to(device)
    net = net.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, fused=True)
    x = torch.tensor(rows["x"], device=device).movedim(-1, 1).contiguous(memory_format=torch.channels_last)
    y = torch.tensor(rows["y"], device=device, dtype=torch.long)

    def loss() -> torch.Tensor:
        with torch.autocast(device, torch.bfloat16):
            logits = net(x)
        return functional.cross_entropy(logits.float(), y)

    return with_torch(loss, optimizer, device, steps)


def torch_gpt(sizes: Sizes) -> Any:
    """PyTorch's module: tokens `[B, T]` to logits `[B, T, V]`, by the embeddings."""
    import torch
    from torch import nn
    from torch.nn import functional

    width = sizes.width

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
            self.read, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            parts = self.read(self.before(x)).unflatten(-1, (3, sizes.heads, width // sizes.heads))
            seen = functional.scaled_dot_product_attention(*parts.permute(2, 0, 3, 1, 4), is_causal=True)
            x = x + self.out(seen.transpose(1, 2).flatten(2))
            return x + self.down(functional.gelu(self.up(self.after(x)), approximate="tanh"))

    class GPT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.places = (
                nn.Embedding(sizes.vocabulary, width),
                nn.Embedding(sizes.length, width),
            )
            self.layers = nn.Sequential(*[Layer() for _ in range(sizes.layers)], nn.LayerNorm(width))
            for table in (self.tokens, self.places):
                nn.init.normal_(table.weight, std=0.02)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            states = self.layers(self.tokens(x) + self.places.weight)
            return functional.linear(states, self.tokens.weight)

    return GPT()


def torch_resnet(width: int) -> Any:
    """PyTorch's module: images `[B, 3, H, W]` to logits `[B, 10]`; shortcuts have no parameters, as fdl's."""
    import torch
    from torch import nn
    from torch.nn import functional

    def convolved(before: int, channels: int, strides: int) -> Sequence[nn.Module]:
        return nn.Conv2d(before, channels, 3, strides, 1, bias=False), nn.BatchNorm2d(channels)

    class Block(nn.Module):
        def __init__(self, before: int, channels: int) -> None:
            super().__init__()
            self.strides, self.more = channels // before, (channels - before) // 2
            first = convolved(before, channels, self.strides)
            self.branch = nn.Sequential(*first, nn.ReLU(), *convolved(channels, channels, 1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            short = x
            if self.more:
                padding = (0, 0, 0, 0, self.more, self.more)
                short = functional.pad(x[:, :, :: self.strides, :: self.strides], padding)
            return torch.relu(self.branch(x) + short)

    widths = [width * 2**stage for stage in (0, 0, 0, 1, 1, 2, 2, 3, 3)]
    blocks = [Block(before, after) for before, after in itertools.pairwise(widths)]
    last = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8 * width, 10)]
    return nn.Sequential(*convolved(3, width, 1), nn.ReLU(), *blocks, *last)
