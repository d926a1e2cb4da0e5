"""Known models reach known results on real data, which `FDL_DATA` names; each takes minutes."""

import os
from collections import Counter
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest

from fdl import data, models, tasks, train
from fdl.optim import warmup_cosine
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
