"""How fast do models train, against the same models in PyTorch?

    uv run python experiments/benchmarks/models.py

Training steps, forward, backward and Adam, of five models in float32: a 784-512-512-10 multilayer
perceptron; LeNet-5 on 28x28 pixels; ResNet-20 on 32x32x3; an LSTM of 256 units over 128 times of 64
inputs; batches of 128; and a GPT of 4 layers of 256 over 128 tokens of 256, batches of 16. Inputs are
noise, made once and resident. By turns, in one process, after compilation, all threads at their
defaults: (a) fdl's step, compiled, called from a Python loop; (b) the same in a `lax.scan` of as many
steps, by XLA's kernels and, where jaxlib has them, by oneDNN's: a run's plan measures both and takes the
faster; (c) PyTorch, eager; (d) PyTorch's best eager form: Adam's fused kernel, and for images the
channels-last layout. The loss is kept at every step and read at none. Prints a line a model: medians in
ms a step, and ratios as medians (and ranges) over the rounds, each of two runs of one round.

Run it on a machine that does nothing else: by default PyTorch's threads (OpenMP) wait for each other
spinning, so that where other programs hold a core it becomes many times slower, and the ratios are void.
`OMP_WAIT_POLICY=PASSIVE` in the environment lets it wait without spinning. The load at the start and
the policy are printed.

PyTorch's LSTM has a second bias, which changes nothing that matters here; its GPT uses the fused
attention. Needs torch (not among fdl's dependencies).
"""

import itertools
import os
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fdl import data, models, tasks
from fdl.experiment import Batch, Learner
from fdl.parallel.kernels import has_onednn, options_of
from fdl.parallel.plan import Kernels
from fdl.train.runtime import machine, prepare

try:
    import torch
except ImportError:
    raise SystemExit(
        "this benchmark needs torch: python3 -m pip --python .venv install torch==2.13.0"
    ) from None
from torch import nn
from torch.nn import functional

ROUNDS, RATE, LENGTH, TOKENS = 5, 1e-3, 128, 256
Run = Callable[[], Any]
"""Trains for a case's steps, to the end."""


class Case(NamedTuple):
    """A model in both libraries.

    Attributes:
      name: for the reader.
      learner: fdl's.
      peer: makes PyTorch's module.
      batches: `"x"` `[S, B, ...]` and `"y"` `[S, B, ...]`, those of the S steps of a run.
    """

    name: str
    learner: Learner
    peer: Callable[[], nn.Module]
    batches: dict[str, np.ndarray]


def main() -> None:
    """Measures and prints."""
    prepare()
    print(
        f"{machine()}; torch {torch.__version__}, {torch.get_num_threads()} threads; {ROUNDS} rounds; "
        f"load {os.getloadavg()[0]:.1f}, OMP_WAIT_POLICY {os.environ.get('OMP_WAIT_POLICY', 'unset')}",
        flush=True,
    )
    for case in cases():
        report(case)


def cases() -> Iterator[Case]:
    """All five, each made when it is asked for."""
    yield classifier("MLP", models.MLP((512, 512), 10), mlp, noise(50, (784,)))
    yield classifier("LeNet-5", models.lenet5(padding=2), lenet5, noise(10, (28, 28, 1)))
    yield classifier("ResNet-20", models.cifar_resnet(20), ResNet20, noise(2, (32, 32, 3)))
    yield classifier("LSTM", models.RecurrentNet((256,), 10), LSTM, noise(2, (LENGTH, 64)))
    yield language()


