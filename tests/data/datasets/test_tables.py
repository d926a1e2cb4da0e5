"""Digits and tables: the documented split, and nothing of the other parts in train's statistics."""

import hashlib

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine

from fdl.data import digits
from fdl.data.datasets.tables import breast_cancer, diabetes, wine
from fdl.data.partition import split_rows

PIXELS, LABELS = load_digits(return_X_y=True)
PARTS = ("train", "validation", "test")
COUNTS = {"train": 1077, "validation": 360, "test": 360}


def split():
    return dict(zip(PARTS, split_rows(LABELS, len(LABELS)), strict=True))


def part_of(splits, name):
    return getattr(splits, name)


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
    x = part_of(digits(), "train")["x"].astype(np.float64)
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
    train, test = part_of(first, "train"), part_of(first, "test")
    with pytest.raises(ValueError, match="read-only"):
        train["x"][0, 0] = 1.0
    train["x"] = np.zeros(3, np.float32)
    del test["y"]
    assert part_of(digits(), "train")["x"].shape == (1077, 64)
    assert "y" in part_of(digits(), "test")


def raw_diabetes(*, return_X_y):
    x, y = load_diabetes(return_X_y=return_X_y, scaled=False)
    return x, y[:, None]


# The data set, what it is made of, the sizes of its parts, and the SHA-256 of the values and labels.
TABLES = {
    "digits": (
        digits,
        load_digits,
        (1077, 360, 360),
        "f19a7d92591ca0a1ffc65ec172e8149afdff995e0d2c4cb0afd151f38471ff90",
    ),
    "wine": (
        wine,
        load_wine,
        (106, 36, 36),
        "c7e84e8e03b2b5a354287416d84d08945318450658a22a63c39973d8306c2ca4",
    ),
    "breast_cancer": (
        breast_cancer,
        load_breast_cancer,
        (341, 114, 114),
        "cdd5f37c36cbdfc2e5ee074cec7540fac54340874afb25917a673e446270d0d0",
    ),
    "diabetes": (
        diabetes,
        raw_diabetes,
        (264, 89, 89),
        "e9c1f7559552854a24dc45b41c446ce5f79f96e5da081bcce24b57492720b3f7",
    ),
}


def standardised(values, train):
    """Column by column, in float64; what is constant over train is only shifted."""
    columns = []
    for column in np.asarray(values, np.float64).T:
        seen = column[train]
        columns.append((column - seen.mean()) / (seen.std() or 1.0))
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("name", TABLES)
def test_the_library_still_has_the_same_values(name):
    x, y = TABLES[name][1](return_X_y=True)
    content = np.ascontiguousarray(x, np.float64).tobytes() + np.ascontiguousarray(y, np.float64).tobytes()
    assert hashlib.sha256(content).hexdigest() == TABLES[name][3]


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_split_and_standardised_as_documented(name):
    load, source, sizes, _ = TABLES[name]
    x, y = source(return_X_y=True)
    regression = y.ndim == 2
    numbers = sorted(
        range(len(y)),
        key=lambda row: (0 if regression else int(y[row]), hashlib.sha256(b"%d" % row).hexdigest()),
    )
    held_out = sizes[1]
    slots = {row: held_out * place % len(y) for place, row in enumerate(numbers)}
    test = [row for row in range(len(y)) if slots[row] < held_out]
    validation = [row for row in range(len(y)) if held_out <= slots[row] < 2 * held_out]
    train = [row for row in range(len(y)) if slots[row] >= 2 * held_out]
    assert tuple(map(len, (train, validation, test))) == sizes
    for part, rows in zip(PARTS, (train, validation, test), strict=True):
        found = getattr(load(), part)
        np.testing.assert_allclose(found["x"], standardised(x, train)[rows], rtol=1e-5, atol=1e-5)
        expected = standardised(y, train)[rows] if regression else y[rows]
        np.testing.assert_allclose(found["y"], expected, rtol=1e-5, atol=1e-6)
        assert found["x"].dtype == np.float32
        assert found["y"].dtype == (np.float32 if regression else np.int32)
        assert not found["x"].flags.writeable and not found["y"].flags.writeable


@pytest.mark.parametrize(
    ("load", "source"),
    [(wine, load_wine), (breast_cancer, load_breast_cancer)],
    ids=["wine", "breast_cancer"],
)
def test_class_names_are_the_librarys(load, source):
    assert load().classes == tuple(source().target_names)


def test_digit_images_are_the_same_digits_as_images():
    from fdl.data import digit_images

    splits = digit_images()
    for name in PARTS:
        images = getattr(splits, name)
        np.testing.assert_array_equal(images["x"].reshape(-1, 64), PIXELS[split()[name]])
        np.testing.assert_array_equal(images["y"], LABELS[split()[name]])
    assert splits.prepare is not None
    prepared = np.asarray(splits.prepare(splits.train)["x"])
    assert prepared.shape == (1077, 8, 8, 1)
    assert abs(prepared.mean()) < 1e-5 and abs(prepared.std() - 1) < 1e-5
