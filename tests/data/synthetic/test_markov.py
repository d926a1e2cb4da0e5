"""Text of known entropy: against eigenvectors, all hidden paths, and the documented arithmetic."""

import functools
import hashlib
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl.data.generated import stream
from fdl.data.synthetic.entropy import entropy_rate, entropy_rate_bounds, token_log_likelihood
from fdl.data.synthetic.markov import (
    hidden_markov_text,
    markov_text,
    stationary,
    stochastic_matrix,
)

WEATHER = np.array([[0.9, 0.1], [0.5, 0.5]])
SPARSE = np.array([[0.0, 0.5, 0.0, 0.5], [0.2, 0.3, 0.5, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.75, 0.25]])
CHAINS = {
    "one": np.ones((1, 1)),
    "weather": WEATHER,
    "sparse": SPARSE,
    "periodic": np.roll(np.eye(3), 1, axis=1),
    "transient": np.array([[0.5, 0.5], [0.0, 1.0]]),
    "sampled": stochastic_matrix(jax.random.key(1), rows=9, columns=9, sharpness=3.0),
}
chains = pytest.mark.parametrize("transition", CHAINS.values(), ids=CHAINS)
MOVES = np.array([[0.7, 0.3, 0.0], [0.1, 0.6, 0.3], [0.5, 0.0, 0.5]])
EMITS = np.array([[0.5, 0.5, 0.0, 0.0], [0.1, 0.2, 0.3, 0.4], [0.0, 0.0, 0.0, 1.0]])
SAMPLES = [
    functools.partial(markov_text, transition=SPARSE, length=100),
    functools.partial(hidden_markov_text, transition=MOVES, emission=EMITS, length=400),
]
IDS = ["markov", "hidden_markov"]


def eigenvector(transition):
    values, vectors = np.linalg.eig(np.asarray(transition).T)
    vector = np.real(vectors[:, np.argmin(np.abs(values - 1))])
    return vector / vector.sum()


def entropy(probabilities):
    return -sum(p * math.log(p) for p in np.ravel(probabilities) if p > 0)


def choose(word, distribution):
    """The documented rule: how many cumulative probabilities but the last the word reaches."""
    return sum(word >= round(2**31 * total) for total in np.cumsum(distribution)[:-1])


def walk(words, transition):
    states = [choose(words[0], eigenvector(transition))]
    for word in words[1:]:
        states.append(choose(word, transition[states[-1]]))
    return states


def paths(tokens, transition, emission):
    """The likelihood of tokens, as a sum over every path of hidden states."""
    start, total = eigenvector(transition), 0.0
    for path in itertools.product(range(len(transition)), repeat=len(tokens)):
        chance = start[path[0]]
        for before, after in itertools.pairwise(path):
            chance *= transition[before, after]
        for state, token in zip(path, tokens, strict=True):
            chance *= emission[state, token]
        total += chance
    return total


@functools.cache
def rows(sample, count):
    """`count` rows as NumPy arrays `[count, ...]`; one compilation serves several tests."""
    keys = jax.vmap(jax.random.key)(np.arange(count))
    return {name: np.asarray(array) for name, array in jax.jit(jax.vmap(sample))(keys).items()}


def digest(*arrays):
    return hashlib.sha256(b"".join(np.asarray(array, "<i4").tobytes() for array in arrays)).hexdigest()


@pytest.mark.parametrize("sharpness", [0.0, 0.5, 1.0, 4.0])
def test_stochastic_matrix_is_as_written(sharpness):
    key = jax.random.key(3)
    words = jax.random.bits(key, (4, 6)).tolist()
    weights = [[(-math.log((word + 0.5) / 2**32)) ** sharpness for word in row] for row in words]
    expected = [[weight / sum(row) for weight in row] for row in weights]
    matrix = stochastic_matrix(key, rows=4, columns=6, sharpness=sharpness)
    np.testing.assert_allclose(matrix, expected, rtol=1e-12)


def test_stochastic_matrix_is_uniform_over_distributions():
    """Dirichlet with all parameters 1: entries have mean 1/K and variance (K - 1) / (K**2 (K + 1))."""
    matrix = stochastic_matrix(jax.random.key(0), rows=20000, columns=3)
    np.testing.assert_allclose(matrix.mean(axis=0), 1 / 3, atol=5 * np.sqrt(1 / 18 / 20000))
    np.testing.assert_allclose(matrix.var(axis=0), 1 / 18, rtol=0.03)
    entropies = [
        entropy(stochastic_matrix(jax.random.key(0), rows=50, columns=8, sharpness=sharpness)) / 50
        for sharpness in (0.0, 1.0, 4.0)
    ]
    assert entropies[0] == pytest.approx(math.log(8)) and entropies[0] > entropies[1] > entropies[2]


@chains
def test_stationary_is_the_eigenvector(transition):
    np.testing.assert_allclose(stationary(transition), eigenvector(transition), atol=1e-12)


@chains
def test_entropy_rate_by_eigenvector(transition):
    expected = sum(
        weight * entropy(row) for weight, row in zip(eigenvector(transition), transition, strict=True)
    )
    assert entropy_rate(transition) == pytest.approx(expected, abs=1e-12)


