"""Occlusion: how much an output falls where a window of the input is covered."""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fdl.analysis.chosen_output import Apply, chosen_output
from fdl.arguments import Count, NotEmpty, Whole, checked


@checked
def occlusion(
    apply: Apply,
    variables: Any,
    x: jax.Array,
    target: Whole[jax.Array],
    baseline: jax.Array | float = 0.0,
    *,
    window: NotEmpty[Sequence[Count]],
    strides: NotEmpty[Sequence[Count]] | None = None,
) -> jax.Array:
    """Occlusion (Zeiler & Fergus 2014, Visualizing and Understanding Convolutional Networks, sec. 4.2): the
    output less that with a window covered; of an entry the mean over the windows that cover it.

    Args:
      apply: `apply(variables, x)` gives outputs `[B, C]`, each row by itself; a Flax model's own.
      variables: the model's.
      x: rows `[B, *S, ...]`, as the model gets them.
      target: which output of each row is explained, `[B]`.
      baseline: what covers: a number, a row, or rows; what broadcasts to `x`.
      window: its entries along each of the axes S, `(3, 3)` of images `[B, H, W, C]`; the axes after it are
        covered as a whole.
      strides: steps of the window along these axes, at most its entries; None: its entries, so that windows
        do not overlap. The last window may reach beyond the end.

    Returns:
      `[B, *S]`.

    Raises:
      ValueError: a window of more axes than a row has, or strides that leave entries out.

    Example:
      >>> linear = lambda weights, x: x @ weights
      >>> weights = jnp.array([[1.0, 0.0], [2.0, 0.0]])
      >>> fdl.analysis.occlusion(linear, weights, jnp.array([[3.0, 4.0]]), jnp.array([0]), window=(1,))
      Array([[3., 8.]], dtype=float32)
    """
    steps = window if strides is None else strides
    if len(window) >= x.ndim or len(steps) != len(window):
        raise ValueError(
            f"window {window} and strides {steps} of rows {x.shape[1:]}; expected one a leading axis"
        )
    if any(step > size for step, size in zip(steps, window, strict=True)):
        raise ValueError(
            f"strides are {steps}, the window {window}; expected at most it, or entries are left out"
        )
    space = x.shape[1 : 1 + len(window)]
    covered = jnp.asarray(_windows(space, window, steps))
    rest = (1,) * (x.ndim - 1 - len(space))
    whole = chosen_output(apply, variables, x, target)

    def fall(cover: jax.Array) -> jax.Array:
        changed = jnp.where(cover.reshape(*space, *rest), baseline, x).astype(x.dtype)
        return whole - chosen_output(apply, variables, changed, target)

    falls = jax.lax.map(fall, covered)
    count = jnp.sum(covered, axis=0)
    return jnp.einsum("pb,p...->b...", falls, covered.astype(falls.dtype)) / count


def _windows(space: Sequence[int], window: Sequence[int], steps: Sequence[int]) -> np.ndarray:
    """`[P, *S]`: which entries each place of a window covers."""
    starts = [
        range(0, max(length - size, 0) + step, step)
        for length, size, step in zip(space, window, steps, strict=True)
    ]
    places = list(itertools.product(*starts))
    covered = np.zeros((len(places), *space), bool)
    for one, place in zip(covered, places, strict=True):
        one[tuple(slice(start, start + size) for start, size in zip(place, window, strict=True))] = True
    return covered[covered.any(axis=tuple(range(1, covered.ndim)))]
