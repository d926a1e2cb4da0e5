"""Data made by a function of a key: endless streams on the device, and fixed sets."""

from collections.abc import Callable, Mapping

import jax
import numpy as np

from fdl.arguments import Count, checked
from fdl.data.splits import Splits
from fdl.experiment import Source

Sample = Callable[[jax.Array], Mapping[str, jax.Array]]
"""`sample(key) -> one row's arrays by name`, pure and jittable."""


@checked
def stream(sample: Sample, *, batch_size: Count) -> Source:
    """Endless training data, made on the device: no row comes twice.

    Args:
      sample: makes one row of a key.
      batch_size: B, rows in a batch.

    Returns:
      A source whose batch is a dictionary of the sample's names, `[B, ...]`; row r of step s is the
      sample of `fold_in(fold_in(key, s), r)`.

    Raises:
      ValueError: a batch size below 1.

    Example:
      >>> source = fdl.data.stream(fdl.data.synthetic.rings, batch_size=8)
      >>> batch = jax.eval_shape(source.batch, source.arrays, 0, jax.random.key(0))
      >>> batch["x"].shape, batch["y"].shape
      ((8, 2), (8,))
    """

    def batch(arrays: tuple[()], step: jax.Array, key: jax.Array) -> dict[str, jax.Array]:
        del arrays
        return _rows(sample, jax.random.fold_in(key, step), batch_size)

    return Source((), batch, 1)


@checked
def sampled(sample: Sample, *, train: Count, validation: Count, test: Count, seed: int = 0) -> Splits:
    """Fixed sets of generated rows; the three parts are independent of one another.

    Args:
      sample: makes one row of a key.
      train: rows in the train part.
      validation: rows in the validation part.
      test: rows in the test part.
      seed: names the sets.

    Raises:
      ValueError: a part without rows.

    Example:
      >>> splits = fdl.data.sampled(lambda key: {"x": jax.random.uniform(key)}, train=5, validation=2, test=2)
      >>> splits.train["x"].shape, splits.test["x"].shape
      ((5,), (2,))
    """
    sizes = {"train": train, "validation": validation, "test": test}
    key = jax.random.key(seed)
    rows = jax.jit(lambda key, size: _rows(sample, key, size), static_argnums=1)
    made = (
        jax.device_get(rows(jax.random.fold_in(key, number), size))
        for number, size in enumerate(sizes.values())
    )
    return Splits(*made)


def _rows(sample: Sample, key: jax.Array, size: int) -> dict[str, jax.Array]:
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, np.arange(size, dtype=np.uint32))
    return dict(jax.vmap(sample)(keys))