def test_known_entropy_rates():
    """Stationary (5/6, 1/6) by hand; a uniform chain has log K, a cycle none."""
    by_hand = -5 / 6 * (0.9 * math.log(0.9) + 0.1 * math.log(0.1)) + math.log(2) / 6
    assert entropy_rate(WEATHER) == pytest.approx(by_hand, rel=1e-12)
    assert entropy_rate(np.full((5, 5), 0.2)) == pytest.approx(math.log(5), rel=1e-12)
    assert entropy_rate(CHAINS["periodic"]) == 0.0


@chains
def test_markov_text_is_as_written(transition):
    for seed in range(3):
        words = (jax.random.bits(jax.random.key(seed), (31,)) >> 1).tolist()
        states = walk(words, transition)
        row = markov_text(jax.random.key(seed), transition=transition, length=30)
        assert row["x"].tolist() == states[:-1] and row["y"].tolist() == states[1:]
        assert row["x"].dtype == row["y"].dtype == np.int32


def test_markov_text_has_the_statistics_of_its_chain():
    batch = rows(SAMPLES[0], 500)
    counts = np.zeros((4, 4))
    np.add.at(counts, (batch["x"], batch["y"]), 1)
    assert not counts[SPARSE == 0].any()
    joint = stationary(SPARSE)[:, None] * SPARSE
    # 500 independent rows; within a row places hardly depend on one another beyond a few.
    np.testing.assert_allclose(counts / counts.sum(), joint, atol=0.008)
    first = np.bincount(batch["x"][:, 0], minlength=4) / 500
    np.testing.assert_allclose(first, stationary(SPARSE), atol=4.5 * np.sqrt(0.25 / 500))
    loss = -np.log(SPARSE[batch["x"], batch["y"]])
    assert abs(loss.mean() - entropy_rate(SPARSE)) < 4.5 * loss.mean(axis=1).std() / np.sqrt(500)


def test_hidden_markov_text_is_as_written():
    for seed in range(4):
        hidden_words, token_words = (jax.random.bits(jax.random.key(seed), (2, 31)) >> 1).tolist()
        hidden = walk(hidden_words, MOVES)
        tokens = [choose(word, EMITS[state]) for word, state in zip(token_words, hidden, strict=True)]
        row = hidden_markov_text(jax.random.key(seed), transition=MOVES, emission=EMITS, length=30)
        assert row["x"].tolist() == tokens[:-1] and row["y"].tolist() == tokens[1:]
        assert row["x"].dtype == row["y"].dtype == np.int32


