"""Weights of classes against PyTorch, rows that come more often, and the single maps of a detector."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl import models, rng, tasks
from fdl.data import Splits
from fdl.models.detector import Maps
from fdl.tasks.masked_language import hide
from tests.tasks.test_columns import (
    BOXES,
    IMAGES,
    MLP,
    REALS,
    RNG,
    TOKENS,
    N,
    Pixels,
    X,
    Y,
    distilled,
    part_of,
    step_of,
)


def test_class_weights_are_pytorchs_weighted_mean():
    part, weights = part_of(X, Y), (1.0, 0.0, 2.5)
    (after, metrics), (_, plain) = step_of(part, class_weight=weights), step_of(part)
    same, _ = step_of(part | {"sample_weight": np.asarray(weights, np.float32)[Y]})
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), after.params, same.params
    )
    assert metrics["loss"] == plain["loss"] and metrics["accuracy"] == plain["accuracy"]
    torch = pytest.importorskip("torch")
    start = tasks.classification(MLP((), 3), Splits(part, part, part), optax.sgd(1.0), steps=1)
    params = jax.jit(start.learner.init)(jax.random.key(0)).params
    kernel, bias = (
        torch.tensor(np.asarray(leaf)) for leaf in sorted(jax.tree.leaves(params), key=np.ndim)[::-1]
    )
    kernel.requires_grad_()
    loss = torch.nn.CrossEntropyLoss(weight=torch.tensor(weights))
    loss(torch.tensor(X) @ kernel + bias, torch.tensor(Y).long()).backward()
    moved = sorted(jax.tree.leaves(after.params), key=np.ndim)[-1]
    np.testing.assert_allclose(moved, (kernel - kernel.grad).detach(), rtol=1e-4, atol=1e-5)


def test_class_weights_of_pixels_are_pytorchs_weighted_mean():
    torch = pytest.importorskip("torch")
    labels, weights = RNG.integers(-1, 3, (N, 8, 8)).astype(np.int32), (1.0, 0.0, 2.5)
    part = part_of(IMAGES, labels)
    task = tasks.segmentation(
        Pixels(), Splits(part, part, part), optax.sgd(1.0), steps=1, class_weight=weights, accumulate=2,
        batch_size=N,
    )  # fmt: skip
    state = jax.jit(task.learner.init)(jax.random.key(0))
    after, metrics = jax.jit(task.learner.step)(state, part, jax.random.key(1))
    kernel, bias = (
        torch.tensor(np.asarray(leaf)).requires_grad_()
        for leaf in sorted(jax.tree.leaves(state.params), key=np.ndim)[::-1]
    )
    logits = (torch.tensor(IMAGES) @ kernel + bias).reshape(-1, 3)
    flat = torch.tensor(labels.reshape(-1)).long()
    loss = torch.nn.CrossEntropyLoss(weight=torch.tensor(weights), ignore_index=-1)(logits, flat)
    loss.backward()
    moved = sorted(jax.tree.leaves(after.params), key=np.ndim)[-1]
    np.testing.assert_allclose(moved, (kernel - kernel.grad).detach(), rtol=1e-4, atol=1e-5)
    plain = torch.nn.CrossEntropyLoss(ignore_index=-1)(logits, flat)
    assert float(metrics["loss"].value) == pytest.approx(float(plain.detach()), rel=1e-5)


def test_class_weights_of_labels_are_pytorchs_divided_by_their_mean():
    torch = pytest.importorskip("torch")
    part, weights = part_of(X, np.float32(REALS > 0)), (0.5, 2.0)
    task = tasks.multilabel(
        MLP((), 2), Splits(part, part, part), optax.sgd(1.0), steps=1, class_weight=weights, batch_size=N
    )
    state = jax.jit(task.learner.init)(jax.random.key(0))
    after, metrics = jax.jit(task.learner.step)(state, part, jax.random.key(1))
    kernel, bias = (
        torch.tensor(np.asarray(leaf)).requires_grad_()
        for leaf in sorted(jax.tree.leaves(state.params), key=np.ndim)[::-1]
    )
    logits, labels = torch.tensor(X) @ kernel + bias, torch.tensor(part["y"])
    given = torch.tensor(weights) / np.mean(weights)
    torch.nn.functional.binary_cross_entropy_with_logits(logits, labels, weight=given).backward()
    moved = sorted(jax.tree.leaves(after.params), key=np.ndim)[-1]
    np.testing.assert_allclose(moved, (kernel - kernel.grad).detach(), rtol=1e-4, atol=1e-5)
    plain = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
    assert float(metrics["loss"].value) == pytest.approx(float(plain.detach()), rel=1e-5)


def arcface(*arguments, **options):
    model = models.WithHead(MLP((), 4), models.CosineHead(3))
    return tasks.arcface(model, *arguments, scale=4.0, **options)


@pytest.mark.medium
@pytest.mark.parametrize("task", (arcface, distilled))
def test_class_weights_are_those_of_rows_that_come_more_often(task):
    often = np.repeat(np.arange(N), np.array([1, 0, 3])[Y])
    one, more = part_of(X, Y), {name: array[often] for name, array in part_of(X, Y).items()}

    def after(part, **options):
        learner = task(Splits(one, one, one), optax.sgd(1.0), steps=1, batch_size=N, **options).learner
        state = jax.jit(learner.init)(jax.random.key(0))
        state, metrics = jax.jit(learner.step)(state, part, jax.random.key(1))
        return state.params, float(metrics["loss"].value)

    (weighed, loss), (repeated, _), (_, plain) = after(one, class_weight=(1, 0, 3)), after(more), after(one)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), weighed, repeated)
    assert loss == plain, "metrics stay unweighted"


class Bigrams(nn.Module):
    """Logits of a token by the one before it, whatever the source is."""

    @nn.compact
    def __call__(self, x, before=None, train=False):
        return nn.Embed(8, 8, embedding_init=nn.initializers.normal(1.0))(x if before is None else before)


NEXT = part_of(TOKENS, np.roll(TOKENS, 1, axis=1), mask=np.float32(RNG.random(TOKENS.shape) < 0.7))
SHORT = np.where(np.arange(5) < RNG.integers(1, 6, (N, 1)), TOKENS, 0)
"""Targets that end in padding."""


def hidden_as(state_key):
    batch = hide(jnp.asarray(TOKENS), rng.stream(state_key, "hide"), mask_token=7, vocabulary=7, rate=0.5)
    return batch["x"], batch["y"], batch["mask"]


OF_TOKENS = {
    "language": (tasks.language_modelling, NEXT, lambda key: (NEXT["x"], NEXT["y"], NEXT["mask"])),
    "masked language": (
        functools.partial(tasks.masked_language_modelling, mask_token=7, vocabulary=7, rate=0.5),
        part_of(TOKENS),
        hidden_as,
    ),
    "sequence to sequence": (
        tasks.sequence_to_sequence,
        part_of(TOKENS, SHORT),
        lambda key: (np.pad(SHORT, ((0, 0), (1, 0)))[:, :-1], SHORT, SHORT > 0),
    ),
}


@pytest.mark.parametrize("name", OF_TOKENS)
def test_class_weights_of_tokens_are_pytorchs_weighted_mean(name):
    torch = pytest.importorskip("torch")
    task, part, given = OF_TOKENS[name]
    weights, key = np.array([1, 0, 2.5, 1, 0.5, 4, 3, 1], np.float32), jax.random.key(1)
    splits = Splits(part, part, part)
    options = {"steps": 1, "batch_size": N, "accumulate": 2}
    learner = task(Bigrams(), splits, optax.sgd(1.0), class_weight=weights, **options).learner
    state = jax.jit(learner.init)(jax.random.key(0))
    after, metrics = jax.jit(learner.step)(state, part, key)
    (table,), (moved,) = (jax.tree.leaves(one.params) for one in (state, after))
    x, y, counts = (torch.tensor(np.asarray(one)) for one in given(key))
    theirs = torch.tensor(np.asarray(table), requires_grad=True)
    logits, labels = theirs[x.long()].reshape(-1, 8), torch.where(counts > 0, y, -1).long().ravel()
    loss = functools.partial(torch.nn.functional.cross_entropy, logits, labels, ignore_index=-1)
    loss(weight=torch.tensor(weights)).backward()
    np.testing.assert_allclose(moved, (theirs - theirs.grad).detach(), rtol=1e-4, atol=1e-5)
    assert float(metrics["loss"].value) == pytest.approx(float(loss().detach()), rel=1e-5)
    with pytest.raises(ValueError, match="class_weight has 7 entries; expected 8 numbers, one a class"):
        task(Bigrams(), splits, optax.sgd(1.0), class_weight=weights[:7], **options)


class OwnCells(nn.Module):
    """A detector whose cells are pixels, each by itself."""

    @nn.compact
    def __call__(self, x, train=False):
        return Maps(nn.Dense(3)(x), nn.Dense(2)(x), nn.Dense(2)(x))


@pytest.mark.medium
def test_class_weights_of_detection_scale_the_map_of_each_class():
    part = part_of(IMAGES, boxes=BOXES, labels=Y[:, None])

    def moved(**options):
        task = tasks.detection(
            OwnCells(), Splits(part, part, part), optax.sgd(1.0), steps=1, batch_size=N, **options
        )
        state = jax.jit(task.learner.init)(jax.random.key(0))
        after, metrics = jax.jit(task.learner.step)(state, part, jax.random.key(1))
        change = jax.tree.map(jnp.subtract, after.params, state.params)
        return change, {name: metrics[name] for name in ("loss", "heat", "size", "offset")}

    (plain, metrics), (weighed, same) = moved(), moved(class_weight=(2.0, 0.0, 7.0))
    factors = {"Dense_0": np.array([2, 0, 7]) / 3, "Dense_1": np.ones(2), "Dense_2": np.ones(2)}
    for name, factor in factors.items():
        expected = jax.tree.map(lambda leaf, factor=factor: leaf * factor, plain[name])
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), weighed[name], expected
        )
    assert jax.tree.map(float, metrics) == jax.tree.map(float, same), "metrics stay unweighted"


def test_class_weights_of_a_perceptron_scale_its_updates():
    part = part_of(X, np.where(Y > 0, 1, -1).astype(np.float32))
    by_class = np.where(Y > 0, 3, 0.5).astype(np.float32)
    found = []
    for rows, weights in ((part, (0.5, 3.0)), (part | {"sample_weight": by_class}, None)):
        learner = tasks.perceptron(Splits(rows, rows, rows), steps=1, class_weight=weights).learner
        state = jax.jit(learner.init)(jax.random.key(0))
        after, _ = jax.jit(learner.step)(state, rows, jax.random.key(1))
        found.append(after.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), *found)


def test_class_weights_may_be_traced():
    def loss(weight):
        return step_of(part_of(X, Y), class_weight=(weight, 1.0, 1.0))[0].params

    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)  # noqa: E731
    jax.tree.map(close, jax.jit(loss)(jnp.float32(3)), loss(3.0))


@pytest.mark.parametrize(
    "weights",
    (
        (1.0, 2.0),
        (1.0, -1.0, 1.0),
        (0.0, 0.0, 0.0),
        (np.nan, 1, 1),
        {0: 1.0, 1: 2.0, 2: 3.0},
        1.0,
        np.float32(1),
        np.ones((3, 1)),
        np.zeros(3),
    ),
)
def test_class_weights_that_are_none(weights):
    with pytest.raises(ValueError, match="class_weight"):
        step_of(part_of(X, Y), class_weight=weights)
