"""Long-memory tasks for recurrent networks, made row by row from a key."""

import jax
import jax.numpy as jnp

from fdl.arguments import Count, checked
from fdl.data.datasets.data_set import DataSet, Origin


@checked
def adding(key: jax.Array, *, length: Count = 100) -> dict[str, jax.Array]:
    """The adding problem: the sum of the two marked values of a long sequence.

    Hochreiter and Schmidhuber 1997, Long Short-Term Memory, sec. 5.4, in the form of Arjovsky et al.
    2016, Unitary Evolution Recurrent Neural Networks, sec. 4.2. With `T = length`, H = T // 2 and
    `values, first, second = split(key, 3)`:

        v = uniform(values, [T])              float32 in [0, 1)
        i = randint(first, [], 0, H)          a place in the first half
        j = randint(second, [], H, T)         a place in the second half
        x[t] = (v[t], 1 if t is i or j else 0)
        y = v[i] + v[j]

    Always predicting 1 has a mean squared error of 1/6 = 0.1667, the variance of the sum of two
    uniform values (some papers misprint it as 0.1767).

    Args:
      key: one typed PRNG key.
      length: T, at least 2.

    Returns:
      `x`, float32 `[T, 2]`, and `y`, float32 `[]`.

    Raises:
      ValueError: a length below 2.

    Example:
      >>> row = jax.eval_shape(fdl.data.synthetic.adding, jax.random.key(0))
      >>> row["x"].shape, row["y"].shape
      ((100, 2), ())
    """
    if length < 2:
        raise ValueError(f"length is {length}; expected at least 2, a place to mark in each half")
    values_key, first_key, second_key = jax.random.split(key, 3)
    values = jax.random.uniform(values_key, (length,))
    first = jax.random.randint(first_key, (), 0, length // 2)
    second = jax.random.randint(second_key, (), length // 2, length)
    place = jnp.arange(length)
    marks = ((place == first) | (place == second)).astype(values.dtype)
    return {"x": jnp.stack([values, marks], axis=-1), "y": values[first] + values[second]}


@checked
def copy_memory(
    key: jax.Array, *, delay: Count = 100, symbols: Count = 8, memory: Count = 10
) -> dict[str, jax.Array]:
    """The copying memory problem: say again, after a long delay, what the sequence began with.

    Arjovsky et al. 2016, Unitary Evolution Recurrent Neural Networks, sec. 4.1. Tokens 0..S-1 are
    symbols, S the blank and S + 1 the delimiter. With T = delay, M = memory and
    `s = randint(key, [M], 0, S)`:

        x = s[0..M-1], T - 1 blanks, the delimiter, M blanks
        y = T + M blanks, s[0..M-1]

    The loss counts everywhere. Without memory the best is to predict blanks and then the uniform
    distribution over symbols: M log S / (T + 2 M) nats a token, `10 log 8 / (T + 20)` by default.

    Args:
      key: one typed PRNG key.
      delay: T, at least 1.
      symbols: S, at least 1; there are S + 2 tokens.
      memory: M, how many symbols to remember, at least 1.

    Returns:
      `x` and `y`, int32 `[T + 2 M]`.

    Raises:
      ValueError: a number below 1.

    Example:
      >>> row = fdl.data.synthetic.copy_memory(jax.random.key(0), delay=5, memory=3)
      >>> row["x"][:3].tolist() == row["y"][-3:].tolist()
      True
    """
    said = jax.random.randint(key, (memory,), 0, symbols)
    blanks = jnp.full(delay + memory, symbols)
    x = jnp.concatenate([said, blanks.at[delay - 1].set(symbols + 1)])
    return {"x": x.astype(jnp.int32), "y": jnp.concatenate([blanks, said]).astype(jnp.int32)}


DATA_SETS = (
    DataSet("adding", "the adding problem, sequences of 100 pairs", Origin.ENDLESS, adding),
    DataSet("copy_memory", "the copying memory problem, over 100 steps", Origin.ENDLESS, copy_memory),
)
