"""A keyed order of `range(size)` that is computed, not stored: one index at a time, in O(1)."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from fdl.arguments import Count, Whole, checked

_LIMIT = 2**31  # places are int32 on the device
_EXTRA_ROUNDS = 12  # see `_rounds`
_GOLDEN = 0x9E3779B9  # 2**32 / golden ratio: its multiples are spread evenly (Knuth, vol. 3, sec. 6.4)


@checked
def permute(
    index: Whole[ArrayLike], key: jax.Array, epoch: Whole[ArrayLike] = 0, *, size: Count
) -> jax.Array:
    """Where `index` goes in the order of `range(size)` that `key` and `epoch` name.

    For one key and epoch this is exactly a bijection of `range(size)`, for every size. It is the
    swap-or-not shuffle of Hoang, Morris and Rogaway, "An Enciphering Scheme Based on a Card
    Shuffle" (CRYPTO 2012), sec. 1: round r pairs each x with `k_r - x mod size` and swaps the pair
    by a pseudorandom bit of the pair, so no domain needs cycle walking. Statistically uniform, not
    secret: the bits come from multiply-shift hashing (Dietzfelbinger et al. 1997).

    Args:
      index: `[...]` integers in `range(size)`; other values give meaningless results.
      key: one typed PRNG key.
      epoch: integers that broadcast against `index`, each element's own order; taken modulo 2**32.
      size: how many there are to order, at least 1 and below 2**31.

    Returns:
      uint32 in `range(size)`, of the broadcast shape of `index` and `epoch`.

    Raises:
      ValueError: `size` is out of range.

    Example:
      >>> sorted(fdl.data.permute(np.arange(5), jax.random.key(0), size=5).tolist())
      [0, 1, 2, 3, 4]
    """
    if not 1 <= size < _LIMIT:
        raise ValueError(f"size is {size}; expected 1 to 2**31 - 1; split a larger range into parts")
    x, epoch = jnp.asarray(index).astype(jnp.uint32), jnp.asarray(epoch).astype(jnp.uint32)
    words = jax.random.key_data(key)
    x = _shuffle(
        x, [words[place] for place in range(words.size)], epoch, size, jnp.where, jnp.maximum, lax.rem
    )
    x = jnp.broadcast_to(x, jnp.broadcast_shapes(jnp.shape(index), jnp.shape(epoch)))
    # This changes no value, but XLA computes an integer remainder before what uses it. Without it the
    # rounds fuse into the gather that follows and run again for each element of a row, or never finish
    # compiling, as the code doubles every round. `optimization_barrier` does not help before JAX 0.12.
    return lax.rem(x, np.uint32(size))


def permute_on_host(index: np.ndarray, words: np.ndarray, epoch: np.ndarray, *, size: int) -> np.ndarray:
    """The values of `permute` in NumPy, for rows that are read on the host.

    Args:
      index: `[n]` integers in `range(size)`.
      words: the key's own words, `jax.random.key_data(key)`.
      epoch: `[n]` integers, modulo 2**32.
      size: as for `permute`.

    Returns:
      int64 `[n]`.
    """
    x, epoch = index.astype(np.uint32), (epoch % 2**32).astype(np.uint32)
    own = [np.full_like(x, word) for word in words]
    return _shuffle(x, own, epoch, size, np.where, np.maximum, np.remainder).astype(np.int64)


def _shuffle(
    x: Any, words: Sequence[Any], epoch: Any, size: int, where: Any, maximum: Any, remainder: Any
) -> Any:
    """All rounds, on JAX's or NumPy's arrays by their own `where`, `maximum` and unsigned `remainder`."""
    first, second = _seeds(words, epoch)
    divisor = np.uint32(size)
    for number in range(_rounds(size)):
        word = first + np.uint32(number * _GOLDEN % 2**32)
        word = (word ^ (word >> 16)) * np.uint32(0x21F0AAAD)
        word = word ^ (word >> 15)
        pivot, seed = remainder(word, divisor), word + second
        # One round of swap-or-not: x or its partner, as a bit says that is the same for both of them.
        # Multiplier and offset are random and new in every round, so any two pairs get bits that agree
        # half of the time; a fixed multiplier leaves some distances in place for many rounds.
        partner = pivot - x
        partner = where(pivot < x, partner + divisor, partner)
        hashed = maximum(x, partner) * (seed | 1) + (seed << 7)
        x = where(hashed >> 31 == 1, partner, x)
    return x


def _rounds(size: int) -> int:
    """Rounds after which chi-square tests over 10**5 to 10**6 keys no longer see the start.

    A round leaves any two elements at their distance with probability 1/2. That a pair of
    neighbours survives all rounds must be rare against the 2 / size of a uniform order, so the
    rounds grow with log2(size); with 12 more the excess is 2**-13 of it or less. A single element has
    one order, and needs none (XLA's CPU compiler fails on rounds that all fold to a constant).
    """
    return 0 if size == 1 else size.bit_length() + _EXTRA_ROUNDS


def _seeds(words: Sequence[Any], epoch: Any) -> tuple[Any, Any]:
    """Two words, of the shape of `epoch`, that name the order."""
    first, second = np.uint32(_GOLDEN), np.uint32(0x7F4A7C15)
    for word in (*words, epoch):
        first, second = _mix(first ^ word), _mix(second ^ word)
    return first, second


def _mix(word: Any) -> Any:
    """A bijection of 32-bit words in which every bit moves every bit (Wellons' lowbias32)."""
    word = (word ^ (word >> 16)) * np.uint32(0x21F0AAAD)
    word = (word ^ (word >> 15)) * np.uint32(0x735A2D97)
    return word ^ (word >> 15)
