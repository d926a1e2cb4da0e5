"""Boolean functions: any by the number of its truth table, and parity of all or of some inputs."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from fdl.arguments import Count, NotNegative, checked

Row = dict[str, jax.Array]

_LIMIT = 16  # the table has 2**inputs rows


@checked
def truth_table(number: NotNegative[int], *, inputs: Count) -> dict[str, np.ndarray]:
    """Every input of a Boolean function and its value.

    Row r holds the binary digits of r, the most significant first, and the value there is bit r of
    `number` (bit 0 is the least significant): with two inputs, 6 is XOR, 8 is AND, 14 is OR.

    Args:
      number: which of the `2**2**inputs` functions.
      inputs: n, 1 to 16.

    Returns:
      `x`, float32 `[2**n, n]` of 0.0 and 1.0, and `y`, int32 `[2**n]` of 0 and 1.

    Raises:
      ValueError: a number or a count out of range.

    Example:
      >>> table = fdl.data.synthetic.truth_table(8, inputs=2)  # the function "and"
      >>> table["x"].tolist(), table["y"].tolist()
      ([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 0, 0, 1])
    """
    values = _values(number, inputs)
    x = np.arange(len(values))[:, None] >> _places(inputs) & 1
    return {"x": x.astype(np.float32), "y": values}


@checked
def boolean_row(key: jax.Array, *, number: NotNegative[int], inputs: Count) -> Row:
    """One row of `truth_table`: row r, for r = `jax.random.randint(key, (), 0, 2**inputs)`.

    Args:
      key: names the row.
      number: which of the `2**2**inputs` functions.
      inputs: n, 1 to 16.

    Returns:
      `x`, float32 `[n]` of 0.0 and 1.0, and `y`, int32 `[]`.

    Raises:
      ValueError: a number or a count out of range.

    Example:
      >>> row = fdl.data.synthetic.boolean_row(jax.random.key(0), number=6, inputs=2)
      >>> int(row["x"][0]) ^ int(row["x"][1]) == int(row["y"])
      True
    """
    values = jnp.asarray(_values(number, inputs))
    place = jax.random.randint(key, (), 0, 2**inputs)
    x = jnp.bitwise_and(place >> _places(inputs).astype(np.int32), 1)
    return {"x": x.astype(jnp.float32), "y": values[place]}


@checked
def parity(key: jax.Array, *, inputs: Count, relevant: Sequence[NotNegative[int]] | None = None) -> Row:
    """Whether an odd number of the relevant inputs is 1; sparse parity where they are few.

    `x` is the highest bit of each of the n words `jax.random.bits(key, (n,))`.

    Args:
      key: names the row.
      inputs: n, at least 1.
      relevant: places of the inputs that count, all different; all of them if None.

    Returns:
      `x`, float32 `[n]` of 0.0 and 1.0, and `y`, int32 `[]`: the sum of the relevant inputs modulo 2.

    Raises:
      ValueError: no inputs, or places that repeat or are not in `range(inputs)`.

    Example:
      >>> row = fdl.data.synthetic.parity(jax.random.key(0), inputs=8)
      >>> int(row["x"].sum()) % 2 == int(row["y"])
      True
    """
    places = tuple(range(inputs)) if relevant is None else tuple(relevant)
    if len(set(places)) != len(places) or not set(places) <= set(range(inputs)):
        raise ValueError(f"relevant is {places}; expected different places from 0 to {inputs - 1}")
    bits = jax.random.bits(key, (inputs,), jnp.uint32) >> 31
    counts = np.zeros(inputs, np.uint32)
    counts[list(places)] = 1
    y = jnp.sum(bits * counts, dtype=jnp.uint32) & 1
    return {"x": bits.astype(jnp.float32), "y": y.astype(jnp.int32)}


@checked
def parity_number(inputs: Count) -> int:
    """The number that parity of all inputs, 1 to 16, has in `truth_table`: 6 for two inputs.

    Raises:
      ValueError: a count out of range.

    Example:
      >>> fdl.data.synthetic.parity_number(2)
      6
      >>> fdl.data.synthetic.truth_table(6, inputs=2)["y"].tolist()
      [0, 1, 1, 0]
    """
    _checked(inputs)
    return sum(1 << row for row in range(2**inputs) if row.bit_count() % 2)


def _values(number: int, inputs: int) -> np.ndarray:
    """The bits of `number` from the least significant, int32 `[2**inputs]`."""
    _checked(inputs)
    rows = 2**inputs
    if not 0 <= number < 1 << rows:
        raise ValueError(f"number is {number:#x}; with {inputs} inputs expected 0 to 2**{rows} - 1")
    digits = np.frombuffer(number.to_bytes(-(-rows // 8), "little"), np.uint8)
    return np.unpackbits(digits, bitorder="little")[:rows].astype(np.int32)


def _places(inputs: int) -> np.ndarray:
    """How far to shift a row's number for each of its digits, `[inputs]`."""
    return np.arange(inputs)[::-1]


def _checked(inputs: int) -> None:
    if not 1 <= inputs <= _LIMIT:
        raise ValueError(f"inputs is {inputs}; expected 1 to {_LIMIT}, as the whole table is held")
