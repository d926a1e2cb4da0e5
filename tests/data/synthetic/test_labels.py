"""Labels: Zipf's law, long tails and noise, each against counts and the documented rule."""

import hashlib

import jax
import numpy as np
import pytest
from scipy import stats

from fdl.data.synthetic import flip_label, imbalanced, noisy_labels, zipf, zipf_label


def many(sample, number):
    return jax.device_get(jax.jit(jax.vmap(sample))(jax.random.split(jax.random.key(2), number)))


def balanced(classes=4, each=50):
    y = np.random.default_rng(0).permutation(np.repeat(np.arange(classes, dtype=np.int32), each))
    return {"x": np.arange(len(y), dtype=np.float32)[:, None], "y": y}


@pytest.mark.parametrize("exponent", [0.0, 1.0, 1.7])
def test_zipf_has_its_frequencies_and_exponent(exponent):
    labels = many(lambda key: zipf_label(key, classes=20, exponent=exponent), 20_000)
    share = np.arange(1, 21) ** -exponent
    counts = np.bincount(labels, minlength=20)
    assert stats.chisquare(counts, 20_000 * share / share.sum()).pvalue > 1e-3
    slope = np.polyfit(np.log(np.arange(1, 11)), np.log(counts[:10]), 1)[0]
    assert abs(slope + exponent) < 0.1


def test_zipf_inverts_the_cumulated_probabilities():
    share = np.arange(1, 8) ** -1.3
    cumulated = np.cumsum(share / share.sum())
    for seed in range(6):
        u = float(jax.random.uniform(jax.random.key(seed)))
        label = zipf_label(jax.random.key(seed), classes=7, exponent=1.3)
        assert int(label) == sum(edge <= u for edge in cumulated[:-1])
        assert label.dtype == np.int32


def test_zipf_rows_are_independent_of_their_labels():
    rows = many(lambda key: zipf(key, classes=3, features=5), 6000)
    for label in range(3):
        mine = rows["x"][rows["y"] == label]
        np.testing.assert_allclose(mine.mean(axis=0), 0.0, atol=4.5 / np.sqrt(len(mine)))
        np.testing.assert_allclose(mine.std(axis=0), 1.0, atol=4.5 / np.sqrt(2 * len(mine)))
    label, inputs = jax.random.split(jax.random.key(8))
    row = zipf(jax.random.key(8), classes=3, features=5)
    assert int(row["y"]) == int(zipf_label(label, classes=3))
    np.testing.assert_array_equal(row["x"], jax.random.normal(inputs, (5,)))


def test_flipped_labels_are_the_others_equally_often():
    labels = many(lambda key: flip_label(key, 2, classes=5, rate=0.4), 10_000)
    counts = np.bincount(labels, minlength=5)
    assert stats.chisquare(counts, 10_000 * np.array([0.1, 0.1, 0.6, 0.1, 0.1])).pvalue > 1e-3


def test_flip_is_the_rule_of_its_draws():
    for seed in range(8):
        whether, shift = jax.random.split(jax.random.key(seed))
        wrong = float(jax.random.uniform(whether)) < 0.5
        expected = (3 + int(jax.random.randint(shift, (), 1, 4))) % 4 if wrong else 3
        assert int(flip_label(jax.random.key(seed), 3, classes=4, rate=0.5)) == expected


@pytest.mark.parametrize("rate", [0.0, 0.25, 1.0])
def test_noise_is_at_the_known_rate_and_remembers_the_truth(rate):
    part = balanced(classes=4, each=500)
    noisy = noisy_labels(part, classes=4, rate=rate, seed=3)
    np.testing.assert_array_equal(noisy["clean"], part["y"])
    np.testing.assert_array_equal(noisy["x"], part["x"])
    assert noisy["y"].dtype == np.int32 and set(noisy["y"]) <= set(range(4))
    wrong = (noisy["y"] != part["y"]).mean()
    assert abs(wrong - rate) <= 4.5 * np.sqrt(rate * (1 - rate) / 2000)
    assert "clean" not in part


def test_noise_is_named_by_its_seed():
    part = balanced()
    first, again, other = (noisy_labels(part, classes=4, rate=0.5, seed=seed)["y"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    key = jax.random.fold_in(jax.random.key(1), 17)
    assert other[17] == int(flip_label(key, part["y"][17], classes=4, rate=0.5))


def test_noise_never_changes():
    flipped = noisy_labels({"y": np.arange(256) % 8}, classes=8, rate=0.5)["y"]
    assert (
        hashlib.sha256(flipped.astype("<i4").tobytes()).hexdigest()
        == "fe4c27b1924ca02c8be90f7d1c8d9a047123f8cf63efe6f7ecba5bb65ae91f12"
    )


@pytest.mark.parametrize(
    ("ratio", "counts"), [(1, (50, 50, 50, 50)), (8, (50, 25, 13, 6)), (1000, (50, 5, 1, 1))]
)
def test_imbalance_keeps_what_the_rule_says(ratio, counts):
    """By hand: 50 * 8 ** (-k / 3) is 50, 25, 12.5, 6.25; 50 * 1000 ** (-k / 3) is 50, 5, 0.5, 0.05."""
    part = balanced()
    kept = imbalanced(part, ratio=ratio)
    np.testing.assert_array_equal(np.bincount(kept["y"]), counts)
    rows = kept["x"][:, 0].astype(int)
    np.testing.assert_array_equal(part["y"][rows], kept["y"])
    assert (np.diff(rows) > 0).all()


def test_imbalance_chooses_by_digest():
    part = balanced()
    kept = set(imbalanced(part, ratio=8, seed=5)["x"][:, 0].astype(int))
    rank = sorted(range(200), key=lambda row: hashlib.sha256(b"5:%d" % row).hexdigest())
    last = [row for row in rank if part["y"][row] == 3]
    assert {row for row in kept if part["y"][row] == 3} == set(last[:6])
    assert kept != set(imbalanced(part, ratio=8, seed=6)["x"][:, 0].astype(int))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: zipf_label(jax.random.key(0), classes=0), "classes is 0; expected at least 1"),
        (lambda: flip_label(jax.random.key(0), 0, classes=1, rate=0.1), "classes is 1; expected at least 2"),
        (lambda: noisy_labels(balanced(), classes=4, rate=1.5), "rate is 1.5; expected from 0 to 1"),
        (lambda: noisy_labels(balanced(), classes=3, rate=0.5), "y holds 0 to 3; expected 0 to 2"),
        (lambda: imbalanced(balanced(), ratio=0.5), "ratio is 0.5; expected at least 1"),
        (lambda: imbalanced(balanced(classes=1), ratio=2), "y has 1 different labels; expected at least 2"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
