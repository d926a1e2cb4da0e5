"""Algorithmic tasks: recall by key, induction, rewriting a sequence, and tables of modular arithmetic."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from fdl.arguments import Count, Positive, Share, checked
from fdl.data.datasets.data_set import DataSet, Origin
from fdl.data.permutation import permute
from fdl.data.splits import Splits

Operation = Callable[[np.ndarray, np.ndarray, int], np.ndarray]
"""`operation(a, b, p) -> c` on int64 arrays of residues modulo p; a negative c means undefined."""


@checked
def associative_recall(
    key: jax.Array,
    *,
    length: Count = 64,
    pairs: Count = 4,
    vocabulary: Count = 8192,
    power: Positive[float] = 0.01,
) -> dict[str, jax.Array]:
    """Multi-query associative recall (MQAR): each key's value, asked for later.

    Arora et al. 2023, Zoology, arXiv:2312.04927. Of V tokens, 0 is filler, 1..V/2-1 are keys (with
    V/2 = V // 2), and V/2..V-1 are values. With T = length, P = pairs, slots G = (T - 2 P) / 2 and
    `a, b, c = split(key, 3)`:

        k[i] = 1 + permute(i, a, size=V/2 - 1)              P different keys
        v[i] = V/2 + permute(i, b, size=V - V/2)            P different values
        u = uniform(c, [G])
        e[g] = -log(1 - u[g]) * (g + 1) ** (1 - power)
        slot[i] = the index of the (i + 1)-th smallest e (of equals, the lower index)

    where `permute` is `fdl.data.permute`. So the slots are drawn one after the other, without
    replacement, with probabilities in proportion to (g + 1) ** (power - 1): near ones are likelier,
    as repeated bigrams are in text. Then x is 0 but for

        x[2 i] = k[i],  x[2 i + 1] = v[i],  x[2 P + 2 slot[i]] = k[i]

    and y is 0 but for `y[2 P + 2 slot[i]] = v[i]`, the only places where the mask is 1.

    Args:
      key: one typed PRNG key.
      length: T, even, at least 4 P.
      pairs: P, at least 1.
      vocabulary: V, at least 2 P + 2.
      power: exponent of the slots' distribution; 1 is uniform.

    Returns:
      `x` and `y`, int32 `[T]`, and `mask`, float32 `[T]`, which sums to P.

    Raises:
      ValueError: a length, number of pairs or vocabulary out of range.

    Example:
      >>> row = jax.eval_shape(fdl.data.synthetic.associative_recall, jax.random.key(0))
      >>> {name: one.shape for name, one in row.items()}
      {'mask': (64,), 'x': (64,), 'y': (64,)}
    """
    if pairs < 1 or length % 2 or length < 4 * pairs:
        raise ValueError(
            f"length is {length} and pairs {pairs}; expected pairs of at least 1, "
            "and an even length of at least 4 * pairs"
        )
    half = vocabulary // 2
    if half - 1 < pairs:
        raise ValueError(f"vocabulary is {vocabulary}; expected at least 2 * pairs + 2 = {2 * pairs + 2}")
    keys_key, values_key, slots_key = jax.random.split(key, 3)
    number = jnp.arange(pairs)
    keys = 1 + permute(number, keys_key, size=half - 1).astype(jnp.int32)
    values = half + permute(number, values_key, size=vocabulary - half).astype(jnp.int32)
    slots = _slots(slots_key, (length - 2 * pairs) // 2, power)[:pairs]
    queries = 2 * pairs + 2 * slots
    empty = jnp.zeros(length, jnp.int32)
    x = empty.at[2 * number].set(keys).at[2 * number + 1].set(values).at[queries].set(keys)
    return {
        "x": x,
        "y": empty.at[queries].set(values),
        "mask": jnp.zeros(length, jnp.float32).at[queries].set(1.0),
    }


def _slots(key: jax.Array, slots: int, power: float) -> jax.Array:
    """All slots in random order, as `associative_recall` documents: a race of exponential clocks."""
    times = -jnp.log1p(-jax.random.uniform(key, (slots,)))
    return jnp.argsort(times * jnp.arange(1, slots + 1, dtype=jnp.float32) ** (1 - power))


@checked
def induction(key: jax.Array, *, length: Count = 256, symbols: Count = 15) -> dict[str, jax.Array]:
    """Induction: what followed the trigger when it was seen before?

    As in Gu and Dao 2023, Mamba, sec. 4.1.2 (from Olsson et al. 2022, In-context Learning and
    Induction Heads). Tokens 0..S-1 are symbols and S is the trigger. With T = length and
    `a, b = split(key)`:

        s = randint(a, [T], 0, S)
        i = randint(b, [], 0, T - 2)
        x = s but for x[i] = x[T - 1] = S
        y = 0 but for y[T - 1] = s[i + 1], the only place where the mask is 1

    Args:
      key: one typed PRNG key.
      length: T, at least 3.
      symbols: S, at least 1; there are S + 1 tokens.

    Returns:
      `x` and `y`, int32 `[T]`, and `mask`, float32 `[T]`.

    Raises:
      ValueError: a length below 3, or no symbols.

    Example:
      >>> row = jax.eval_shape(fdl.data.synthetic.induction, jax.random.key(0))
      >>> {name: one.shape for name, one in row.items()}
      {'mask': (256,), 'x': (256,), 'y': (256,)}
    """
    if length < 3 or symbols < 1:
        raise ValueError(f"length is {length} and symbols {symbols}; expected at least 3 and at least 1")
    symbols_key, place_key = jax.random.split(key)
    drawn = jax.random.randint(symbols_key, (length,), 0, symbols, jnp.int32)
    place = jax.random.randint(place_key, (), 0, length - 2)
    last = jnp.arange(length) == length - 1
    return {
        "x": jnp.where(last, symbols, drawn.at[place].set(symbols)),
        "y": jnp.where(last, drawn[place + 1], 0),
        "mask": last.astype(jnp.float32),
    }


@checked
def rewrite(
    key: jax.Array,
    *,
    rule: Callable[[jax.Array], jax.Array] = jnp.sort,
    length: Count = 10,
    symbols: Count = 10,
) -> dict[str, jax.Array]:
    """A sequence, then what a rule makes of it, for a model that predicts the next token.

    Tokens 0..S-1 are symbols and S is the separator. With L = length, `s = randint(key, [L], 0, S)`
    and the text `z = s, S, rule(s)` of 2 L + 1 tokens: `x = z[:-1]`, `y = z[1:]`, and the mask is 1
    at the L places where y is of `rule(s)`, that is from L on.

    Args:
      key: one typed PRNG key.
      rule: symbols `[L]` to symbols `[L]`, as `jnp.sort` (the default) or `jnp.flip`.
      length: L, at least 1.
      symbols: S, at least 1; there are S + 1 tokens.

    Returns:
      `x` and `y`, int32 `[2 L]`, and `mask`, float32 `[2 L]`.

    Raises:
      ValueError: no length or symbols.

    Example:
      >>> row = fdl.data.synthetic.rewrite(jax.random.key(0), length=3, symbols=10)
      >>> sorted(row["x"][:3].tolist()) == row["y"][3:].tolist()
      True
    """
    given = jax.random.randint(key, (length,), 0, symbols, jnp.int32)
    text = jnp.concatenate([given, jnp.full(1, symbols, jnp.int32), rule(given)])
    mask = (jnp.arange(2 * length) >= length).astype(jnp.float32)
    return {"x": text[:-1], "y": text[1:], "mask": mask}


@checked
def add(a: np.ndarray, b: np.ndarray, p: Count) -> np.ndarray:
    """a + b modulo p.

    Example:
      >>> fdl.data.synthetic.add(np.array([5]), np.array([4]), 7).tolist()
      [2]
    """
    return (a + b) % p


@checked
def subtract(a: np.ndarray, b: np.ndarray, p: Count) -> np.ndarray:
    """a - b modulo p.

    Example:
      >>> fdl.data.synthetic.subtract(np.array([2]), np.array([4]), 7).tolist()
      [5]
    """
    return (a - b) % p


@checked
def multiply(a: np.ndarray, b: np.ndarray, p: Count) -> np.ndarray:
    """a b modulo p.

    Example:
      >>> fdl.data.synthetic.multiply(np.array([5]), np.array([4]), 7).tolist()
      [6]
    """
    return a * b % p


@checked
def divide(a: np.ndarray, b: np.ndarray, p: Count) -> np.ndarray:
    """The c with b c = a modulo p; -1 where b has no inverse (for a prime p, where b is 0).

    Example:
      >>> fdl.data.synthetic.divide(np.array([6, 1]), np.array([4, 0]), 7).tolist()
      [5, -1]
    """
    residues = np.arange(p)
    unit = residues[:, None] * residues % p == 1 % p
    inverse = np.where(unit.any(axis=1), unit.argmax(axis=1), -1)
    return np.where(inverse[b] < 0, -1, a * inverse[b] % p)


@checked
def modular_arithmetic(
    *, operation: Operation = add, p: Count = 97, train_fraction: Share[float] = 0.5, seed: int = 0
) -> Splits:
    """The whole table of a binary operation modulo p, to learn from a part of it.

    Power et al. 2022, Grokking, arXiv:2201.02177. The pairs (a, b), a and b in 0..p-1, for which the
    operation is defined, ordered by a and then by b, are numbered 0..N-1. Pair n has the word
    `bits(key(seed), [N])[n]` (32 bits). In order of their words (of equals, the lower number first),
    the first round(train_fraction N) pairs are train, the first half (rounded down) of the others is
    validation, and the rest is test; `round` is Python's, half to even. A part keeps that order.

    Args:
      operation: `operation(a, b, p)`, as `add`, `subtract`, `multiply`, `divide`, or your own.
      p: the modulus, at least 2; the paper's is 97.
      train_fraction: of all pairs.
      seed: names the split.

    Returns:
      Parts with `x`, int32 `[n, 4]`, the tokens a, p (for the operation), b, p + 1 (for "="), and
      `y`, int32 `[n]`, the result, in 0..p-1. There are p + 2 tokens and p classes.

    Raises:
      ValueError: a modulus below 2, results of p or more, or a part without rows.

    Example:
      >>> splits = fdl.data.synthetic.modular_arithmetic(p=5)
      >>> sum(len(part["y"]) for part in splits[:3])
      25
    """
    if p < 2:
        raise ValueError(f"p is {p}; expected a modulus of at least 2")
    a, b = (side.ravel() for side in np.mgrid[:p, :p])
    c = operation(a, b, p)
    if c.max() >= p:
        raise ValueError(f"the operation gives {c.max()} modulo {p}; expected results below {p}")
    a, b, c = a[c >= 0], b[c >= 0], c[c >= 0]
    order = np.argsort(np.asarray(jax.random.bits(jax.random.key(seed), (len(c),))), kind="stable")
    first = round(train_fraction * len(c))
    second = first + (len(c) - first) // 2
    if not 0 < first < second:
        raise ValueError(
            f"train_fraction is {train_fraction} of {len(c)} rows; expected one that leaves some in each part"
        )
    x = np.stack([a, np.full_like(a, p), b, np.full_like(a, p + 1)], axis=1)
    parts = np.split(order, [first, second])
    train, validation, test = ({"x": x[n].astype(np.int32), "y": c[n].astype(np.int32)} for n in parts)
    return Splits(train, validation, test, classes=tuple(map(str, range(p))))


DATA_SETS = (
    DataSet(
        "modular_arithmetic", "sums modulo 97, half of the table for train", Origin.MADE, modular_arithmetic
    ),
    DataSet(
        "associative_recall", "multi-query associative recall (MQAR)", Origin.ENDLESS, associative_recall
    ),
    DataSet("induction", "induction: what followed the trigger before", Origin.ENDLESS, induction),
    DataSet("rewrite", "a sequence, then the same sorted", Origin.ENDLESS, rewrite),
)
