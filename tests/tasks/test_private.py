"""DP-SGD: rows clipped one by one, noise once, and nothing of a row that the clipping does not bound."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from fdl import data, losses, models, optim, tasks, train
from fdl.tasks.private_gradient import Privacy
from fdl.train import Saving
from tests.parallel.task_driver import CLASSES, MLP, WITH_ALL, X, Y, splits
from tests.train.test_checkpoint import Stop, crash_at
from tests.train.test_run import same

MANY = splits(x=np.tile(X, (8, 1)), y=np.tile(Y, 8))
CLIP = 2.0
KEY = jax.random.key(0)
BATCH = {"x": X, "y": Y, "weight": np.array([1, 1, 1, 1, 1, 1, 0, 0], np.float32)}


def private(model: Any = MLP, optimizer: Any = None, part: Any = MANY, **options: Any):
    options = {"noise_multiplier": 0.0, "clip": CLIP, "steps": 4, "batch_size": 16} | options
    return tasks.private_classification(model, part, optimizer or optax.sgd(1.0), **options)


def stepped(experiment, batch=BATCH, key=KEY):
    state = experiment.learner.init(KEY)
    return state.params, *jax.jit(experiment.learner.step)(state, batch, key)


@pytest.mark.medium
def test_a_step_is_the_sum_of_clipped_gradients_by_a_loop():
    before, after, metrics = stepped(private())
    flat, unflatten = ravel_pytree(before)

    def loss(vector, row):
        logits: Any = MLP.apply({"params": unflatten(vector)}, X[row : row + 1], train=True)
        return losses.cross_entropy(logits, jnp.asarray(Y[row : row + 1]))[0]

    total, clipped = np.zeros(flat.shape), 0
    for row in range(6):
        gradient = np.asarray(jax.grad(loss)(flat, row), np.float64)
        norm = np.linalg.norm(gradient)
        total += gradient * min(1, CLIP / norm)
        clipped += norm > CLIP
    moved = np.asarray(ravel_pytree(after.params)[0]) - flat
    np.testing.assert_allclose(moved, -total / 16, rtol=1e-4, atol=1e-6)
    assert 0 < clipped < 6
    assert metrics["clipped"].value == pytest.approx(clipped / 6)
    assert metrics["loss"].value == pytest.approx(np.mean([loss(flat, row) for row in range(6)]), rel=1e-5)


def test_noise_is_normal_of_the_promised_size_and_new_at_each_step():
    wide = models.MLP((200,), CLASSES)
    quiet, loud = private(wide), private(wide, noise_multiplier=3.0)
    flat = lambda found: np.asarray(ravel_pytree(found[1].params)[0])  # noqa: E731
    first, second = (
        (flat(stepped(loud, key=key)) - flat(stepped(quiet, key=key))) * 16 / (3.0 * CLIP)
        for key in (jax.random.key(1), jax.random.key(2))
    )
    for drawn in (first, second):
        assert abs(drawn.mean()) < 5 / np.sqrt(drawn.size)
        assert abs(drawn.std() - 1) < 5 / np.sqrt(2 * drawn.size)
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / np.sqrt(first.size)


@pytest.mark.medium
@pytest.mark.parametrize(
    "model", [MLP, MLP.clone(norm=models.layer_norm, dropout=0.3)], ids=["plain", "drop"]
)
def test_a_row_moves_the_sum_by_the_clipping_norm_at_most(model):
    """Also through what prepares it, which here would give every row the mean of the batch."""
    mixing = MANY._replace(
        prepare=lambda batch: {**batch, "x": batch["x"] - jnp.mean(batch["x"], axis=0) + 1.0}
    )
    experiment = private(model, part=mixing, clip=0.01)
    source = experiment.train
    batch = source.batch(source.arrays, jnp.int32(0), KEY)
    np.testing.assert_array_equal(batch["x"], 1.0)
    experiment = private(model, clip=0.01)
    whole = stepped(experiment)[1].params
    for row in range(6):
        weight = BATCH["weight"].copy()
        weight[row] = 0
        other = stepped(experiment, {**BATCH, "weight": weight})[1].params
        apart = optax.tree.norm(jax.tree.map(jnp.subtract, whole, other)) * 16
        assert 0.009 < apart <= 0.01 * (1 + 1e-3)


def test_a_batch_without_rows_moves_by_noise_and_has_no_loss():
    empty = {**BATCH, "weight": np.zeros(8, np.float32)}
    before, _, metrics = stepped(private(noise_multiplier=1.0), empty)
    assert metrics["loss"].weight == 0 and metrics["clipped"].weight == 0
    assert 0 < metrics["update_norm"] < np.inf
    same(stepped(private(), empty)[1].params, before)


@pytest.mark.medium
def test_jit_changes_nothing():
    experiment = private(noise_multiplier=1.0)
    _, after, metrics = stepped(experiment)
    state, eager = experiment.learner.step(experiment.learner.init(KEY), BATCH, KEY)
    for a, b in zip(jax.tree.leaves((after, metrics)), jax.tree.leaves((state, eager)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.medium
def test_a_crash_changes_no_bit(tmp_path):
    experiment = private(noise_multiplier=1.0, steps=20, evaluate_every=10)
    whole = train.fit(experiment, KEY)
    with pytest.raises(Stop):
        train.fit(experiment, KEY, directory=tmp_path, saving=Saving(steps=7), progress=crash_at(15))
    resumed = train.fit(experiment, KEY, directory=tmp_path, saving=Saving(steps=7))
    same(resumed.state, whole.state)
    assert resumed.rows == whole.rows


def test_batches_have_room_and_divide_into_micro_batches():
    rows = {"x": np.zeros((500, 6), np.float32), "y": np.zeros(500, np.int32)}
    experiment = private(part=data.Splits(rows, rows, rows), batch_size=50, accumulate=4)
    source = experiment.train
    batch = jax.eval_shape(source.batch, source.arrays, jnp.int32(0), KEY)
    assert batch["x"].shape == (128, 6)


WEIGHED = splits(**MANY.train, sample_weight=np.ones(64, np.float32))
REFUSED = {
    "batch norm": (lambda: stepped(private(WITH_ALL)), "the model keeps 'batch_stats' beside its parameters"),
    "line search": (lambda: stepped(private(optimizer=optax.lbfgs())), "the optimizer cannot update"),
    "sharpness": (lambda: stepped(private(optimizer=optim.sharpness_aware(optax.sgd(1.0)))), "cannot update"),
    "frozen": (lambda: private(optimizer=tasks.frozen(optax.sgd(1.0), lambda _: True)), "leaves parameters"),
    "weights": (lambda: private(part=WEIGHED), "the column 'sample_weight' is read by nothing"),
    "sampling": (lambda: private(part=MANY._replace(sampling=np.ones(64))), "has sampling weights"),
    "host": (lambda: private(part=MANY._replace(train=data.on_host(MANY.train))), "stay on the host"),
    "batch": (lambda: private(batch_size=65), "batch_size is 65; expected at most the 64 rows"),
    "clip": (lambda: private(clip=0.0), "clip is 0.0; expected above 0"),
    "noise": (lambda: private(noise_multiplier=-1.0), "noise_multiplier is -1.0; expected 0 or more"),
    "draw": (
        lambda: tasks.gradient_learner(
            lambda key: {}, lambda *_: None, lambda *_: {}, optax.sgd(1.0),  # pyright: ignore[reportArgumentType]
            draw=lambda batch, key: batch, privacy=Privacy(1.0, 1.0, 8),
        ),
        "draw sees all rows of a batch",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_not_be_private_is_refused(name):
    make, said = REFUSED[name]
    with pytest.raises(ValueError, match=said) as error:
        make()
    assert "\n" not in str(error.value)


def test_an_optimizer_gets_the_noisy_gradient_alone():
    seen = {}

    def update(updates, state, params=None, **extra):
        seen.update(extra)
        return updates, state

    stepped(private(optimizer=optax.GradientTransformationExtraArgs(lambda _: (), update)))
    assert seen.keys() == {"key"}


def test_padding_that_is_not_a_number_does_not_count():
    x = np.where(BATCH["weight"][:, None] > 0, X, np.nan)
    learner = private().learner
    clean = jax.jit(learner.step)(learner.init(KEY), BATCH, KEY)[0]
    spoiled = jax.jit(learner.step)(learner.init(KEY), {**BATCH, "x": x}, KEY)[0]
    same(clean.params, spoiled.params)
