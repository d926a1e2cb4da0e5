"""Segmentation: exact means over labelled pixels, and shapes told from what is behind them."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl.data import Splits, sampled
from fdl.data.synthetic.scenes import scene
from fdl.data.synthetic.shapes import captioned_shape
from fdl.models.norms import batch_norm
from fdl.models.unet import UNet
from fdl.tasks.segmentation import segmentation
from tests.flags import RIGHT
from tests.tasks.test_supervised import batch_of, trained

pytestmark = pytest.mark.slow  # minutes of compiling

CLASSES = 5


def scaled(batch):
    return {**batch, "x": batch["x"].astype(jnp.float32) / 255}


@functools.cache
def all_scenes():
    sample = functools.partial(scene, pixels=16, shapes=1)
    return sampled(sample, train=256, validation=256, test=256)  # one size is one program


def scenes(train=16):
    """The first rows of each part; 100 to test."""
    sizes = (train, 16, 100)
    made = ({k: v[:n] for k, v in part.items()} for part, n in zip(all_scenes()[:3], sizes, strict=True))
    return Splits(*made, prepare=scaled)


def changed(splits, **changes):
    return splits._replace(train=splits.train | changes)


MODEL = UNet(CLASSES, (4,))


def test_scenes_are_shapes_over_shapes():
    key = jax.random.key(3)
    row = scene(key, pixels=32, shapes=3)
    image, classes, owner = np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32), int), np.zeros((32, 32), int)
    for k in range(3):
        one = captioned_shape(jax.random.fold_in(key, k))
        x = np.asarray(one["x"])
        here = x.max(axis=-1) >= 128
        image[here], classes[here], owner[here] = x[here], 1 + int(one["y"]), k + 1
    np.testing.assert_array_equal(row["x"], image)
    np.testing.assert_array_equal(row["y"], classes)
    for k in range(3):
        places = np.argwhere(owner == k + 1)
        box = [*places.min(axis=0), *(places.max(axis=0) + 1)] if len(places) else [0] * 4
        np.testing.assert_array_equal(row["boxes"][k], box)
        assert (int(row["labels"][k]) >= 0) == bool(len(places))


def test_hidden_shapes_have_no_label():
    rows = jax.jit(jax.vmap(functools.partial(scene, pixels=16, shapes=8)))(
        jax.random.split(jax.random.key(0), 50)
    )
    hidden = np.asarray(rows["labels"]) < 0
    assert hidden.any() and not np.asarray(rows["boxes"])[hidden].any()
    with pytest.raises(ValueError, match="shapes is 0"):
        scene(jax.random.key(0), shapes=0)


def test_metrics_are_exact_over_labelled_pixels():
    splits = scenes()
    y = np.asarray(splits.test["y"]).copy()
    y[:, ::2] = -1
    splits = splits._replace(test={**splits.test, "y": y})
    experiment = segmentation(MODEL, splits, optax.sgd(0.1), steps=1, batch_size=4)
    state = jax.jit(experiment.learner.init)(jax.random.key(0))
    logits: Any = MODEL.apply({"params": state.params}, scaled(splits.test)["x"])
    logp, said = np.asarray(jax.nn.log_softmax(logits)), np.argmax(logits, axis=-1)
    seen = y >= 0
    got = jax.jit(experiment.learner.evaluate)(
        state, {**scaled(splits.test), "weight": jnp.ones(100)}, jax.random.key(0)
    )
    wanted = -np.take_along_axis(logp, np.maximum(y, 0)[..., None], axis=-1)[..., 0][seen].mean()
    np.testing.assert_allclose(got["loss"].value, wanted, rtol=1e-5)
    np.testing.assert_allclose(got["accuracy"].value, (said == y)[seen].mean(), rtol=1e-5)
    shares = [
        np.sum(seen & (said == c) & (y == c)) / np.sum(seen & ((said == c) | (y == c)))
        for c in range(CLASSES)
        if np.any(seen & ((said == c) | (y == c)))
    ]
    np.testing.assert_allclose(got["mean_iou"].value, np.mean(shares), rtol=1e-5)


def test_rows_without_weight_do_not_count():
    experiment = segmentation(MODEL, scenes(), optax.sgd(0.1), steps=1, batch_size=4)
    state = jax.jit(experiment.learner.init)(jax.random.key(0))
    batch = {**scaled(scenes().test), "weight": jnp.arange(100) < 60}
    some = jax.tree.map(lambda leaf: leaf[:60], batch)
    got, wanted = (
        jax.jit(experiment.learner.evaluate)(state, one, jax.random.key(0)) for one in (batch, some)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), got, wanted)


def test_a_step_is_the_gradient_of_the_mean_over_labelled_pixels():
    splits = scenes()
    y = np.where(np.arange(16) % 3, splits.train["y"], -1)
    experiment = segmentation(MODEL, changed(splits, y=y), optax.sgd(1.0), steps=1, batch_size=4)
    state, batch = jax.jit(experiment.learner.init)(jax.random.key(0)), batch_of(experiment.train)

    def loss(params):
        logits: Any = MODEL.apply({"params": params}, batch["x"])
        logp = jax.nn.log_softmax(logits)
        own = jnp.take_along_axis(logp, jnp.maximum(batch["y"], 0)[..., None], axis=-1)[..., 0]
        return -jnp.sum(jnp.where(batch["y"] >= 0, own, 0)) / jnp.sum(batch["y"] >= 0)

    after, metrics = jax.jit(experiment.learner.step)(state, batch, jax.random.key(1))
    wanted = jax.tree.map(lambda p, g: p - g, state.params, jax.jit(jax.grad(loss))(state.params))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), after.params, wanted)
    np.testing.assert_allclose(metrics["loss"].value, loss(state.params), rtol=1e-5)


def test_shapes_are_segmented_far_better_than_by_the_majority():
    made = scenes(train=256)
    parts = ({**part, "y": np.minimum(part["y"], 1)} for part in (made.train, made.validation, made.test))
    splits = Splits(*parts, prepare=scaled)  # a shape, or none
    model = UNet(2, (8, 16), norm=batch_norm)
    experiment = segmentation(model, splits, optax.adam(1e-2), steps=1, batch_size=16)
    test = {**scaled(splits.test), "weight": jnp.ones(100)}
    share = float((test["y"] == 0).mean())
    for seed in range(2):
        got = jax.jit(experiment.learner.evaluate)(
            trained(experiment, 60, seed, RIGHT), test, jax.random.key(0)
        )
        assert float(got["mean_iou"].value) > 0.75 > share / 2  # all black: the shapes have nothing in common
        assert float(got["accuracy"].value) > share


@pytest.mark.parametrize(
    ("model", "splits", "options", "message"),
    [
        (MODEL, scenes(), {"steps": 0}, "steps is 0; expected at least 1"),
        (UNet(2, (4,)), scenes(), {}, r"train labels go from \S+ to [34]; expected at most 1, .*255"),
        (MODEL, changed(scenes(), y=scenes().train["y"][:, 1:]), {}, "expected integers"),
        (MODEL, changed(scenes(), y=scenes().train["y"][:-1]), {}, "16 rows of x and 15"),
        (MODEL, changed(scenes(), y=np.full((16, 16, 16), -1)), {}, "no labelled pixel"),
        (MODEL, changed(scenes(), y=np.ones((16, 16, 16))), {}, "train labels are float64"),
    ],
)
def test_bad_input_is_refused_in_one_line(model, splits, options, message):
    with pytest.raises(ValueError, match=message) as error:
        segmentation(model, splits, optax.sgd(0.1), **{"steps": 1} | options)
    assert "\n" not in str(error.value)
