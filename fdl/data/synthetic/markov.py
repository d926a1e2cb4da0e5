"""Text of Markov chains and hidden Markov models, whose best possible loss is known exactly."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fdl.arguments import Count, NotNegative, checked

_BITS = 31  # thresholds reach 2**31 itself, which must still fit in 32 bits


@checked
def stochastic_matrix(
    key: jax.Array, *, rows: Count, columns: Count, sharpness: NotNegative[float] = 1.0
) -> np.ndarray:
    """A random matrix whose rows are distributions.

    With the words `w = bits(key, [rows, columns])` (32 bits), row by row in float64,

        p[i, j] is proportional to (-log((w[i, j] + 1/2) / 2**32)) ** sharpness.

    Sharpness 1 draws each row uniformly from all distributions (Dirichlet with all parameters 1); 0
    makes them uniform; larger ones concentrate each row on few columns, at less entropy. No entry is
    0, so a square one is the transition matrix of an ergodic chain.

    Args:
      key: one typed PRNG key, concrete (not under `jit`).
      rows: distributions.
      columns: outcomes of each.
      sharpness: not negative.

    Returns:
      float64 `[rows, columns]`.

    Raises:
      ValueError: no rows or columns, or a negative sharpness.

    Example:
      >>> matrix = fdl.data.synthetic.stochastic_matrix(jax.random.key(0), rows=2, columns=3)
      >>> matrix.sum(axis=1).round(6).tolist()
      [1.0, 1.0]
    """
    if min(rows, columns) < 1 or sharpness < 0:
        raise ValueError(
            f"rows, columns and sharpness are {rows}, {columns} and {sharpness}; expected at least 1, 1 and 0"
        )
    words = np.asarray(jax.random.bits(key, (rows, columns))).astype(np.float64)
    weights = (-np.log((words + 0.5) / 2**32)) ** sharpness
    return weights / weights.sum(axis=1, keepdims=True)


@checked
def stationary(transition: np.ndarray) -> np.ndarray:
    """The distribution that a chain keeps: the one solution of π P = π.

    Args:
      transition: P, `[K, K]`; row i is the distribution of what follows state i. Here and in all
        that follows, rows must sum to 1 within 1e-6, and are divided by their sums.

    Returns:
      π, float64 `[K]`.

    Raises:
      ValueError: not a transition matrix, or more than one stationary distribution.

    Example:
      >>> fdl.data.synthetic.stationary(np.array([[0.9, 0.1], [0.3, 0.7]])).round(3).tolist()
      [0.75, 0.25]
    """
    transition = transition_matrix(transition)
    states = len(transition)
    equations = np.vstack([transition.T - np.eye(states), np.ones(states)])
    solution, _, rank, _ = np.linalg.lstsq(equations, np.eye(states + 1)[states], rcond=None)
    if rank < states:
        raise ValueError(
            f"transition has {states - rank + 1} closed classes of states; "
            "expected one, so that there is one stationary distribution"
        )
    solution = np.maximum(solution, 0.0)
    return solution / solution.sum()


@checked
def markov_text(key: jax.Array, *, transition: np.ndarray, length: Count = 64) -> dict[str, jax.Array]:
    """Text of a stationary Markov chain of order 1 (Shannon 1948, A Mathematical Theory of Communication).

    With K states, T = length, the stationary distribution π and the words
    `w = bits(key, [T + 1]) >> 1` (31 bits), the states s[0..T] are

        s[0] = the number of j < K - 1 with w[0] >= round(2**31 (π_0 + ... + π_j))
        s[t] = the number of j < K - 1 with w[t] >= round(2**31 (P_i0 + ... + P_ij)), i = s[t-1]

    with sums in float64. Probabilities are thus exact to 2**-31, and what has probability 0 never
    happens. `x = s[:-1]`, `y = s[1:]`. The loss counts everywhere; the least that can be
    expected is `entropy_rate(transition)`, at every place.

    Args:
      key: one typed PRNG key.
      transition: P, `[K, K]`, known when the program is traced.
      length: T, at least 1.

    Returns:
      `x` and `y`, int32 `[T]`, in 0..K-1.

    Raises:
      ValueError: a length below 1, or as for `stationary`.

    Example:
      >>> chain = np.full((5, 5), 0.2)
      >>> sample = lambda key: fdl.data.synthetic.markov_text(key, transition=chain, length=6)
      >>> jax.eval_shape(sample, jax.random.key(0))["x"].shape
      (6,)
    """
    return _shifted(_chain(_words(key, (length + 1,)), transition))


@checked
def hidden_markov_text(
    key: jax.Array, *, transition: np.ndarray, emission: np.ndarray, length: Count = 64
) -> dict[str, jax.Array]:
    """Text that a stationary hidden Markov model emits (Rabiner 1989, A Tutorial on Hidden Markov Models).

    With K hidden states, V tokens, T = length and the words `w = bits(key, [2, T + 1]) >> 1` (31
    bits), the hidden states s[0..T] are those of `markov_text` with the words w[0], and

        o[t] = the number of j < V - 1 with w[1, t] >= round(2**31 (E_i0 + ... + E_ij)), i = s[t].

    `x = o[:-1]`, `y = o[1:]`. The loss counts everywhere. The best one on a row is the mean of
    `-token_log_likelihood(o)[1:]`; over long rows it tends to the entropy rate, which lies between
    the bounds of `entropy_rate_bounds`.

    Args:
      key: one typed PRNG key.
      transition: P, `[K, K]`, known when the program is traced.
      emission: E, `[K, V]`; row i is the distribution of the token that state i emits.
      length: T, at least 1.

    Returns:
      `x` and `y`, int32 `[T]`, in 0..V-1.

    Raises:
      ValueError: a length below 1, emissions that do not fit, or as for `stationary`.

    Example:
      >>> chain, shown = np.full((2, 2), 0.5), np.array([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]])
      >>> sample = lambda key: fdl.data.synthetic.hidden_markov_text(key, transition=chain, emission=shown)
      >>> jax.eval_shape(sample, jax.random.key(0))["x"].shape
      (64,)
    """
    emission = emission_matrix(emission, len(transition))
    hidden_words, token_words = _words(key, (2, length + 1))
    hidden = _chain(hidden_words, transition)
    return _shifted(_choose(_thresholds(emission), hidden, token_words))


def _words(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jax.random.bits(key, shape) >> (32 - _BITS)


def _chain(words: jax.Array, transition: np.ndarray) -> jax.Array:
    """The states `[n]` that words `[n]` choose, as `markov_text` documents."""
    first = _choose(_thresholds(stationary(transition)[None]), jnp.int32(0), words[0])
    thresholds = _thresholds(transition_matrix(transition))

    def move(state: jax.Array, word: jax.Array) -> tuple[jax.Array, jax.Array]:
        state = _choose(thresholds, state, word)
        return state, state

    return jnp.concatenate([first[None], lax.scan(move, first, words[1:])[1]])


def _choose(thresholds: jax.Array, row: jax.Array, word: jax.Array) -> jax.Array:
    """How many thresholds of its row `[...]` each word `[...]` reaches, int32 `[...]`: a binary search."""
    count = jnp.zeros_like(row)
    for bit in reversed(range(thresholds.shape[1].bit_length())):
        further = count + (1 << bit)
        count = jnp.where(word >= thresholds[row, further - 1], further, count)
    return count


def _thresholds(distributions: np.ndarray) -> jax.Array:
    """uint32 `[K, 2**n - 1]`: cumulative probabilities but the last, and then what no word reaches."""
    reached = np.rint(2.0**_BITS * np.cumsum(distributions, axis=1)[:, :-1]).astype(np.uint32)
    outcomes = distributions.shape[1]
    missing = 2 ** (outcomes - 1).bit_length() - outcomes
    return jnp.asarray(np.pad(reached, ((0, 0), (0, missing)), constant_values=2**32 - 1))


def _shifted(tokens: jax.Array) -> dict[str, jax.Array]:
    return {"x": tokens[:-1], "y": tokens[1:]}


def transition_matrix(matrix: Any) -> np.ndarray:
    """A chain's matrix, checked: float64 `[K, K]`, its rows distributions."""
    matrix = _distributions(matrix, "transition")
    if matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"transition has shape {matrix.shape}; expected a square matrix [K, K]")
    return matrix


def emission_matrix(matrix: Any, states: int) -> np.ndarray:
    """What each state shows, checked: float64 `[K, V]`, its rows distributions."""
    matrix = _distributions(matrix, "emission")
    if len(matrix) != states:
        raise ValueError(
            f"emission has {len(matrix)} rows for {states} states; expected a row for each state"
        )
    return matrix


def _distributions(matrix: Any, name: str) -> np.ndarray:
    """float64 `[K, V]` with rows divided by their sums, which must be 1 to 1e-6."""
    matrix = np.asarray(matrix, np.float64)
    if matrix.ndim != 2 or not matrix.size:
        raise ValueError(
            f"{name} has shape {matrix.shape}; expected a matrix with a distribution in each row"
        )
    bad = np.flatnonzero(~((matrix >= 0).all(axis=1) & (np.abs(matrix.sum(axis=1) - 1) < 1e-6)))
    if bad.size:
        row = matrix[bad[0]]
        raise ValueError(
            f"row {bad[0]} of {name} has a sum of {row.sum():.6g} and a least entry of {row.min():.6g}; "
            "expected a distribution: no entry below 0, and a sum of 1"
        )
    return matrix / matrix.sum(axis=1, keepdims=True)
