"""The embedded digits: the documented split, and nothing of the other parts in train's statistics."""

import hashlib

import numpy as np
import pytest
from sklearn.datasets import load_digits

from fdl.data import digits
from fdl.data.embedded import _stratified

PIXELS, LABELS = load_digits(return_X_y=True)
PARTS = ("train", "validation", "test")
COUNTS = {"train": 1077, "validation": 360, "test": 360}


def split():
    return dict(zip(PARTS, _stratified(LABELS), strict=True))


@pytest.mark.parametrize("name", PARTS)
def test_sizes_and_types(name):
    part = getattr(digits(), name)
    assert set(part) == {"x", "y"}
    assert part["x"].shape == (COUNTS[name], 64) and part["x"].dtype == np.float32
    assert part["y"].shape == (COUNTS[name],) and part["y"].dtype == np.int32


@pytest.mark.parametrize("name", PARTS)
def test_every_class_has_its_share(name):
    share = np.bincount(LABELS) * COUNTS[name] / len(LABELS)
    assert np.abs(np.bincount(getattr(digits(), name)["y"]) - share).max() < 1.5


def test_parts_are_disjoint_and_make_the_whole():
    assert np.array_equal(np.sort(np.concatenate(list(split().values()))), np.arange(1797))


def test_split_never_changes():
    text = "\n".join(f"{name}: {' '.join(map(str, rows))}" for name, rows in split().items())
    assert (
        hashlib.sha256(text.encode()).hexdigest()
        == "19431528c7763c6bf9ee1f9f0d258eab03b42106922d3116e98445b2d78470a5"
    )


def test_split_follows_the_documented_rule():
    order = sorted((int(label), hashlib.sha256(b"%d" % i).hexdigest(), i) for i, label in enumerate(LABELS))
    slots = {i: 360 * place % 1797 for place, (_, _, i) in enumerate(order)}
    parts = split()
    assert set(parts["test"]) == {i for i, slot in slots.items() if slot < 360}
    assert set(parts["validation"]) == {i for i, slot in slots.items() if 360 <= slot < 720}


def test_train_is_standardised():
    x = digits().train["x"].astype(np.float64)
    varies = PIXELS[split()["train"]].std(axis=0) > 0
    assert varies.sum() == 61
    np.testing.assert_allclose(x.mean(axis=0), 0.0, atol=1e-6)
    np.testing.assert_allclose(x.std(axis=0)[varies], 1.0, atol=1e-6)
    assert not x[:, ~varies].any()


@pytest.mark.parametrize("name", PARTS)
def test_statistics_come_from_train_only(name):
    rows = split()
    train = PIXELS[rows["train"]]
    scale = np.where(train.std(axis=0) > 0, train.std(axis=0), 1.0)
    part = getattr(digits(), name)
    np.testing.assert_allclose(part["x"] * scale + train.mean(axis=0), PIXELS[rows[name]], atol=1e-4)
    np.testing.assert_array_equal(part["y"], LABELS[rows[name]])


def test_callers_cannot_change_what_others_get():
    first = digits()
    with pytest.raises(ValueError, match="read-only"):
        first.train["x"][0, 0] = 1.0
    first.train["x"] = np.zeros(3, np.float32)
    del first.test["y"]
    assert digits().train["x"].shape == (1077, 64)
    assert "y" in digits().test
