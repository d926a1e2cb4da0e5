"""How fast is a GPT's training step in bfloat16 on a GPU, against PyTorch with `torch.compile`?

Called by `scaling.py` where there is an NVIDIA GPU. GPT-2 with 124 million parameters, 8 sequences of 1024
tokens, AdamW, parameters in float32 and products in bfloat16 (PyTorch: autocast; attention fused); noise,
resident on the device. Steps of fdl's learner, which also measures its metrics, and of PyTorch's loss alone.
By turns in one process, each compiled and warmed up before. Prints medians of the step's time and the MFU:
FLOPs of matrix products, counted from fdl's program for both, over the peak of dense bfloat16 products that
the GPU's data sheet states.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fdl import models, tasks
from fdl.aot.flops import cost_of

PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "V100": 125e12}
"""FLOP/s of dense bfloat16 (V100: float16) products, by what the device's name contains."""
ROUNDS, STEPS = 5, 10


class Sizes(NamedTuple):
    """Of the net and its batch."""

    vocabulary: int = 50257
    length: int = 1024
    width: int = 768
    layers: int = 12
    heads: int = 12
    rows: int = 8


def report(sizes: Sizes = Sizes(), device: str = "cuda") -> None:  # noqa: B008
    """Measures and prints."""
    try:
        import torch
    except ImportError:
        print("the comparison needs torch: python3 -m pip --python .venv install torch")
        return
    tokens = np.random.default_rng(0).integers(0, sizes.vocabulary, (sizes.rows, sizes.length + 1))
    fdl_run, flops = with_fdl(sizes, tokens)
    runs = {"fdl": fdl_run, "PyTorch": with_torch(sizes, tokens, device)}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(ROUNDS + 1):
        for name in runs if turn % 2 else reversed(runs):
            began = time.perf_counter()
            runs[name]()
            if turn:  # the first round compiles and warms up
                seconds[name].append((time.perf_counter() - began) / STEPS)
    kind = jax.devices()[0].device_kind
    peak = next((peak for name, peak in PEAKS.items() if name in kind), None)
    print(f"GPT step in bfloat16 on {kind}, jax {jax.__version__}, torch {torch.__version__}; {sizes}")
    for name, spent in seconds.items():
        step = statistics.median(spent)
        mfu = f"MFU {flops / step / peak:.1%}" if peak else f"{flops / step / 1e12:.1f} TFLOP/s"
        spread = f"{1e3 * min(spent):.2f} to {1e3 * max(spent):.2f}"
        print(f"{name:8} {1e3 * step:.2f} ms a step ({spread}), {mfu}")


def with_fdl(sizes: Sizes, tokens: np.ndarray) -> tuple[Callable[[], Any], int]:
    """Some steps of fdl's own learner, and the FLOPs of one."""
    vocabulary, length, width, layers, heads, _ = sizes
    gpt2 = models.gpt2(vocabulary, length=length, width=width, layers=layers, heads=heads)
    learner = tasks.language_learner(models.MixedPrecision(gpt2), optax.adamw(1e-3))
    x, y = (jnp.asarray(part, jnp.int32) for part in (tokens[:, :-1], tokens[:, 1:]))
    batch, key = {"x": x, "y": y}, jax.random.key(0)
    state = [jax.jit(learner.init)(key)]
    flops = cost_of(learner.step, *jax.eval_shape(lambda: (state[0], batch, key)), platform="cuda").matrix
    compiled = jax.jit(learner.step, donate_argnums=0)

    def run() -> None:
        for _ in range(STEPS):
            state[0], _ = compiled(state[0], batch, key)
        jax.block_until_ready(state)

    return run, flops


def with_torch(sizes: Sizes, tokens: np.ndarray, device: str) -> Callable[[], Any]:
    """The same steps with PyTorch."""
    import torch
    from torch.nn import functional

    torch.set_float32_matmul_precision("high")
    net = gpt(sizes).to(device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)
    x, y = (torch.tensor(part, device=device) for part in (tokens[:, :-1], tokens[:, 1:]))

    @torch.compile
    def loss() -> torch.Tensor:
        with torch.autocast(device, torch.bfloat16):
            logits = net(x)
        return functional.cross_entropy(logits.float().flatten(0, 1), y.flatten())

    def run() -> None:
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
        next(net.parameters())[0, 0].item()  # waits for the device

    return run


def gpt(sizes: Sizes) -> Any:
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
