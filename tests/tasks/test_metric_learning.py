"""Metric learning: mining and losses against double loops and PyTorch, and that it learns digits."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl.data.datasets.tables import digits
from fdl.data.splits import Splits
from fdl.models.heads import CosineHead, WithHead
from fdl.models.mlp import MLP
from fdl.tasks import metric_losses
from fdl.tasks.metric_learning import arcface, metric_learning
from fdl.tasks.metric_losses import batch_hard, distances, pair, semi_hard, triplet
from tests.tasks.test_supervised import batch_of, close, evaluated, trained

pytestmark = pytest.mark.slow  # minutes of compiling

DIGITS = digits()
LABELS = np.array([0, 0, 1, 1, 1, 2, 2, 0, 3])


def embeddings(rows=9, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, 3)).astype(np.float32)


def lengths(x):
    return np.linalg.norm(x[:, None].astype(np.float64) - x[None], axis=-1)


def slow_triplets(x, labels, hard, rows=None):
    """(anchor, positive, negative) by loops over all triplets; copies of one of `rows` are no positives."""
    rows = np.arange(len(x)) if rows is None else rows
    d, found = lengths(x), []
    for a in range(len(x)):
        positives = [i for i in range(len(x)) if labels[i] == labels[a] and rows[i] != rows[a]]
        negatives = [i for i in range(len(x)) if labels[i] != labels[a]]
        if not positives or not negatives:
            continue
        if hard:
            found.append((a, max(positives, key=lambda i: d[a, i]), min(negatives, key=lambda i: d[a, i])))
            continue
        for p in positives:
            farther = [n for n in negatives if d[a, n] > d[a, p]]
            chosen = min(farther, key=lambda i: d[a, i]) if farther else max(negatives, key=lambda i: d[a, i])
            found.append((a, p, chosen))
    return found


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mining", [batch_hard, semi_hard])
def test_triplets_and_their_loss_are_those_of_loops(mining, seed):
    x = embeddings(seed=seed)
    chosen, d = slow_triplets(x, LABELS, mining is batch_hard), lengths(x)
    d = d if mining is batch_hard else d**2  # as in the papers
    expected = np.mean([max(0, 0.7 + d[a, p] - d[a, n]) for a, p, n in chosen])
    value = triplet(jnp.asarray(x), jnp.asarray(LABELS), jnp.ones(9), mining=mining, margin=0.7)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_semi_hard_by_hand():
    """One anchor's positive at 1 and negatives at 0.5, 1.2 and 3: the squares are 1, 0.25, 1.44 and 9."""
    x = jnp.array([[0.0], [1.0], [-0.5], [-1.2], [-3.0]])
    same, other = np.zeros((2, 5, 5), bool)
    same[0, 1] = other[0, 2] = other[0, 3] = other[0, 4] = True
    found = semi_hard(jnp.square(x - x.T), jnp.asarray(same), jnp.asarray(other), jnp.ones(5))
    np.testing.assert_allclose(found.positive[0, 1], 1.0)
    np.testing.assert_allclose(found.negative[0, 1], 1.44, rtol=1e-6)


@pytest.mark.parametrize("mining", [batch_hard, semi_hard])
def test_loss_and_gradient_agree_with_torch(mining):
    torch = pytest.importorskip("torch", reason="PyTorch is the reference")
    x = embeddings()
    index = np.array(slow_triplets(x, LABELS, mining is batch_hard)).T
    theirs = torch.tensor(x, requires_grad=True)
    # Theirs adds eps to each coordinate's difference; in float64 one of 1e-12 is not seen.
    anchor, positive, negative = (theirs.double()[i] for i in index)
    if mining is batch_hard:
        loss = torch.nn.TripletMarginLoss(margin=0.7, eps=1e-12)(anchor, positive, negative)
    else:
        square = lambda a, b: (a - b).square().sum(-1)  # noqa: E731
        loss = torch.nn.TripletMarginWithDistanceLoss(distance_function=square, margin=0.7)(
            anchor, positive, negative
        )
    loss.backward()
    ours = lambda x: triplet(x, jnp.asarray(LABELS), jnp.ones(9), mining=mining, margin=0.7)  # noqa: E731
    value, grads = jax.jit(jax.value_and_grad(ours))(jnp.asarray(x))
    np.testing.assert_allclose(value, loss.item(), rtol=1e-5)
    np.testing.assert_allclose(grads, theirs.grad, rtol=1e-5, atol=1e-6)


