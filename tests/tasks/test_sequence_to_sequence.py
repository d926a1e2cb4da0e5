# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
# Flax types what `apply` returns as a union that no array function takes.

"""Decoding against all sequences there are, exact means over tokens, and numbers read out in words."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl.data import Splits
from fdl.data.datasets.number_names import NUMBER_DIGITS, NUMBER_WORDS, numbers
from fdl.data.tokens.sentences import END, PAD
from fdl.models.encoder_decoder import original_transformer
from fdl.models.seq2seq import Seq2Seq
from fdl.tasks.edit_distance import edit_distance, error_rate
from fdl.tasks.generation import beam_search, cached, generate, greedy, uncached
from fdl.tasks.sequence_to_sequence import sequence_to_sequence, shifted_right

pytestmark = pytest.mark.slow  # minutes of compiling

LENGTH, BEAMS = 3, 200
X = jnp.array([[2, 3, 1], [4, 1, 0]])


def test_a_beam_wide_enough_finds_the_likeliest_targets_in_order():
    model, words = Seq2Seq(5, 4, 6), 4
    variables = jax.jit(model.init)(jax.random.key(0), X, X)
    variables = jax.tree.map(lambda leaf: jax.random.normal(jax.random.key(leaf.size), leaf.shape), variables)

    @jax.jit
    @jax.vmap
    def search(x):
        reader = cached(model, variables, x[None])
        return beam_search(reader, jnp.array([PAD]), length=LENGTH, beams=BEAMS, end=END)

    found, scores = search(X)
    targets = np.array(list(itertools.product(range(words), repeat=LENGTH)), np.int32)
    ended = np.pad(np.cumsum(targets == END, axis=1)[:, :-1] > 0, ((0, 0), (1, 0)))
    targets = targets[(~ended | (targets == END)).all(axis=1)]  # after the end, ends only
    ended = np.pad(np.cumsum(targets == END, axis=1)[:, :-1] > 0, ((0, 0), (1, 0)))
    for row, x in enumerate(X):
        logits = jax.jit(model.apply)(
            variables, jnp.tile(x, (len(targets), 1)), shifted_right(jnp.asarray(targets))
        )
        each = np.take_along_axis(np.asarray(jax.nn.log_softmax(logits)), targets[..., None], axis=-1)[..., 0]
        total = np.where(ended, 0, each).sum(axis=1)
        order = np.argsort(-total)
        np.testing.assert_array_equal(found[row, : len(targets), 1:], targets[order])
        np.testing.assert_allclose(scores[row, : len(targets)], total[order], rtol=1e-5)


@pytest.mark.parametrize(
    "model", [Seq2Seq(5, 5, 6), original_transformer(5, width=8, layers=1, heads=2, hidden=8)], ids=type
)
def test_exact_match_is_the_same_with_a_cache_and_without(model):
    x = jnp.asarray(np.random.default_rng(0).integers(2, 5, size=(64, 3)), jnp.int32)
    rows = {"x": np.asarray(x), "y": np.full((64, 2), 2, np.int32)}
    both = [task(model, Splits(rows, rows, rows), readers=readers).learner for readers in (cached, uncached)]
    state = jax.jit(both[0].init)(jax.random.key(0))
    draw = lambda leaf: 2 * jax.random.normal(jax.random.key(leaf.size), leaf.shape)  # noqa: E731
    state = state._replace(params=jax.tree.map(draw, state.params))
    reader, start = uncached(model, {"params": state.params}, x), jnp.full((64, 1), PAD, jnp.int32)
    y = generate(reader, start, jax.random.key(0), length=2, choose=greedy, end=END)[:, 1:]
    y = jnp.where((jnp.arange(64) < 16)[:, None], y, (y + 1) % 4 + 1)  # one row in four is right
    batch = {"x": x, "y": y, "weight": jnp.ones(64)}
    for learner in both:
        assert jax.jit(learner.evaluate)(state, batch, jax.random.key(0))["exact_match"].value == 0.25


def levenshtein(a, b):
    """By its recursion."""
    if not a or not b:
        return len(a) + len(b)
    return min(
        levenshtein(a[1:], b) + 1, levenshtein(a, b[1:]) + 1, levenshtein(a[1:], b[1:]) + (a[0] != b[0])
    )


def test_edit_distances_are_those_of_the_recursion():
    rng, sentences = np.random.default_rng(0), []
    for _ in range(2):
        lengths = rng.integers(0, 6, size=(40, 1))
        sentences.append(np.where(np.arange(5) < lengths, rng.integers(1, 4, size=(40, 5)), 0))
    a, b = sentences
    words = [[list(row[row != 0]) for row in rows] for rows in sentences]
    expected = np.array([levenshtein(x, y) for x, y in zip(*words, strict=True)])
    np.testing.assert_array_equal(jax.jit(edit_distance)(a, np.pad(b, ((0, 0), (0, 3)))), expected)
    weight = np.arange(40) % 3
    total, count = error_rate(edit_distance(a, b), b, weight)
    assert total == (weight * expected).sum() and count == (weight * (b != 0).sum(1)).sum()


def task(model=None, splits=None, steps=1, **options):
    splits = numbers(digits=3) if splits is None else splits
    model = Seq2Seq(len(NUMBER_DIGITS), len(NUMBER_WORDS), 48) if model is None else model
    options = {"readers": cached, **options}
    return sequence_to_sequence(model, splits, optax.adam(5e-3), steps=steps, **options)


def evaluated(experiment, state, split):
    source, evaluate = experiment.evaluation[split], jax.jit(experiment.learner.evaluate)
    batch = lambda i: source.batch(source.arrays, jnp.int32(i), jax.random.key(0))  # noqa: E731
    means = [evaluate(state, batch(i), jax.random.key(0)) for i in range(source.batches)]
    return {name: sum(m[name].total for m in means) / sum(m[name].weight for m in means) for name in means[0]}


def test_an_evaluation_counts_each_real_token_once():
    splits, few = numbers(digits=2), Seq2Seq(len(NUMBER_DIGITS), len(NUMBER_WORDS), 8)
    experiment = task(few, splits)
    state = jax.jit(experiment.learner.init)(jax.random.key(0))
    values, y = evaluated(experiment, state, "test"), splits.test["y"]
    before = np.concatenate([np.full((len(y), 1), PAD), y[:, :-1]], axis=1)
    logits = few.apply({"params": state.params}, splits.test["x"], before)
    logp = np.asarray(jax.nn.log_softmax(logits), np.float64)
    real = y != PAD
    nll = -np.take_along_axis(logp, y[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(values["loss"], nll[real].mean(), rtol=1e-6)
    np.testing.assert_allclose(values["accuracy"], (logp.argmax(-1) == y)[real].mean(), rtol=1e-6)
    reader = uncached(few, {"params": state.params}, jnp.asarray(splits.test["x"]))
    start = jnp.full((len(y), 1), PAD, jnp.int32)
    given = generate(reader, start, jax.random.key(0), length=y.shape[1], choose=greedy, end=END)[:, 1:]
    said = [list(row[: list(row).index(END) + 1]) if END in row else list(row) for row in np.asarray(given)]
    right = [words == list(row[row != PAD]) for words, row in zip(said, y, strict=True)]
    np.testing.assert_allclose(values["exact_match"], np.mean(right), rtol=1e-6)


def test_the_steps_loss_is_over_real_tokens_and_smoothing_may_be_traced():
    splits, model = numbers(digits=2), Seq2Seq(len(NUMBER_DIGITS), len(NUMBER_WORDS), 8)
    batch = {name: array[:3] for name, array in splits.train.items()}

    @jax.jit
    def stepped(smoothing, batch):
        learner = task(model, splits, label_smoothing=smoothing).learner
        state, metrics = learner.step(learner.init(jax.random.key(0)), batch, jax.random.key(1))
        return state.params, metrics["loss"].value

    plain, loss = stepped(0.0, batch)
    longer = {name: np.pad(array, ((0, 0), (0, 2))) for name, array in batch.items()}
    same, longer_loss = stepped(0.0, longer)
    np.testing.assert_allclose(loss, longer_loss, rtol=1e-6)
    other, smooth_loss = stepped(0.5, batch)
    np.testing.assert_allclose(loss, smooth_loss, rtol=1e-6)
    gap = lambda a, b: max(jax.tree.leaves(jax.tree.map(lambda x, y: np.abs(x - y).max(), a, b)))  # noqa: E731
    assert gap(plain, same) < 1e-4 < gap(plain, other)


GOOD = {"x": np.ones((2, 3), np.int32), "y": np.ones((2, 4), np.int32)}


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"y": GOOD["y"] * 9}, "train targets have tokens from 9 to 9; expected 0 to 5, as the model has 6"),
        ({"y": np.stack([GOOD["y"][0], GOOD["y"][0] * 0])}, r"train target of row 1 is all padding \(0\)"),
        (
            {"y": GOOD["y"].astype(np.float32)},
            "train has rows .*float32.*; expected those of train, with int",
        ),
        ({"y": GOOD["y"][:1]}, "train has {'x': 2, 'y': 1} rows; expected as many of each"),
    ],
)
def test_targets_that_do_not_fit(broken, message):
    with pytest.raises(ValueError, match=message) as caught:
        task(Seq2Seq(7, 6, 4), Splits(GOOD | broken, GOOD, GOOD))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", [0, 1])
def test_it_learns_to_read_numbers(seed):
    experiment = task(steps=400)
    learner, source = experiment.learner, experiment.train

    @jax.jit
    def run(arrays, key):
        def step(i, state):
            return learner.step(state, source.batch(arrays, i, key), jax.random.fold_in(key, i))[0]

        return jax.lax.fori_loop(0, experiment.steps, step, learner.init(key))

    values = evaluated(experiment, run(source.arrays, jax.random.key(seed)), "test")
    splits = numbers(digits=3)
    counts = np.bincount(splits.train["y"].ravel(), minlength=len(NUMBER_WORDS))[1:] + 1
    tokens = splits.test["y"][splits.test["y"] != PAD]
    unigram = -np.log(counts / counts.sum())[tokens - 1].mean()
    assert values["loss"] < 0.1 * unigram and values["exact_match"] > 0.8
