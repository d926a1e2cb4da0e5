"""Known models reach known results on real data, which `FDL_DATA` names; each takes minutes."""

import os
from collections import Counter
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from experiments import depth_cifar, shakespeare, spoken_digits
from fdl import data, models, tasks, train
from fdl.optim import warmup_cosine
from fdl.tasks.edit_distance import edit_distance
from tests.kneser_ney import grams_of, kneser_ney, probabilities

ORDER = 5
SOURCE = "FDL_DATA"


def needs(file):
    """Skips the test unless the folder of real data holds the file."""
    there = SOURCE in os.environ and (Path(os.environ[SOURCE]) / file).exists()
    return pytest.mark.skipif(not there, reason=f"{SOURCE} names no folder with {file}")


@pytest.mark.slow
@needs("mnist/train-images-idx3-ubyte.gz")
def test_lenet_reads_99_of_100_digits_after_five_epochs():
    digits = data.mnist()
    both = {name: np.concatenate([digits.train[name], digits.validation[name]]) for name in ("x", "y")}
    steps = 5 * len(both["y"]) // 64
    experiment = tasks.classification(
        models.lenet5(padding=2, pool=models.max_pool, activation=nn.relu),
        digits._replace(train=both),  # nothing is chosen by the validation part, so it may be learned from
        optax.adam(warmup_cosine(4e-3, steps=steps, warmup=100)),
        steps=steps,
        batch_size=64,
        evaluate_every=steps,
        augment=data.random_crop(padding=1),
    )
    final = train.fit(experiment, jax.random.key(0)).rows[-1]
    print(final)
    assert final["test/accuracy"] >= 0.99


def by_definition(text, context, last, *, vocabulary, highest=True):
    """The interpolated Kneser-Ney probability of `last` after `context`, tuples, by counting anew."""
    length = len(context) + 1
    stretches = [tuple(gram) for gram in grams_of(text, length + (not highest)).tolist()]
    # Below the highest order a gram counts once for each token that was seen before it.
    counts = Counter(stretches if highest else [gram[1:] for gram in set(stretches)])
    once, twice = (sum(count == times for count in counts.values()) for times in (1, 2))
    discount = once / (once + 2 * twice)
    following = {gram[-1]: count for gram, count in counts.items() if gram[:-1] == context}
    lower = 1 / vocabulary
    if context:
        lower = by_definition(text, context[1:], last, vocabulary=vocabulary, highest=False)
    if not following:
        return lower
    kept = max(following.get(last, 0) - discount, 0) + discount * len(following) * lower
    return kept / sum(following.values())


def test_kneser_ney_is_as_defined():
    rng = np.random.default_rng(0)
    text = np.minimum(rng.geometric(0.2, 300) - 1, 19)  # some are rare
    levels = kneser_ney(text, vocabulary=20, order=3)
    grams = rng.integers(0, 20, (50, 3))
    grams[:25] = grams_of(text, 3)[:25]
    expected = [by_definition(text, (a, b), c, vocabulary=20) for a, b, c in grams.tolist()]
    np.testing.assert_allclose(probabilities(levels, grams, vocabulary=20), expected, rtol=1e-12)


@pytest.fixture(scope="module")
def plays():
    """The text in windows, and its train part as one sequence of characters."""
    splits = data.text(data.tiny_shakespeare_file(), length=128)
    return splits, np.append(splits.train["x"], splits.train["y"][-1, -1])


@pytest.mark.slow
@needs("text/shakespeare.txt")
@pytest.mark.parametrize("order", (1, 3, ORDER))
def test_the_probabilities_of_all_characters_sum_to_one(plays, order):
    splits, characters = plays
    vocabulary = len(splits.classes)
    levels = kneser_ney(characters, vocabulary=vocabulary, order=order)
    seen = grams_of(splits.test["y"].ravel(), order)[:200, : order - 1]
    never = np.random.default_rng(0).integers(0, vocabulary, (200, order - 1))
    contexts = np.concatenate([seen, never])
    last = np.tile(np.arange(vocabulary), len(contexts))[:, None]
    grams = np.concatenate([np.repeat(contexts, vocabulary, axis=0), last], axis=1)
    values = probabilities(levels, grams, vocabulary=vocabulary)
    assert values.min() > 0
    np.testing.assert_allclose(values.reshape(-1, vocabulary).sum(1), 1, rtol=1e-12)


@pytest.mark.slow
@needs("text/shakespeare.txt")
def test_a_small_transformer_beats_five_grams(plays):
    splits, characters = plays
    vocabulary = len(splits.classes)
    levels = kneser_ney(characters, vocabulary=vocabulary, order=ORDER)
    final = train.fit(shakespeare.experiment(shakespeare.Config()), jax.random.key(0)).rows[-1]
    for name, part in (("validation", splits.validation), ("test", splits.test)):
        # The same characters; the n-grams also see across the borders of windows, which the net does not.
        grams = grams_of(part["y"].ravel(), ORDER)
        by_grams = -np.log2(probabilities(levels, grams, vocabulary=vocabulary)).mean()
        print(name, {"5-grams": by_grams, "transformer": final[f"{name}/bits"]})
        assert final[f"{name}/bits"] < by_grams


@pytest.mark.slow
@needs("cifar10/data_batch_1.bin")
def test_a_residual_net_of_56_layers_learns_what_its_plain_twin_does_not():
    """Each at the best of three rates on validation."""

    def accuracy(skip):
        tried = [depth_cifar.experiment(depth_cifar.Config(skip=skip, lr=lr)) for lr in (0.01, 0.03, 0.1)]
        rows = [train.fit(experiment, jax.random.key(0)).rows[-1] for experiment in tried]
        return max(rows, key=lambda row: row["validation/accuracy"])["test/accuracy"]

    residual, plain = accuracy(True), accuracy(False)
    print({"residual": residual, "plain": plain})
    assert residual > plain + 0.1


def resampled(frames, count=16):
    """Frames `[T, M]` interpolated at `count` times, as one vector."""
    times = np.linspace(0, len(frames) - 1, count)
    return np.stack([np.interp(times, np.arange(len(frames)), band) for band in frames.T]).ravel()


def equal_parts(part):
    """Each string cut into as many equal parts as it has digits: vectors `[P, 640]`, labels `[P]`."""
    pieces = [
        resampled(piece)
        for x, length, y in zip(part["x"], part["length"], part["y"], strict=True)
        for piece in np.array_split(x[:length], np.count_nonzero(y))
    ]
    return np.stack(pieces), part["y"][part["y"] != 0]


@pytest.mark.slow
@needs("fsdd/fsdd.npz")
def test_digits_are_transcribed_better_than_equal_parts_are_classified():
    """Nothing is chosen by validation or test, whose two speakers are not in train."""
    splits = spoken_digits.strings()
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    classifier.fit(*equal_parts(splits.train))
    experiment = spoken_digits.experiment(spoken_digits.Config())
    final = train.fit(experiment, jax.random.key(0)).rows[-1]
    rates = []
    for name, part in (("validation", splits.validation), ("test", splits.test)):
        said = np.zeros_like(part["y"])
        said[part["y"] != 0] = classifier.predict(
            equal_parts(part)[0]
        )  # it is told how many digits there are
        by_parts = np.sum(edit_distance(said, part["y"])) / np.count_nonzero(part["y"])
        rates.append((final[f"{name}/error_rate"], by_parts))
    print("transcribed, by equal parts:", rates)
    transcribed, by_parts = np.mean(rates, axis=0)
    assert transcribed < by_parts