def test_pairs_are_those_of_a_loop():
    x, terms = embeddings(), []
    d = lengths(x)
    for i in range(9):
        for j in range(9):
            if i != j:
                terms.append(d[i, j] ** 2 if LABELS[i] == LABELS[j] else max(0, 1.5 - d[i, j]) ** 2)
    value = pair(jnp.asarray(x), jnp.asarray(LABELS), jnp.ones(9), margin=1.5)
    np.testing.assert_allclose(value, np.mean(terms), rtol=1e-5)


LOSSES = [pair, triplet, functools.partial(triplet, mining=semi_hard)]
WEIGHTS = np.array([2, 1, 3, 0, 1, 1, 2, 0, 1], np.float32)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_row_counts_as_often_as_it_weighs(loss):
    rows = np.repeat(np.arange(9), WEIGHTS.astype(int))
    x, labels, terms = embeddings()[rows], LABELS[rows], []
    d = lengths(x)
    if loss is pair:
        for i, j in np.ndindex(len(x), len(x)):
            if rows[i] != rows[j]:
                terms.append(d[i, j] ** 2 if labels[i] == labels[j] else max(0, 1 - d[i, j]) ** 2)
    else:
        hard = loss is triplet
        d = d if hard else d**2
        terms = [max(0, 0.2 + d[a, p] - d[a, n]) for a, p, n in slow_triplets(x, labels, hard, rows)]
    both = jax.jit(jax.value_and_grad(loss))
    value, grads = both(jnp.asarray(embeddings()), jnp.asarray(LABELS), jnp.asarray(WEIGHTS))
    np.testing.assert_allclose(value, np.mean(terms), rtol=1e-5)
    assert not grads[WEIGHTS == 0].any() and np.isfinite(grads).all()
    for factor in (0.5, 1e-30, 1e30):  # only ratios matter, though their products leave float32
        close(both(jnp.asarray(embeddings()), jnp.asarray(LABELS), jnp.asarray(factor * WEIGHTS))[0], value)


