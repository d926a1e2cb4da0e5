"""Programs that some versions of JAX compute wrongly on CPUs or die of, each with what NumPy says.

python -m tests.train.sentinel_driver
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np


def product_then_reduction() -> tuple[np.ndarray, np.ndarray]:
    """jax#39103: the rows after the first 32,768 of small products that a reduction follows (0.10.2)."""
    matrix, numbers = jnp.eye(3), jnp.arange(32_769, dtype=jnp.float32)
    rows = jnp.stack([numbers, jnp.zeros_like(numbers), jnp.zeros_like(numbers)], axis=1)
    program = jax.jit(jax.vmap(lambda row: jnp.sum((matrix @ row) ** 2)))
    return np.asarray(program(rows)), np.asarray(numbers, np.float64) ** 2


def seven_axes_one_of_size_1() -> tuple[np.ndarray, np.ndarray]:
    """jax#39257: products and sums of arrays with an axis of size 1 that is not summed over (0.10.2)."""
    a = np.arange(3 * 4 * 8**3, dtype=np.float32).reshape(3, 1, 2, 2, 8, 8, 8) % 7
    b = a[:, :, ::-1] + 1
    return np.asarray(jax.jit(lambda a, b: jnp.sum(a * b, axis=3))(a, b)), np.sum(a * b, axis=3)


def eight_axes_broadcast() -> tuple[np.ndarray, np.ndarray]:
    """jax#39257 again: few axes spread over many, multiplied and summed (0.10.2, 0.11.0)."""
    few = np.arange(10 * 2 * 6, dtype=np.float32).reshape(10, 2, 6)
    many = np.ones((10, 2, 6, *5 * (9,)), np.float32)
    program = jax.jit(lambda few, many: jnp.sum(few[..., *5 * (None,)] * many, axis=2))
    return np.asarray(program(few, many))[:, :, 0, 0, 0, 0, 0], few.sum(axis=2)


PROGRAMS = (product_then_reduction, seven_axes_one_of_size_1, eight_axes_broadcast)


def judged(program: Callable[[], tuple[np.ndarray, np.ndarray]]) -> str:
    """`right`, or what is wrong."""
    came, expected = (array.ravel() for array in program())
    wrong = np.flatnonzero(~np.isclose(came, expected, rtol=1e-6))
    if not len(wrong):
        return "right"
    return f"{len(wrong)} of {len(came)} wrong: {came[wrong[0]]} instead of {expected[wrong[0]]}"


if __name__ == "__main__":
    for program in PROGRAMS:
        print(f"{program.__name__}:", end=" ", flush=True)
        print(judged(program), flush=True)
