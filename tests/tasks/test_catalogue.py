"""Every data set that comes with fdl goes into the task that it is made for."""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl import models, tasks
from fdl.data.datasets.catalog import DATA_SETS
from fdl.data.datasets.data_set import Origin
from fdl.data.datasets.grammar import ACTIONS, COMMAND_WORDS
from fdl.data.datasets.number_names import NUMBER_DIGITS, NUMBER_WORDS
from fdl.data.splits import Splits, prepared_row
from fdl.models.mixture_density import MixtureDensity

ADAM = optax.adam(1e-3)
MLP = models.MLP
PICTURES = models.Autoencoder(MLP((), 8), MLP((), 16 * 16 * 3))


def translating(sources: int, targets: int):
    model = models.Seq2Seq(sources, targets, 4)
    return functools.partial(tasks.sequence_to_sequence, model)


def of_classes(outputs: int):
    return functools.partial(tasks.classification, MLP((8,), outputs))


def next_token(tokens: int):
    return functools.partial(tasks.language_modelling, models.llama(tokens, width=4, layers=1, heads=1))


TASKS = {
    "digits": of_classes(10),
    "digit_images": of_classes(10),
    "wine": of_classes(3),
    "breast_cancer": of_classes(2),
    "diabetes": functools.partial(tasks.regression, MLP((8,), 1)),
    "photos": None,  # pictures of several sizes, of which `photo_patches` are cut
    "photo_patches": functools.partial(tasks.reconstruction, PICTURES),
    "faces": of_classes(2),
    "sunspots": functools.partial(tasks.regression, models.RecurrentNet((8,), 1)),
    "co2": functools.partial(tasks.regression, models.RecurrentNet((8,), 4)),
    "mnist1d": of_classes(10),
    "two_spirals": of_classes(2),
    "scan_simple": translating(len(COMMAND_WORDS), len(ACTIONS)),
    "scan_length": translating(len(COMMAND_WORDS), len(ACTIONS)),
    "scan_jump": translating(len(COMMAND_WORDS), len(ACTIONS)),
    "scan_turn_left": translating(len(COMMAND_WORDS), len(ACTIONS)),
    "numbers": translating(len(NUMBER_DIGITS), len(NUMBER_WORDS)),
    "numbers_by_length": translating(len(NUMBER_DIGITS), len(NUMBER_WORDS)),
    "synthesised_digits": of_classes(10),
    "captioned_shape": of_classes(6),
    "mnist1d_row": of_classes(10),
    "spiral": of_classes(2),
    "rings": of_classes(2),
    "modular_arithmetic": of_classes(97),
    "associative_recall": next_token(8192),
    "induction": next_token(16),
    "rewrite": next_token(11),
    "copy_memory": next_token(10),
    "adding": functools.partial(tasks.regression, models.RecurrentNet((8,), 1)),
    "gaussian_ring": functools.partial(tasks.diffusion, models.DiffusionMLP((8,))),
    "sawtooth": functools.partial(tasks.regression, MLP((8,), 1)),
}
EVERY = {one.name: one for one in DATA_SETS if one.origin is not Origin.PUBLISHED}


def loaded(name) -> Splits:
    if EVERY[name].origin is Origin.ENDLESS:
        row = jax.eval_shape(EVERY[name].function, jax.random.key(0))
        part = {name: np.ones((8, *one.shape), one.dtype) for name, one in row.items()}
        return Splits(part, part, part)
    made = EVERY[name].function()
    return Splits(made, made, made) if isinstance(made, Mapping) else made


def test_the_list_is_whole():
    assert TASKS.keys() == EVERY.keys()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name in ("mnist1d", "synthesised_digits")))
        for name, task in TASKS.items()
        if task is not None
    ],
)
def test_a_data_set_goes_into_its_task(name):
    try:
        splits = loaded(name)
    except ValueError as error:
        if "not installed" not in str(error):
            raise
        pytest.skip(str(error))
    experiment = TASKS[name](splits, ADAM, steps=2, batch_size=4)
    learner, train, test = experiment.learner, experiment.train, experiment.evaluation["test"]
    key = jax.random.key(0)
    state = jax.eval_shape(learner.init, key)
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), train.arrays)
    batch = jax.eval_shape(train.batch, shapes, jnp.int32(0), key)
    after, metrics = jax.eval_shape(learner.step, state, batch, key)
    assert after == state and all(leaf.shape == () for leaf in jax.tree.leaves(metrics))
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), test.arrays)
    found = jax.eval_shape(
        learner.evaluate, state, jax.eval_shape(test.batch, shapes, jnp.int32(0), key), key
    )
    assert "loss" in found


@pytest.mark.parametrize("task", ("regression", pytest.param("density", marks=pytest.mark.slow), "labels"))
def test_targets_of_any_shape_are_compared_number_by_number(task):
    """A step's loss of targets `[N, H, C]` is that of the same numbers as `[N, H * C]`."""
    x = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    y = (np.random.default_rng(1).random((6, 2, 2)) < 0.5).astype(np.float32)
    make = {
        "regression": functools.partial(tasks.regression, MLP((), 4)),
        "density": functools.partial(
            tasks.conditional_density, MixtureDensity(MLP((4,), 4), targets=4, components=2)
        ),
        "labels": functools.partial(tasks.multilabel, MLP((), 4)),
    }[task]

    def loss(y):
        part = {"x": x, "y": y}
        learner = make(Splits(part, part, part), optax.sgd(0.1), steps=1).learner
        batch = part | {"weight": np.ones(6, np.float32)}
        return jax.jit(learner.evaluate)(jax.jit(learner.init)(jax.random.key(0)), batch, jax.random.key(0))[
            "loss"
        ].value

    np.testing.assert_allclose(loss(y), loss(y.reshape(6, 4)), rtol=1e-6)
    assert prepared_row(Splits({"x": x, "y": y}, {}, {}))["y"].shape == (1, 2, 2)


def test_one_label_a_row_is_compared_with_its_own_logit():
    x, y = np.eye(3, dtype=np.float32), np.array([1, 0, 1], np.float32)

    def metrics(y):
        part = {"x": x, "y": y}
        learner = tasks.multilabel(MLP((), 1), Splits(part, part, part), optax.sgd(0.1), steps=1).learner
        found = jax.jit(learner.evaluate)(
            jax.jit(learner.init)(jax.random.key(0)),
            part | {"weight": np.ones(3, np.float32)},
            jax.random.key(0),
        )
        return {name: float(mean.value) for name, mean in found.items()}

    assert metrics(y) == metrics(y[:, None])