@pytest.mark.parametrize("loss", LOSSES)
def test_padding_changes_no_loss_and_no_gradient(loss):
    x, y = jnp.asarray(embeddings(12)), jnp.concatenate([jnp.asarray(LABELS), jnp.zeros(3, jnp.int32)])
    both = jax.jit(jax.value_and_grad(loss))
    value, grads = both(x, y, (jnp.arange(12) < 9).astype(jnp.float32))
    short, of_short = both(x[:9], y[:9], jnp.ones(9))
    np.testing.assert_allclose(value, short, rtol=1e-6)
    np.testing.assert_allclose(grads[:9], of_short, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(grads[9:], np.zeros((3, 3)))


@pytest.mark.parametrize("loss", LOSSES)
def test_equal_rows_and_batches_without_triplets_have_finite_gradients(loss):
    both = jax.jit(jax.value_and_grad(loss))
    for labels in ([0, 0, 0, 0], [0, 1, 2, 3], [0, 0, 1, 1]):
        value, grads = both(jnp.ones((4, 3)), jnp.array(labels), jnp.ones(4))
        assert np.isfinite(value)
        np.testing.assert_array_equal(grads, np.zeros((4, 3)))


def test_distances_are_numpys():
    x = embeddings()
    np.testing.assert_allclose(distances(jnp.asarray(x)), lengths(x), rtol=1e-6)


@pytest.mark.parametrize(("margin", "scale"), [(0.5, 64.0), (0.0, 1.0), (0.3, 10.0)])
def test_arcface_is_its_definition_by_angles(margin, scale):
    random = np.random.default_rng(0)
    cosines, labels = random.uniform(-0.95, 0.95, (20, 5)), random.integers(0, 5, 20)
    expected = []
    for row, y in zip(cosines, labels, strict=True):
        logits = [scale * np.cos(np.arccos(c) + margin * (j == y)) for j, c in enumerate(row)]
        expected.append(np.log(sum(np.exp(logit - logits[y]) for logit in logits)))
    ours = metric_losses.arcface_loss(jnp.asarray(cosines), jnp.asarray(labels), margin=margin, scale=scale)
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


def test_arcface_without_margin_is_the_cross_entropy_of_torch_and_finite_at_equal_directions():
    torch = pytest.importorskip("torch", reason="PyTorch is the reference")
    random = np.random.default_rng(0)
    cosines = random.uniform(-1, 1, (6, 4)).astype(np.float32)
    labels = random.integers(0, 4, 6)
    theirs = torch.tensor(cosines, requires_grad=True)
    logits = theirs * 8
    angle = torch.acos(theirs[range(6), labels]) + 0.4
    logits = logits.clone()
    logits[range(6), labels] = 8 * torch.cos(angle)
    torch.nn.functional.cross_entropy(logits, torch.tensor(labels)).backward()
    ours = lambda c: jnp.mean(metric_losses.arcface_loss(c, jnp.asarray(labels), margin=0.4, scale=8.0))  # noqa: E731
    np.testing.assert_allclose(jax.grad(ours)(jnp.asarray(cosines)), theirs.grad, rtol=1e-4, atol=1e-6)
    edge = jnp.array([[1.0, -1.0], [-1.0, 1.0], [1.0000001, 0.0]])
    grads = jax.grad(lambda c: jnp.sum(metric_losses.arcface_loss(c, jnp.zeros(3, jnp.int32))))(edge)
    assert np.isfinite(grads).all()


def test_steps_and_evaluations_are_those_of_the_loss():
    loss = functools.partial(triplet, mining=semi_hard, margin=0.5)
    model: Any = MLP((8,), 4)
    experiment = metric_learning(model, DIGITS, optax.sgd(0.1), steps=10, batch_size=32, loss=loss)
    learner, batch = experiment.learner, batch_of(experiment.train)
    state = jax.jit(learner.init)(jax.random.key(0))
    value = lambda params: loss(model.apply({"params": params}, batch["x"]), batch["y"], jnp.ones(32))  # noqa: E731
    after, metrics = jax.jit(learner.step)(state, batch, jax.random.key(1))
    close(metrics["loss"].value, value(state.params))
    expected = jax.tree.map(lambda p, g: p - 0.1 * g, state.params, jax.jit(jax.grad(value))(state.params))
    close(after.params, expected)
    test = batch_of(experiment.evaluation["test"])
    x = np.asarray(model.apply({"params": state.params}, test["x"]))
    d = lengths(x) + np.diag(np.full(len(x), np.inf))
    found = evaluated(experiment, state, "test")
    close(found["recall_at_1"], np.mean(DIGITS.test["y"][d.argmin(1)] == DIGITS.test["y"]))
    close(found["loss"], jax.jit(loss)(jnp.asarray(x), test["y"], jnp.ones(len(x))), rtol=1e-4)
    padded = {name: jnp.concatenate([rows, jnp.zeros_like(rows[:7])]) for name, rows in test.items()}
    evaluate = jax.jit(learner.evaluate)
    close(evaluate(state, padded, jax.random.key(0)), evaluate(state, test, jax.random.key(0)), rtol=1e-4)


def task_of_pairs(part):
    loss = functools.partial(pair, margin=3.0)
    return metric_learning(MLP((), 2), Splits(part, part, part), optax.sgd(0.1), steps=1, loss=loss)


ANGLES = WithHead(MLP((), 2), CosineHead(4))


def task_of_angles(part):
    return arcface(ANGLES, Splits(part, part, part), optax.sgd(0.1), steps=1, scale=4.0)


def directions(params, x):
    features: Any = ANGLES.apply({"params": params}, x, method="features")
    return features / jnp.linalg.norm(features, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("make", "features"),
    [
        (task_of_pairs, lambda params, x: MLP((), 2).apply({"params": params}, x)),
        (task_of_angles, directions),
    ],
)
def test_rows_of_weight_0_are_not_there_and_others_count_what_they_weigh_in_the_recall(make, features):
    part = {"x": embeddings(seed=18), "y": LABELS, "sample_weight": WEIGHTS}
    there = {name: rows[WEIGHTS > 0] for name, rows in part.items()}
    found = []
    for one in (part, there):
        learner, batch = make(one).learner, {**one, "weight": np.ones(len(one["y"]), np.float32)}
        state = jax.jit(learner.init)(jax.random.key(0))
        after, metrics = jax.jit(learner.step)(state, one, jax.random.key(1))
        values = jax.jit(learner.evaluate)(state, batch, jax.random.key(0))
        found.append((after.params, metrics, {name: mean.value for name, mean in values.items()}))
    close(*found, rtol=1e-4)

    def hits(part):
        d = lengths(np.asarray(features(state.params, part["x"])))
        np.fill_diagonal(d, np.inf)
        return part["y"][d.argmin(1)] == part["y"]

    assert (hits(there) != hits(part)[WEIGHTS > 0]).any(), "a row of weight 0 is nearest to one that counts"
    close(found[1][2]["recall_at_1"], np.average(hits(there), weights=there["sample_weight"]))


def test_a_batch_in_which_no_row_counts_moves_nothing_and_is_no_mean():
    part = {"x": embeddings(), "y": LABELS, "sample_weight": WEIGHTS}
    learner, nothing = task_of_pairs(part).learner, {**part, "sample_weight": 0 * WEIGHTS}
    state = jax.jit(learner.init)(jax.random.key(0))
    after, metrics = jax.jit(learner.step)(state, nothing, jax.random.key(1))
    close(after.params, state.params)
    assert metrics["loss"].weight == 0


@pytest.mark.parametrize("y", [np.zeros(4), np.zeros((4, 1), np.int32), None])
def test_labels_that_are_no_integers_are_refused(y):
    part = {"x": np.ones((4, 2), np.float32)} | ({} if y is None else {"y": y})
    with pytest.raises(ValueError, match=r"train labels are .*; expected integers \[N\]"):
        metric_learning(MLP((), 2), Splits(part, part, part), optax.sgd(0.1), steps=1)


def test_more_labels_than_directions_are_refused():
    with pytest.raises(ValueError, match="expected 0 to 4"):
        arcface(WithHead(MLP((), 8), CosineHead(5)), DIGITS, optax.sgd(0.1), steps=1)


# Raw pixels find a row's label in 0.922 of cases, untrained nets in about 0.75.
@pytest.mark.parametrize("mining", [batch_hard, semi_hard])
def test_triplets_beat_the_untrained_net(mining):
    loss = functools.partial(triplet, mining=mining)
    experiment = metric_learning(MLP((64,), 16), DIGITS, optax.adam(3e-3), steps=150, loss=loss)
    before = evaluated(experiment, jax.jit(experiment.learner.init)(jax.random.key(0)), "test")
    after = evaluated(experiment, trained(experiment, 150), "test")
    assert after["recall_at_1"] > before["recall_at_1"] + 0.1
    assert after["recall_at_1"] > pixels()


def test_arcface_beats_the_pixels():
    model = WithHead(MLP((64,), 16), CosineHead(10))
    experiment = arcface(model, DIGITS, optax.adam(3e-3), steps=150, scale=16.0)
    after = evaluated(experiment, trained(experiment, 150), "test")
    assert after["accuracy"] > 0.9
    assert after["recall_at_1"] > pixels()


def pixels():
    """Recall@1 in the test part by standardised pixels."""
    d = lengths(DIGITS.test["x"])
    np.fill_diagonal(d, np.inf)
    return np.mean(DIGITS.test["y"][d.argmin(1)] == DIGITS.test["y"])
