"""The part of `gpu.py` about attention by cuDNN's kernel: whether it is attention."""

import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from gpu_lines import Line

from fdl import models

BOUND = 1e-2
"""Off from float32, as a share of its norm; operands of bfloat16 have 2**-9 = 2e-3 each."""


def cases(length: int) -> dict[str, tuple[int, int, dict[str, Any]]]:
    """By name the length of the texts, heads of keys (of 4 of queries), and what attention is told.

    Lengths are even, and no multiples of 64.
    """
    size = length - 22
    places, valid = jnp.arange(size), jnp.arange(size) < jnp.array([[size], [size // 5]])
    bias = jax.random.normal(jax.random.key(9), (4, size, size))
    return {
        "all": (size, 4, {}),
        "causal": (size, 4, {"is_causal": True}),
        "causal, shared keys": (size, 2, {"is_causal": True}),
        "window": (size, 4, {"mask": models.sliding_window(9)(places, places)[None, None]}),
        "causal, padding": (size, 4, {"mask": valid[:, None, None, :], "is_causal": True}),
        "bias and scale": (size, 4, {"bias": bias, "scale": 0.3}),
    }


def attention(length: int = 512, implementation: Literal["cudnn", "xla"] = "cudnn") -> list[Line]:
    """Outputs and gradients by a kernel in bfloat16 against `fdl.models.attend` in float32."""
    fused = functools.partial(models.fused_attend, implementation=implementation)
    lines = []
    for name, (places, shared, told) in cases(length).items():
        shapes = [(2, places, heads, 64) for heads in (4, shared, shared, 4)]
        given = [jax.random.normal(jax.random.key(i), shape, jnp.bfloat16) for i, shape in enumerate(shapes)]
        with jax.default_matmul_precision("highest"):
            wide = [part.astype(jnp.float32) for part in given]
            right = passed(models.attend, wide, told)
        off = [share(mine, best) for mine, best in zip(passed(fused, given, told), right, strict=True)]
        own = [
            share(mine, best) for mine, best in zip(passed(models.attend, given, told), right, strict=True)
        ]
        note = f"largest of output, gradients; fdl's own in bfloat16 {max(own):.2g}; T = {places}"
        lines.append(Line(f"attention, {name}", max(off), "", note, ("≤", BOUND)))
    return lines


def passed(attend: Callable[..., jax.Array], given: list[jax.Array], told: dict[str, Any]) -> list[Any]:
    """The output, and the gradients by queries, keys and values of its product with the last of `given`."""
    *parts, weight = given

    def weighed(*parts: jax.Array) -> tuple[jax.Array, jax.Array]:
        y = attend(*parts, **told)
        return jnp.sum((y * weight).astype(jnp.float32)), y

    gradients, y = jax.jit(jax.grad(weighed, (0, 1, 2), has_aux=True))(*parts)
    return [y, *gradients]


def share(mine: jax.Array, best: jax.Array) -> float:
    """The norm of the difference over that of the best; NaN if any is."""
    return float(jnp.linalg.norm(mine.astype(jnp.float32) - best) / jnp.linalg.norm(best))