def noise(steps: int, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Batches of 128 rows of a shape, with labels of ten classes."""
    dice = np.random.default_rng(0)
    x = dice.standard_normal((steps, 128, *shape), np.float32)
    return {"x": x, "y": dice.integers(0, 10, (steps, 128)).astype(np.int32)}


def classifier(name: str, model: Any, peer: Callable[[], nn.Module], batches: dict[str, np.ndarray]) -> Case:
    """A model that gives each row one of ten classes."""
    part = {key: batch[0] for key, batch in batches.items()}
    splits = data.Splits(part, part, part)
    return Case(name, tasks.classification(model, splits, optax.adam(RATE), steps=1).learner, peer, batches)


def language() -> Case:
    """The GPT."""
    model = models.gpt2(TOKENS, length=LENGTH, width=256, layers=4, heads=4)
    texts = np.random.default_rng(0).integers(0, TOKENS, (2, 16, LENGTH + 1)).astype(np.int32)
    batches = {"x": texts[..., :-1], "y": texts[..., 1:]}
    return Case("GPT", tasks.language_learner(model, optax.adam(RATE)), GPT, batches)


def report(case: Case) -> None:
    """Runs a case's ways by turns and prints its line."""
    runs = with_fdl(case) | {"eager": with_torch(case), "best": with_torch(case, best=True)}
    steps, names = len(case.batches["y"]), list(runs)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(ROUNDS + 1):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            began = time.perf_counter()
            runs[name]()
            if turn:  # the first round compiles and warms up
                seconds[name].append(time.perf_counter() - began)
    times = {name: 1e3 * statistics.median(spent) / steps for name, spent in seconds.items()}
    speeds = {name: over(seconds["eager"], seconds[name]) for name in names if name != "eager"}
    spent = ", ".join(f"{name} {milliseconds:.2f}" for name, milliseconds in times.items())
    ratios = ", ".join(f"{name} {speed}" for name, speed in speeds.items())
    print(f"{case.name:9} {spent} ms; times eager's speed: {ratios}", flush=True)


def over(base: list[float], mine: list[float]) -> str:
    """How many times as fast as `base`: the median over rounds, and the range."""
    ratios = [slow / fast for slow, fast in zip(base, mine, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def with_fdl(case: Case) -> dict[str, Run]:
    """A loop in Python, and a scan by each of the kernels, each with a state of its own."""
    key, steps = jax.random.key(0), len(case.batches["y"])

    def step(state: Any, now: tuple[Batch, jax.Array]) -> tuple[Any, Any]:
        batch, number = now
        return case.learner.step(state, batch, jax.random.fold_in(key, number))

    init = jax.jit(case.learner.init)
    called = jax.jit(step, donate_argnums=0)
    stacked = jax.device_put((case.batches, np.arange(steps, dtype=np.int32)))
    row = lambda number: jax.tree.map(lambda leaf: jnp.copy(leaf[number]), stacked)  # noqa: E731
    single = [row(number) for number in range(steps)]
    looping = init(key)

    def loop() -> Any:
        nonlocal looping
        kept = []
        for now in single:
            looping, metrics = called(looping, now)
            kept.append(metrics)
        return jax.block_until_ready((looping, kept))

    def scan(kernels: Kernels) -> Run:
        state = init(key)
        scanned = jax.jit(lambda state, batches: jax.lax.scan(step, state, batches), donate_argnums=0)
        compiled = scanned.lower(state, stacked).compile(compiler_options=options_of(kernels))

        def run() -> Any:
            nonlocal state
            state, metrics = compiled(state, stacked)
            return jax.block_until_ready((state, metrics))

        return run

    runs = {"loop": loop, "scan": scan("xla")}
    return runs | {"scan by oneDNN": scan("onednn")} if has_onednn() else runs


def with_torch(case: Case, *, best: bool = False) -> Run:
    """The loop that one writes with PyTorch."""
    x, y = torch.tensor(case.batches["x"]), torch.tensor(case.batches["y"], dtype=torch.long)
    image = x.ndim == 5
    net = case.peer()
    inputs = list(x.movedim(-1, 2).contiguous() if image else x)
    if best and image:
        net = net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        inputs = [batch.contiguous(memory_format=torch.channels_last) for batch in inputs]
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE, fused=best or None)

    def loop() -> list[torch.Tensor]:
        kept = []
        for batch, labels in zip(inputs, y, strict=True):
            optimizer.zero_grad()
            loss = functional.cross_entropy(net(batch).flatten(0, -2), labels.flatten())
            loss.backward()
            optimizer.step()
            kept.append(loss.detach())
        return kept

    return loop


def mlp() -> nn.Module:
    """784-512-512-10."""
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))


def lenet5() -> nn.Module:
    """With average pools, as fdl's."""
    first = [nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2)]
    second = [nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten()]
    return nn.Sequential(
        *first, *second, nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10)
    )


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters."""

    def __init__(self, before: int, channels: int) -> None:
        super().__init__()
        self.strides, self.more = channels // before, channels - before
        self.branch = nn.Sequential(
            nn.Conv2d(before, channels, 3, self.strides, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[B, before, H, W]` to `[B, channels, H', W']`."""
        short = x
        if self.more:
            half = self.more // 2
            short = functional.pad(x[:, :, :: self.strides, :: self.strides], (0, 0, 0, 0, half, half))
        return torch.relu(self.branch(x) + short)


class ResNet20(nn.Module):
    """He et al. 2016, sec. 4.2."""

    def __init__(self) -> None:
        super().__init__()
        widths = [16, 16, 16, 16, 32, 32, 32, 64, 64, 64]
        blocks = [Block(before, after) for before, after in itertools.pairwise(widths)]
        stem = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
        self.body, self.head = nn.Sequential(*stem, *blocks), nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits `[B, 10]` of images `[B, 3, H, W]`."""
        return self.head(self.body(x).mean((2, 3)))


class LSTM(nn.Module):
    """One layer, read at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.LSTM(64, 256, batch_first=True), nn.Linear(256, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits `[B, 10]` of sequences `[B, T, 64]`."""
        return self.head(self.layer(x)[0][:, -1])


class Layer(nn.Module):
    """A transformer's layer, norms first."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = nn.LayerNorm(256), nn.LayerNorm(256)
        self.read, self.out = nn.Linear(256, 768), nn.Linear(256, 256)
        self.up, self.down = nn.Linear(256, 1024), nn.Linear(1024, 256)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[B, T, 256]` to the same."""
        heads = self.read(self.before(x)).unflatten(-1, (3, 4, 64)).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(*heads, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).flatten(2))
        return x + self.down(functional.gelu(self.up(self.after(x)), approximate="tanh"))


class GPT(nn.Module):
    """Four layers; logits are products with the embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(TOKENS, 256), nn.Embedding(LENGTH, 256)
        self.layers = nn.Sequential(*[Layer() for _ in range(4)], nn.LayerNorm(256))
        for table in (self.tokens, self.places):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits `[B, T, V]` of tokens `[B, T]`."""
        states = self.layers(self.tokens(x) + self.places.weight)
        return states @ self.tokens.weight.T


if __name__ == "__main__":
    main()
