"""Training batches from few of the rows, which every run draws for itself, some of their labels wrong."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fdl import rng
from fdl.arguments import Count, Positive, Share, checked
from fdl.data.permutation import permute
from fdl.data.splits import size_of
from fdl.experiment import Source


@checked
def subsample(
    part: Mapping[str, Any],
    rows: Positive[float | jax.Array],
    *,
    batch_size: Count,
    mislabelled: Share[float | jax.Array] = 0.0,
) -> Source:
    """Batches of a subset of so many rows, drawn with replacement; the key names the subset.

    Runs of different seeds so have different training sets of one size: what is found of them holds for
    rows like these, not for one draw. The subset of fewer rows is a part of that of more, and rows that
    are mislabelled stay so, with one wrong label, and are mislabelled at every higher share.

    Args:
      part: arrays by name, `[N, ...]`, with integer labels `"y"` `[N]`.
      rows: how many, from 1 to N; it may be traced, and what is above N counts as N.
      batch_size: B, rows in a batch.
      mislabelled: the chance of a row to have another class's label; it may be traced.

    Returns:
      A source whose batch is a dictionary of the same names, `[B, ...]`.

    Raises:
      ValueError: no rows, a batch size below 1, a share out of range, or labels of one class alone.

    Example:
      >>> source = fdl.data.subsample({"y": np.arange(100)}, 3, batch_size=1000)
      >>> batch = source.batch(source.arrays, 0, jax.random.key(0))
      >>> len(set(batch["y"].tolist()))
      3
    """
    size, classes = size_of(part), int(np.max(part["y"])) + 1
    if classes < 2:
        raise ValueError("the labels are of one class; expected two or more, to draw wrong ones from")

    def batch(arrays: Any, step: jax.Array, key: jax.Array) -> dict[str, jax.Array]:
        drawn = jax.random.uniform(jax.random.fold_in(rng.stream(key, "place"), step), (batch_size,))
        place = jnp.minimum(drawn * jnp.minimum(rows, size), size - 1).astype(jnp.uint32)
        index = permute(place, rng.stream(key, "subset"), size=size)
        taken = {name: jnp.asarray(array)[index] for name, array in arrays.items()}
        luck, other = jax.random.split(rng.stream(key, "labels"))
        wrong = jax.random.uniform(luck, (size,))[index] < mislabelled
        further = jax.random.randint(other, (size,), 1, classes, taken["y"].dtype)[index]
        return {**taken, "y": jnp.where(wrong, (taken["y"] + further) % classes, taken["y"])}

    return Source(dict(part), batch, -(-size // batch_size))
