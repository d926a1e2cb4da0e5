"""Rows that are wrong do not come into a batch, wherever they lie; and the message says where."""

import datasets
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl import data, models, tasks
from fdl.data.splits import Rows, Splits
from fdl.data.verified import outside, verified

X = np.zeros((6, 2), np.float32)
Y = np.array([0, 1, 2, 0, 1, 3])
FAULT = outside("y", 0, 2, what="labels", why="as there are 3", fix="change them")
SAID = r"test labels go from 0 to 3; expected 0 to 2, as there are 3 \({} has 3\): change them"


def mapped(tmp_path, y, name="y"):
    """As `np.load(..., mmap_mode="r")` gives it."""
    np.save(tmp_path / f"{name}.npy", y)
    return np.load(tmp_path / f"{name}.npy", mmap_mode="r")


def with_test(part, **more):
    good = {"x": X, "y": Y % 3}
    return Splits(good, good, part, **more)


def unread(y=Y, where=lambda n: f"file.bin: record {n}"):
    """Rows of which nothing is in memory."""
    rows = data.on_host({"x": X, "y": y})
    return rows._replace(memory={}, where=where)


def on_disk(tmp_path):
    return data.on_host({"x": mapped(tmp_path, X, "x"), "y": mapped(tmp_path, Y)})


PLACES = {
    "in memory": lambda tmp_path: {"x": X, "y": Y},
    "memory-mapped": on_disk,
    "Hugging Face": lambda tmp_path: data.hugging_face(datasets.Dataset.from_dict({"x": X, "y": Y})),
}


@pytest.mark.parametrize("place", PLACES)
def test_what_can_be_looked_at_is_refused_before_training(place, tmp_path):
    with pytest.raises(ValueError, match=SAID.format("row 5")):
        verified(with_test(PLACES[place](tmp_path)), ("y",), FAULT)


def test_what_is_read_later_is_refused_when_it_is_read():
    rows = verified(with_test(unread()), ("y",), FAULT).test
    assert isinstance(rows, Rows)
    np.testing.assert_array_equal(rows.take(np.array([4, 0]))["y"], [1, 0])
    with pytest.raises(ValueError, match=SAID.format("file.bin: record 5")):
        rows.take(np.array([0, 5]))


def test_a_large_mapped_column_is_not_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("fdl.data.splits.SOON_READ", 8)
    rows = verified(with_test(on_disk(tmp_path)), ("y",), FAULT).test
    with pytest.raises(ValueError, match=SAID.format("row 5").replace("go from 0", "go from 3")):
        rows.take(np.array([5]))


@pytest.mark.parametrize("value", [-1, 3, -100, 2**40])
def test_every_value_out_of_range_is_found(value):
    with pytest.raises(ValueError, match=f"row 5 has {value}"):
        verified(with_test({"x": X, "y": np.where(Y == 3, value, Y)}), ("y",), FAULT)


def test_numbers_that_are_none_are_found():
    with pytest.raises(ValueError, match="row 5 has nan"):
        verified(with_test({"x": X, "y": np.where(Y == 3, np.nan, Y)}), ("y",), FAULT)


@pytest.mark.parametrize(
    ("prepare", "looks"),
    [
        (lambda batch: {**batch, "x": batch["x"] + 1}, True),
        (lambda batch: {**batch, "y": batch["y"].astype(jnp.int8)}, True),
        (lambda batch: {**batch, "y": batch["y"] - 1}, False),
        (lambda batch: {"y": batch["x"], "x": batch["y"]}, False),
    ],
)
def test_only_columns_that_reach_the_model_are_looked_at(prepare, looks):
    splits = with_test({"x": X, "y": Y}, prepare=prepare)
    if looks:
        with pytest.raises(ValueError, match=SAID.format("row 5")):
            verified(splits, ("y",), FAULT)
    else:
        assert verified(splits, ("y",), FAULT) is splits


def test_windows_of_a_file_of_tokens_name_it(tmp_path):
    def part(name: str, tokens: list[int]) -> Rows:
        data.write_tokens(tmp_path / name, np.array(tokens), dtype="uint16")
        found = data.windows(data.tokens_file(tmp_path / name, dtype="uint16"), length=2)
        assert isinstance(found, Rows)
        return found

    good, bad = part("good.bin", [1, 2, 1, 2, 1, 2, 1]), part("a{}.bin", [1, 2, 1, 9, 1, 2, 1])
    model = models.gpt2(5, length=2, width=4, layers=1, heads=1)
    experiment = tasks.language_modelling(model, Splits(good, good, bad), optax.sgd(0.1), steps=1)
    source = experiment.evaluation["test"]
    assert source.fetch is not None
    with pytest.raises(ValueError, match=r"tokens of x go from 1 to 9; .*a\{\}.bin: window 1 has 9\)"):
        source.fetch(0, np.zeros(2, np.uint32), slice(None))


LATE = {
    "classification": lambda y: tasks.classification(models.MLP((), 3), late(y), optax.sgd(0.1), steps=1),
    "arcface": lambda y: tasks.arcface(
        models.WithHead(models.MLP((), 2), models.CosineHead(3)), late(y), optax.sgd(0.1), steps=1
    ),
    "distillation": lambda y: tasks.distillation(
        models.MLP((), 3), models.MLP((), 3), TEACHER, late(y), optax.sgd(0.1), steps=1
    ),
    "conditional GAN": lambda y: tasks.adversarial(
        models.Conditional(models.MLPGenerator((), (2,)), 3),
        models.Conditional(models.MLPDiscriminator(()), 3),
        late(y),
        optax.sgd(0.1),
        optax.sgd(0.1),
        steps=1,
        latent=1,
        conditional=True,
    ),
    "perceptron": lambda y: tasks.perceptron(late(np.float32(y)), steps=1),
}
TEACHER = {"params": {"Dense_0": {"kernel": np.zeros((2, 3)), "bias": np.zeros(3)}}}


def late(y):
    """A test part whose y is seen only when it is read."""
    ones = np.ones(6, y.dtype)
    good = {"x": X + 1, "y": ones}
    return Splits(good, good, unread(y))


@pytest.mark.parametrize("task", LATE)
def test_tasks_look_at_what_is_read_late(task):
    experiment = LATE[task](np.array([1, 1, 1, 1, 1, -2]))
    fetch = experiment.evaluation["test"].fetch
    assert fetch is not None
    with pytest.raises(ValueError, match=r"test labels go from -2(.0)? to 1.*file.bin: record 5"):
        fetch(0, np.zeros(2, np.uint32), slice(None))
