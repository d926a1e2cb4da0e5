"""Training batches that each row joins by a draw of its own: Poisson sampling."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fdl.arguments import Count, checked
from fdl.data.splits import Part, Rows, row_of, size_of
from fdl.experiment import Source

_RANGE = 2**32  # a row joins by one uint32 word


@checked
def poisson_sampled(part: Part, *, batch_size: Count, capacity: Count) -> Source:
    """Training batches that every row joins with the same chance, whatever the others do.

    It is the sampling that the privacy of DP-SGD is counted by (Abadi et al. 2016, Deep Learning with
    Differential Privacy, sec. 2.3 and algorithm 1): batches have another number of rows each, q N on average
    for q = `batch_size` / N. Arrays have one shape, so a batch holds `capacity` places, of which the first
    are taken; of a batch that drew more, the rows with the highest numbers are left out. Batch `step` is a
    function of the step and the key. Chances are q, rounded down to a multiple of 2**-32.

    Args:
      part: arrays by name, `[N, ...]`, in memory.
      batch_size: rows that a batch has on average, at most N.
      capacity: rows that it has at most, C.

    Returns:
      A source whose batch is a dictionary of the same names, `[C, ...]`, and `weight`, float32 `[C]`: 1
      of the rows drawn, 0 of the places left.

    Raises:
      ValueError: rows on the host, fewer than `batch_size`, or a column called `weight`.

    Example:
      >>> source = fdl.data.poisson_sampled({"x": np.arange(1000)}, batch_size=100, capacity=200)
      >>> batch = source.batch(source.arrays, 0, jax.random.key(0))
      >>> len(batch["x"]), bool(70 < batch["weight"].sum() < 130)
      (200, True)
    """
    if isinstance(part, Rows):
        raise ValueError(
            "the rows stay on the host; expected arrays in memory, as each step looks at all rows"
        )
    if "weight" in row_of(part):
        raise ValueError("an array is called 'weight', the name of the places' weights; rename it")
    size = size_of(part)
    if batch_size > size:
        raise ValueError(f"batch_size is {batch_size}; expected at most the {size} rows that there are")
    bound = batch_size * _RANGE // size

    def batch(arrays: Mapping[str, Any], step: jax.Array, key: jax.Array) -> dict[str, jax.Array]:
        if batch_size == size:
            joins = jnp.ones(size, bool)
        else:
            joins = jax.random.bits(jax.random.fold_in(key, step), (size,), jnp.uint32) < np.uint32(bound)
        (place,) = jnp.nonzero(joins, size=capacity, fill_value=size)
        weight = (jnp.arange(capacity) < jnp.sum(joins)).astype(jnp.float32)
        # Places left hold zeros, not some row that was not drawn.
        rows = jax.tree.map(
            lambda one: jnp.asarray(one).at[place].get(mode="fill", fill_value=0), dict(arrays)
        )
        return {**rows, "weight": weight}

    return Source(dict(part), batch, -(-size // batch_size))
