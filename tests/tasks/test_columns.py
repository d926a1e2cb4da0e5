"""Weights of rows against rows that are there twice or not at all; columns that nobody reads."""

import functools
import warnings
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl import data, models, tasks, train
from fdl.data import Splits
from fdl.metrics import Mean
from fdl.models.mixture_density import MixtureDensity

RNG = np.random.default_rng(0)
N = 8
WEIGHTS = np.array([1, 2, 0, 1, 3, 0, 1, 0], np.float32)
TWICE = np.repeat(np.arange(N), WEIGHTS.astype(int))
"""The same rows, each as often as it weighs; as many as there are."""
MLP = models.MLP
SMALL: dict[str, Any] = {"width": 8, "layers": 1, "heads": 2}
slow = pytest.mark.slow


def part_of(x, y=None, **others):
    return {"x": x, **({} if y is None else {"y": y}), **others}


X = RNG.normal(size=(N, 3)).astype(np.float32)
Y = RNG.integers(0, 3, N).astype(np.int32)
REALS = RNG.normal(size=(N, 2)).astype(np.float32)
TOKENS = RNG.integers(1, 6, (N, 5)).astype(np.int32)
IMAGES = RNG.normal(size=(N, 8, 8, 3)).astype(np.float32)
SOUNDS = RNG.normal(size=(N, 20, 3)).astype(np.float32)
BOXES = np.tile(np.array([[1, 1, 5, 6]], np.float32), (N, 1, 1)) + RNG.random((N, 1, 1), np.float32)


class Pixels(nn.Module):
    """Logits of each pixel by itself."""

    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(3)(x)


def distilled(*arguments, **options):
    given = MLP((), 3).init(jax.random.key(5), X)
    return tasks.distillation(MLP((), 3), MLP((), 3), given, *arguments, **options)


def masked(*arguments, **options):
    model = models.MaskedLanguageModel(models.bert(8, length=5, **SMALL))
    return tasks.masked_language_modelling(model, *arguments, mask_token=7, vocabulary=7, rate=0.5, **options)


