"""Sources over rows: shuffled for training, in order for evaluation."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fdl.arguments import Count, checked
from fdl.data.permutation import permute, permute_on_host
from fdl.data.splits import Part, Rows
from fdl.experiment import Source

_LIMIT = 2**31  # steps and places are int32 on the device
_BLOCK = 4096
"""Rows whose order is computed together on the host."""


@checked
def shuffled(part: Part, *, batch_size: Count) -> Source:
    """Training batches: every epoch visits every row exactly once, each in an order of its own.

    The rows form one endless stream, epoch after epoch, and batch `step` is rows
    `step * batch_size` to `(step + 1) * batch_size - 1` of it. Where the sizes do not divide, a
    batch holds the end of one epoch and the start of the next; it may also be longer than an epoch.
    The arithmetic is exact for every step up to 2**31 - 1 (epochs are numbered modulo 2**32).

    Args:
      part: arrays by name, `[N, ...]`, all of the same N below 2**31; or rows on the host.
      batch_size: B, rows in a batch.

    Returns:
      A source whose batch is a dictionary of the same names, `[B, ...]`. The key names the order,
      so it must be the same at every step.

    Raises:
      ValueError: no rows, lengths that disagree, or a batch size out of range.

    Example:
      >>> source = fdl.data.shuffled({"x": np.arange(6)}, batch_size=3)
      >>> key = jax.random.key(0)
      >>> sorted(x for step in range(2) for x in source.batch(source.arrays, step, key)["x"].tolist())
      [0, 1, 2, 3, 4, 5]
    """
    part, size = _checked(part, batch_size)
    if isinstance(part, Rows):
        return _shuffled_on_host(part, batch_size)

    def batch(arrays: Mapping[str, jax.Array], step: jax.Array, key: jax.Array) -> dict[str, jax.Array]:
        epoch, first = _divide_product(step, batch_size, size)
        position = first + lax.iota(jnp.uint32, batch_size)
        epoch = epoch + lax.div(position, np.uint32(size))
        return _rows(arrays, permute(lax.rem(position, np.uint32(size)), key, epoch, size=size))

    return Source(part, batch, -(-size // batch_size))


def _shuffled_on_host(rows: Rows, batch_size: int) -> Source:
    @functools.lru_cache(maxsize=8)  # of whole blocks, as NumPy costs as much for a batch
    def order(words: bytes, block: int) -> np.ndarray:
        epoch, place = np.divmod(np.arange(block * _BLOCK, (block + 1) * _BLOCK), rows.size)
        return permute_on_host(place, np.frombuffer(words, np.uint32), epoch, size=rows.size)

    def fetch(step: int, words: np.ndarray, part: slice) -> dict[str, np.ndarray]:
        first, last, _ = part.indices(batch_size)
        first, last = step * batch_size + first, step * batch_size + last
        blocks = range(first // _BLOCK, -(-last // _BLOCK))
        index = np.concatenate([order(words.tobytes(), block) for block in blocks])
        return rows.take(index[first - blocks.start * _BLOCK : last - blocks.start * _BLOCK])

    batches, identity = -(-rows.size // batch_size), _identity(rows)
    return Source(_batch_shapes(rows, batch_size), lambda arrays, _, __: arrays, batches, fetch, identity)


@checked
def sequential(part: Part, *, batch_size: Count) -> Source:
    """Evaluation batches: every row once, in the order given.

    Args:
      part: arrays by name, `[N, ...]`, all of the same N below 2**31; or rows on the host.
      batch_size: B, rows in a batch.

    Returns:
      A source whose batch is a dictionary of the same names, `[B, ...]`, and `"weight"`, float32
      `[B]`: 1.0 for a row, 0.0 for the padding (copies of the last row) that fills the last batch.
      The key is not used.

    Raises:
      ValueError: no rows, lengths that disagree, a batch size out of range, or an array called
        `"weight"`.

    Example:
      >>> source = fdl.data.sequential({"x": np.arange(5)}, batch_size=2)
      >>> source.batches
      3
      >>> batch = source.batch(source.arrays, 2, jax.random.key(0))
      >>> batch["x"].tolist(), batch["weight"].tolist()
      ([4, 4], [1.0, 0.0])
    """
    part, size = _checked(part, batch_size)
    if "weight" in (part.row if isinstance(part, Rows) else part):
        raise ValueError("an array is called 'weight', the name of the padding's weights; rename it")
    on_host = isinstance(part, Rows)

    def batch(arrays: Mapping[str, jax.Array], step: jax.Array, key: jax.Array) -> dict[str, jax.Array]:
        del key
        first = jnp.asarray(step).astype(jnp.uint32) * np.uint32(batch_size)
        position = first + lax.iota(jnp.uint32, batch_size)
        weight = (position < np.uint32(size)).astype(jnp.float32)
        rows = arrays if on_host else _rows(arrays, lax.min(position, np.uint32(size - 1)))
        return {**rows, "weight": weight}

    batches = -(-size // batch_size)
    if not isinstance(part, Rows):
        return Source(part, batch, batches)

    def fetch(step: int, words: np.ndarray, rows: slice) -> dict[str, np.ndarray]:
        del words
        position = step * batch_size + np.arange(batch_size, dtype=np.int64)[rows]
        return part.take(np.minimum(position, size - 1))

    return Source(_batch_shapes(part, batch_size), batch, batches, fetch, _identity(part))


def _identity(rows: Rows) -> Any:
    return rows.take if rows.identity is None else rows.identity


def _batch_shapes(rows: Rows, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
    form = lambda one: jax.ShapeDtypeStruct((batch_size, *one.shape), one.dtype)  # noqa: E731
    return jax.tree.map(form, dict(rows.row))


def _checked(part: Part, batch_size: int) -> tuple[dict[str, np.ndarray] | Rows, int]:
    """The rows and how many they are; `ValueError` for what no batch can be made of."""
    if batch_size >= _LIMIT:
        raise ValueError(f"batch_size is {batch_size}; expected at least 1 and below 2**31")
    if isinstance(part, Rows):
        if not 1 <= part.size < _LIMIT:
            raise ValueError(f"there are {part.size} rows; expected 1 to 2**31 - 1")
        return part, part.size
    arrays = {name: _arrays(array) for name, array in part.items()}
    if not jax.tree.leaves(arrays):
        raise ValueError("arrays is empty; give at least one array [N, ...] by name")
    leaves: Any = jax.tree_util.tree_leaves_with_path(arrays)
    named = {"/".join(str(key.key) for key in path): array for path, array in leaves}
    (reference, size), *others = ((name, _length(name, array)) for name, array in named.items())
    for name, length in others:
        if length != size:
            raise ValueError(
                f"{reference!r} has {size} rows but {name!r} has {length}; expected as many in each"
            )
    return arrays, size


def _arrays(array: Any) -> Any:
    """An array, or a dictionary of arrays."""
    if isinstance(array, Mapping):
        return {name: _arrays(one) for name, one in array.items()}
    return np.asarray(array)


def _length(name: str, array: np.ndarray) -> int:
    if array.ndim == 0 or not 1 <= len(array) < _LIMIT:
        raise ValueError(f"{name!r} has shape {array.shape}; expected [N, ...] with N from 1 to 2**31 - 1")
    return len(array)


def _rows(arrays: Mapping[str, jax.Array], index: jax.Array) -> dict[str, jax.Array]:
    return jax.tree.map(lambda one: jnp.asarray(one).at[index].get(mode="promise_in_bounds"), dict(arrays))


def _divide_product(step: jax.Array, factor: int, size: int) -> tuple[jax.Array, jax.Array]:
    """`divmod(step * factor, size)` in 32 bits, exact, the quotient modulo 2**32.

    With `step = a * size + b` and `factor = c * size + d` only `b * d` is left to divide. It is
    built up from the digits of `d`, in a base so small that (remainder below `size`) × base and
    `b` × digit both fit in 32 bits; sizes and batches of daily life have one digit.

    Args:
      step: int32 scalar, not negative.
      factor: below 2**31.
      size: 1 to 2**31 - 1.
    """
    step, divisor = jnp.asarray(step).astype(jnp.uint32), np.uint32(size)
    whole, rest = lax.div(step, divisor), lax.rem(step, divisor)
    bits = 32 - size.bit_length()
    remaining = factor % size
    digits = [remaining >> shift & (1 << bits) - 1 for shift in range(0, remaining.bit_length(), bits)]
    quotient = remainder = jnp.uint32(0)
    for digit in reversed(digits):
        shifted, product = remainder << bits, rest * np.uint32(digit)
        total = lax.rem(shifted, divisor) + lax.rem(product, divisor)
        quotient = (quotient << bits) + lax.div(shifted, divisor) + lax.div(product, divisor)
        quotient, remainder = quotient + lax.div(total, divisor), lax.rem(total, divisor)
    offset = step * np.uint32(factor // size) + whole * np.uint32(remaining)
    return offset + quotient, remainder
