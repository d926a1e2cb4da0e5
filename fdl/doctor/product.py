"""A product of matrices on every device of this process: how fast, and whether every bit is right.

The matrices hold whole numbers between -15 and 15, the residues of 31: exact in bfloat16, and their sums in
float32, in whatever order they are summed. After each product the residues are taken. So every device, of
every kind, must give the same bits. No power of two is a multiple of 31, so a flipped bit changes a residue;
of other errors one in 31 does not. As the steps are linear, a wrong residue spreads and stays to the end. The
host finds it there without multiplying matrices: it takes a few columns through the same steps (Freivalds
1977, Probabilistic machines can use less running time).
"""

import functools
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fdl.doctor.facts import Product
from fdl.text import named

PRIME = 31
COLUMNS = 8
"""Of the host's check: of wrong rows it misses one in 31 ** 8."""


class Load(NamedTuple):
    """How much is multiplied: `[rows, size]` by `[size, size]`, so many steps one after another.

    `repeats` times, of which the fastest counts.
    """

    rows: int
    size: int
    steps: int
    repeats: int
    dtype: Any


HEAVY = Load(8192, 4096, 128, 5, jnp.bfloat16)
"""35 TFLOP: 0.18 s of a v5e, 0.04 s of a v6e at their peaks; the sums stay below 2 ** 20."""
LIGHT = Load(64, 128, 8, 1, jnp.float32)
"""For CPUs, of whose speed nothing is said."""


def products(work: Callable[..., tuple[np.ndarray, float]] | None = None) -> list[Product]:
    """What each device of this process makes of it, one after another.

    Args:
      work: in the place of `multiplied`.
    """
    devices = jax.local_devices()
    on_cpu = devices[0].platform == "cpu"
    load = LIGHT if on_cpu else HEAVY
    first, by = matrices(load)
    checks, expected = _checks(first, by, load)
    return list(_each(devices, work or multiplied, load, first, by, checks, expected, timed=not on_cpu))


def _each(
    devices: Sequence[Any],
    work: Callable[..., tuple[np.ndarray, float]],
    load: Load,
    first: np.ndarray,
    by: np.ndarray,
    checks: np.ndarray,
    expected: np.ndarray,
    *,
    timed: bool,
) -> Iterator[Product]:
    for device in devices:
        try:
            found, seconds = work(device, first, by, load)
        except jax.errors.JaxRuntimeError as error:
            yield Product(device.id, False, "", trouble=named(error, most=200))
            continue
        operations = 2 * load.rows * load.size**2 * load.steps
        right = np.array_equal(residues(found.astype(np.float32) @ checks), expected)
        digest = hashlib.sha256(found.tobytes()).hexdigest()
        yield Product(device.id, right, digest, operations / seconds if timed else None)


def matrices(load: Load) -> tuple[np.ndarray, np.ndarray]:
    """The same on every worker: `[rows, size]` and `[size, size]`, float32."""
    draw = np.random.default_rng(PRIME)
    first, by = (
        draw.integers(-(PRIME // 2), PRIME // 2 + 1, (rows, load.size)).astype(np.float32)
        for rows in (load.rows, load.size)
    )
    return first, by


def multiplied(device: Any, first: np.ndarray, by: np.ndarray, load: Load) -> tuple[np.ndarray, float]:
    """The product on one device, `[rows, size]`, and the seconds that it took.

    Raises:
      JaxRuntimeError: the device failed.
    """
    arguments = [jax.device_put(jnp.asarray(one, load.dtype), device) for one in (first, by)]
    run = jax.jit(functools.partial(chain, steps=load.steps)).lower(*arguments).compile()
    best, found = float("inf"), jax.block_until_ready(run(*arguments))
    for _ in range(load.repeats):
        began = time.perf_counter()
        found = jax.block_until_ready(run(*arguments))
        best = min(best, time.perf_counter() - began)
    return np.asarray(found), best


def chain(rows: jax.Array, by: jax.Array, *, steps: int) -> jax.Array:
    """`rows [R, N]` multiplied by `by [N, N]` so many times, residues after each."""

    def once(_: int, rows: jax.Array) -> jax.Array:
        sums = jnp.dot(rows, by, preferred_element_type=jnp.float32)
        return residues(sums).astype(rows.dtype)

    return lax.fori_loop(0, steps, once, rows)


def residues(sums: Any) -> Any:
    """Whole numbers modulo 31, from -15 to 15."""
    # No quotient is nearer than 1/62 to where it would be rounded the other way.
    return sums - PRIME * (sums / PRIME).round()


def _checks(first: np.ndarray, by: np.ndarray, load: Load) -> tuple[np.ndarray, np.ndarray]:
    """Columns `[size, COLUMNS]`, and what the product times them is modulo 31, `[rows, COLUMNS]`."""
    half = PRIME // 2
    drawn = np.random.default_rng(0).integers(-half, half + 1, (load.size, COLUMNS)).astype(np.float32)
    columns = drawn
    for _ in range(load.steps):
        columns = residues(by @ columns)
    return drawn, residues(first @ columns)