TASKS = {
    "classification": (functools.partial(tasks.classification, MLP((), 3)), part_of(X, Y), ()),
    "adversarial_training": (
        # It draws where each place of a batch begins: here from where the row is.
        functools.partial(tasks.adversarial_training, MLP((), 3), epsilon=0.0),
        part_of(X, Y),
        slow,
    ),
    "group_dro": (
        functools.partial(tasks.group_dro, MLP((), 3), groups=2, step_size=5.0),
        part_of(X, Y, group=np.arange(N) % 2),
        slow,
    ),
    "invariant_risk": (
        functools.partial(tasks.invariant_risk, MLP((), 3), groups=2, penalty=3.0),
        part_of(X, Y, group=np.arange(N) % 2),
        slow,
    ),
    "regression": (functools.partial(tasks.regression, MLP((), 2)), part_of(X, REALS), ()),
    "multilabel": (functools.partial(tasks.multilabel, MLP((), 2)), part_of(X, np.float32(REALS > 0)), slow),
    "density": (
        functools.partial(tasks.conditional_density, MixtureDensity(MLP((4,), 4), targets=2, components=2)),
        part_of(X, REALS),
        slow,
    ),
    "distillation": (distilled, part_of(X, Y), slow),
    "segmentation": (
        functools.partial(tasks.segmentation, Pixels()),
        part_of(IMAGES, RNG.integers(-1, 3, (N, 8, 8)).astype(np.int32)),
        slow,
    ),
    "detection": (
        functools.partial(tasks.detection, models.Detector(3, (4, 8))),
        part_of(IMAGES, boxes=BOXES, labels=Y[:, None]),
        slow,
    ),
    "sequence_to_sequence": (
        functools.partial(tasks.sequence_to_sequence, models.Seq2Seq(6, 6, 4)),
        part_of(TOKENS, TOKENS[:, :4]),
        slow,
    ),
    "language_modelling": (
        functools.partial(tasks.language_modelling, models.gpt2(6, length=5, dropout=0.0, **SMALL)),
        part_of(TOKENS, TOKENS, mask=np.float32(RNG.random((N, 5)) < 0.7)),
        slow,
    ),
    "masked_language_modelling": (masked, part_of(TOKENS), slow),
    "ctc": (
        functools.partial(tasks.ctc, models.AcousticModel(outputs=6, channels=4, widths=(8,)), stride=2),
        part_of(SOUNDS, TOKENS[:, :2], length=np.repeat([20, 12], 4)),
        slow,
    ),
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks) for name, (_, _, marks) in TASKS.items()])
def test_a_row_counts_as_often_as_it_weighs(name):
    make, part, _ = TASKS[name]
    weighed = part | {"sample_weight": WEIGHTS}
    repeated = {column: array[TWICE] for column, array in part.items()}
    found = []
    for one in (weighed, repeated):
        learner = make(Splits(one, one, one), optax.sgd(1.0), steps=1, batch_size=N).learner
        state = jax.jit(learner.init)(jax.random.key(0))
        after, metrics = jax.jit(learner.step)(state, one, jax.random.key(1))
        means = jax.jit(learner.evaluate)(state, one | {"weight": np.ones(N, np.float32)}, jax.random.key(0))
        step = () if name.startswith("masked") else (after.params, metrics)  # it hides other tokens
        told = [one if isinstance(one, Mean) else one.value for one in means.values()]  # of all rows alike
        found.append((step, jax.tree.leaves(told)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *found)


def step_of(part, **options):
    task = tasks.classification(MLP((), 3), Splits(part, part, part), optax.sgd(1.0), steps=1, **options)
    state = jax.jit(task.learner.init)(jax.random.key(0))
    return jax.jit(task.learner.step)(state, part, jax.random.key(1))


@pytest.mark.parametrize(
    ("weights", "message"),
    (
        (np.ones(N, np.int32), r"train sample_weight is int32\['N'\]; expected floats"),
        (np.ones((N, 1), np.float32), "expected floats"),
        (np.zeros(N, np.float32), "0 in every row"),
        (np.array([1] * 7 + [-1], np.float32), r"row 7 has -1"),
        (np.array([np.nan] + [1] * 7, np.float32), r"row 0 has nan"),
    ),
)
def test_row_weights_that_are_none(weights, message):
    with pytest.raises(ValueError, match=message):
        step_of(part_of(X, Y, sample_weight=weights))


@pytest.mark.parametrize("name", ("weights", "sample_weights", "class_weight", "mask"))
def test_weights_that_nobody_reads_are_refused(name):
    with pytest.raises(ValueError, match=rf"'{name}' is read by nothing.*'sample_weight'.*select_columns"):
        step_of(part_of(X, Y, **{name: WEIGHTS}))


def test_a_task_that_takes_no_weights_refuses_them():
    part = part_of(IMAGES, sample_weight=WEIGHTS)
    model = models.Autoencoder(MLP((), 2), MLP((), 192))
    with pytest.raises(ValueError, match="'sample_weight' is read by nothing"):
        tasks.reconstruction(model, Splits(part, part, part), optax.sgd(0.1), steps=1)


def test_other_columns_that_nobody_reads_are_said():
    part = part_of(X, Y, speaker=Y, length=Y)
    with pytest.warns(UserWarning, match=r"column '(speaker|length)' is read by nothing.*'x', 'y'\)") as said:
        step_of(part)
    assert len(said) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        splits = data.select_columns(Splits(part, part, part), "x", "y")
        tasks.classification(MLP((), 3), splits, optax.sgd(0.1), steps=1)
        used = lambda batch: {"x": batch["x"] * batch["length"][:, None], "y": batch["y"]}  # noqa: E731
        part = part_of(X, Y, length=Y)
        splits = Splits(part, part, part)
        tasks.classification(MLP((), 3), splits._replace(prepare=used), optax.sgd(0.1), steps=1)
        tasks.classification(
            MLP((), 3), splits, optax.sgd(0.1), steps=1, augment=lambda batch, key: used(batch)
        )
    with pytest.raises(ValueError, match="train has no column 'z'; it has x, y, length"):
        data.select_columns(splits, "z")


def test_selected_rows_of_a_host():
    rows = data.on_host(part_of(X, Y, z=Y))
    chosen = data.select_columns(Splits(rows, rows, rows), "x").train
    assert list(chosen.row) == ["x"] and list(chosen.take(np.arange(2))) == ["x"]


class Two(nn.Module):
    """A model of two inputs."""

    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(3)(jnp.concatenate([x["image"].reshape(len(x["image"]), -1), x["table"]], axis=1))


@pytest.mark.medium
@pytest.mark.parametrize("place", ("device", "host"))
def test_x_may_be_a_dictionary_of_inputs(place):
    joined = np.concatenate([IMAGES.reshape(N, -1), X], axis=1)
    several = part_of({"image": IMAGES, "table": X}, Y, sample_weight=WEIGHTS)
    one = part_of(joined, Y, sample_weight=WEIGHTS)
    found = []
    for model, part in ((Two(), several), (MLP((), 3), one)):
        rows = data.on_host(part) if place == "host" else part
        splits = Splits(rows, rows, rows)
        task = tasks.classification(model, splits, optax.sgd(0.1), steps=3, batch_size=4, accumulate=2)
        if place == "device":
            batch = jax.jit(task.train.batch)(task.train.arrays, jnp.int32(1), jax.random.key(2))
            assert jax.tree.leaves(batch["x"])[0].shape[0] == 4
            task = task._replace(learner=task.learner._replace(init=zeros(task.learner)))
            rows = jax.jit(functools.partial(train.scan, task))(jax.random.key(0))[1]
            found.append([np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(rows)])
        else:
            assert task.train.fetch is not None
            words = np.array([1, 2], np.uint32)
            taken = task.train.fetch(0, words, slice(1, 3))["x"]
            found.append(np.concatenate([a.reshape(2, -1) for a in jax.tree.leaves(taken)], axis=1))
            assert jax.tree.map(lambda a: a.shape[1:], taken) == jax.tree.map(
                lambda a: a.shape[1:], task.train.arrays["x"]
            )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), *found)


def test_inputs_of_a_dictionary_that_do_not_fit():
    part = part_of({"image": IMAGES, "table": X[:5]}, Y)
    with pytest.raises(ValueError, match="5 rows of x and 8 of y"):
        tasks.classification(Two(), Splits(part, part, part), optax.sgd(0.1), steps=1)
    with pytest.raises(ValueError, match="'x/table' has 5"):
        data.shuffled(part, batch_size=2)


def zeros(learner):
    """The learner from parameters that are all 0, the same for any model."""
    return lambda key: jax.tree.map(jnp.zeros_like, learner.init(key))