def test_states_that_are_seen_make_a_markov_chain():
    batch = rows(functools.partial(hidden_markov_text, transition=SPARSE, emission=np.eye(4), length=50), 8)
    likelihood = functools.partial(token_log_likelihood, transition=SPARSE, emission=np.eye(4))
    found = jax.jit(jax.vmap(likelihood))(batch["x"])
    by_chain = np.log(SPARSE[batch["x"][:, :-1], batch["x"][:, 1:]])
    np.testing.assert_allclose(found[:, 1:], by_chain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("tokens", [[3], [0, 1], [2, 3, 3, 0], [1, 3, 2, 2, 0, 1]])
def test_log_likelihood_by_all_hidden_paths(tokens):
    found = token_log_likelihood(jnp.array(tokens), transition=MOVES, emission=EMITS)
    so_far = [1.0, *(paths(tokens[:end], MOVES, EMITS) for end in range(1, len(tokens) + 1))]
    np.testing.assert_allclose(found, np.diff(np.log(so_far)), rtol=2e-6, atol=1e-6)
    assert found.dtype == np.float32


def test_log_likelihood_of_long_text_in_double_precision():
    tokens = rows(SAMPLES[1], 500)["x"][0]
    state, expected = eigenvector(MOVES), []
    for token in tokens:
        joint = state * EMITS[:, token]
        expected.append(np.log(joint.sum()))
        state = joint / joint.sum() @ MOVES
    found = jax.jit(functools.partial(token_log_likelihood, transition=MOVES, emission=EMITS))(tokens)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_impossible_tokens_have_no_likelihood():
    found = token_log_likelihood(
        jnp.array([0, 2, 1]), transition=np.eye(1), emission=np.array([[0.5, 0.5, 0.0]])
    )
    np.testing.assert_array_equal(found, np.array([np.log(0.5), -np.inf, -np.inf], np.float32))


@pytest.mark.parametrize("length", [1, 2, 3])
def test_entropy_rate_bounds_by_all_texts(length):
    def block(size, start):
        """Entropies of texts of the first `size` tokens, with the first hidden state of `start`."""
        total = []
        for text in itertools.product(range(4), repeat=size):
            state = start
            for place, token in enumerate(text):
                state = (state @ MOVES if place else state) * EMITS[:, token]
            total.append(state.sum())
        return entropy(total)

    start = eigenvector(MOVES)
    given = [
        sum(p * block(size, one) for p, one in zip(start, np.eye(3), strict=True))
        for size in (length - 1, length)
    ]
    lower, upper = entropy_rate_bounds(MOVES, EMITS, length=length)
    assert lower == pytest.approx(given[1] - given[0], rel=1e-12)
    assert upper == pytest.approx(block(length, start) - block(length - 1, start), rel=1e-12)


def test_entropy_rate_bounds_close_in_on_the_loss():
    bounds = [entropy_rate_bounds(MOVES, EMITS, length=length) for length in range(1, 9)]
    lower, upper = zip(*bounds, strict=True)
    assert sorted(lower) == list(lower) and sorted(upper, reverse=True) == list(upper)
    assert lower[-1] <= upper[-1] < lower[-1] + 1e-3
    batch = rows(SAMPLES[1], 500)
    likelihood = functools.partial(token_log_likelihood, transition=MOVES, emission=EMITS)
    loss = -np.asarray(jax.jit(jax.vmap(likelihood))(batch["x"]))[:, 20:].mean(axis=1)
    error = 4.5 * loss.std() / np.sqrt(500)
    assert lower[-1] - error < loss.mean() < upper[-1] + error


def test_entropy_rate_bounds_of_a_chain_that_is_seen():
    lower, upper = entropy_rate_bounds(SPARSE, np.eye(4), length=3)
    assert lower == pytest.approx(entropy_rate(SPARSE)) == pytest.approx(upper)


@pytest.mark.parametrize("sample", SAMPLES, ids=IDS)
def test_jit_and_vmap_change_nothing(sample):
    together = rows(sample, 500)
    for seed in range(3):
        row = sample(jax.random.key(seed))
        assert set(row) == set(together)
        for name, array in row.items():
            np.testing.assert_array_equal(together[name][seed], array)
            assert together[name].dtype == array.dtype


@pytest.mark.parametrize("sample", SAMPLES, ids=IDS)
def test_batches_are_rows_of_their_own(sample):
    source = stream(sample, batch_size=64)
    batch = jax.jit(lambda step, key: source.batch((), step, key))(3, jax.random.key(0))
    assert batch["x"].shape == batch["y"].shape == (64, sample.keywords["length"])
    assert len(np.unique(batch["x"], axis=0)) > 60


def test_wide_rows_are_never_gathered_whole():
    """A batch of long rows over many tokens needs memory for the tokens, not tokens times vocabulary."""
    emission = stochastic_matrix(jax.random.key(0), rows=2, columns=2000)
    sample = functools.partial(hidden_markov_text, transition=WEATHER, emission=emission, length=128)
    program = jax.jit(lambda step, key: stream(sample, batch_size=64).batch((), step, key))
    analysis = program.lower(0, jax.random.key(0)).compile().memory_analysis()
    assert analysis is not None and analysis.temp_size_in_bytes < 64 * 129 * 200


def test_never_changes():
    key = jax.random.key(0)
    matrix = stochastic_matrix(key, rows=27, columns=27, sharpness=2.0)
    assert (
        digest(*markov_text(key, transition=matrix, length=200).values())
        == "276d8616342f33cf420f8f4b37a77eac599c4cefb6a433ca629f4faf91858535"
    )
    assert (
        digest(*SAMPLES[1](key, length=200).values())
        == "8d1d027122619f2569d0685e75d60ed4aee1f5ad7fa3ef7573c5d2e6439e763a"
    )


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: stationary(np.ones((2, 3)) / 3), "transition has shape \\(2, 3\\); expected a square"),
        (lambda: stationary(np.ones(3) / 3), "transition has shape \\(3,\\); expected a matrix"),
        (lambda: stationary(np.array([[1.0, 0.0], [0.6, 0.6]])), "row 1 of transition has a sum of 1.2"),
        (
            lambda: stationary(np.array([[1.5, -0.5], [0.5, 0.5]])),
            "row 0 of transition .* least entry of -0.5",
        ),
        (lambda: stationary(np.array([[math.nan, 1.0], [0.5, 0.5]])), "row 0 of transition"),
        (lambda: entropy_rate(np.eye(3)), "3 closed classes"),
        (lambda: markov_text(jax.random.key(0), transition=WEATHER, length=0), "length is 0"),
        (
            lambda: hidden_markov_text(jax.random.key(0), transition=WEATHER, emission=EMITS),
            "emission has 3 rows for 2 states",
        ),
        (
            lambda: token_log_likelihood(jnp.zeros(2, int), transition=MOVES, emission=EMITS + 1),
            "row 0 of emission",
        ),
        (lambda: entropy_rate_bounds(MOVES, EMITS, length=0), "length is 0"),
        (lambda: entropy_rate_bounds(MOVES, EMITS, length=13), "length is 13, with 3 states and 4 tokens"),
        (
            lambda: stochastic_matrix(jax.random.key(0), rows=0, columns=2),
            "rows is 0; expected at least 1",
        ),
        (lambda: stochastic_matrix(jax.random.key(0), rows=1, columns=2, sharpness=-1.0), "-1.0; expected"),
    ],
)
def test_what_is_no_model_of_text(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
