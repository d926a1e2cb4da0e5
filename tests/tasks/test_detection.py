"""Detection: maps that say a box give it back, losses as loops have them, and shapes that are found."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl.data import Splits, sampled
from fdl.data.synthetic.scenes import scene
from fdl.metrics import box_overlap, mean_average_precision
from fdl.models.detector import Detector, Maps
from fdl.models.mlp import MLP
from fdl.models.norms import batch_norm
from fdl.tasks.boxes import decode_maps, image_losses, targets
from fdl.tasks.detection import detect, detection, precision_over
from fdl.tasks.gradient import variables
from tests.tasks.test_supervised import batch_of, evaluated, trained

pytestmark = pytest.mark.slow  # minutes of compiling

CLASSES, CELL, SHAPE = 4, 4, (6, 8)


def scaled(batch):
    return {**batch, "x": batch["x"].astype(jnp.float32) / 255}


@functools.cache
def all_scenes():
    sample = functools.partial(scene, pixels=32, shapes=2)
    return sampled(sample, train=384, validation=384, test=384)  # one size is one program


def scenes(train=16, test=60):
    """The first rows of each part."""
    sizes = (train, 16, test)
    made = ({k: v[:n] for k, v in part.items()} for part, n in zip(all_scenes()[:3], sizes, strict=True))
    return Splits(*made, prepare=scaled)


def objects(seed, count=3):
    """Boxes with centres in different cells of a 24x32 image, the last of them no object."""
    rng = np.random.default_rng(seed)
    cells = rng.permutation(48)[:count]
    centre = CELL * (np.stack([cells // 8, cells % 8], axis=1) + rng.uniform(0.05, 0.95, (count, 2)))
    half = rng.uniform(1, 9, (count, 2))
    labels = rng.integers(0, CLASSES, count)
    labels[-1] = -1
    return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32), labels


def wanted_of(seed):
    return targets(*map(jnp.asarray, objects(seed)), shape=SHAPE, cell=CELL, classes=CLASSES)


@pytest.mark.parametrize("seed", range(4))
def test_heat_is_the_largest_bell_and_one_at_centres(seed):
    boxes, labels = objects(seed)
    heat = np.zeros((*SHAPE, CLASSES))
    for (top, left, bottom, right), label in zip(boxes, labels, strict=True):
        if label < 0:
            continue
        row, column = int((top + bottom) / 2 // CELL), int((left + right) / 2 // CELL)
        for r, c in np.ndindex(*SHAPE):
            down, across = (r - row) / ((bottom - top) / CELL / 6), (c - column) / ((right - left) / CELL / 6)
            heat[r, c, label] = max(heat[r, c, label], np.exp(-(down**2 + across**2) / 2))
        assert heat[row, column, label] == 1
    np.testing.assert_allclose(wanted_of(seed).heat, heat, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_maps_that_say_the_boxes_give_them_back(seed):
    boxes, labels = objects(seed)
    wanted = wanted_of(seed)
    heat = np.full((*SHAPE, CLASSES), -9.0, np.float32)
    size, offset = np.zeros((*SHAPE, 2), np.float32), np.zeros((*SHAPE, 2), np.float32)
    for index in range(2):
        row, column = np.asarray(wanted.cells[index])
        heat[row, column, labels[index]] = 5.0 - index
        size[row, column], offset[row, column] = wanted.size[index], wanted.offset[index]
    found = jax.jit(decode_maps, static_argnames=("cell", "count"))(
        Maps(*(jnp.asarray(one)[None] for one in (heat, size, offset))), cell=CELL, count=2
    )
    if abs(np.asarray(wanted.cells[0] - wanted.cells[1])).max() > 1 or labels[0] != labels[1]:
        np.testing.assert_allclose(found.boxes[0], boxes[:2], rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(found.labels[0], labels[:2])
        np.testing.assert_allclose(found.scores[0], 1 / (1 + np.exp([-5.0, -4.0])), rtol=1e-5)


def test_only_peaks_of_their_own_class_are_found():
    heat = np.full((1, 5, 5, 2), -5.0, np.float32)
    heat[0, 2, 2, 0], heat[0, 2, 3, 0], heat[0, 2, 3, 1] = 3.0, 2.0, 1.0  # a slope, and another class
    found = decode_maps(
        Maps(jnp.asarray(heat), jnp.ones((1, 5, 5, 2)), jnp.zeros((1, 5, 5, 2))), cell=1, count=2
    )
    np.testing.assert_array_equal(found.labels, [[0, 1]])
    np.testing.assert_allclose(found.boxes[0, 1], [1.5, 2.5, 2.5, 3.5])


@pytest.mark.parametrize("seed", range(3))
def test_losses_are_the_papers_written_as_loops(seed):
    rng, wanted = np.random.default_rng(seed), wanted_of(seed)
    maps = Maps(*(jnp.asarray(rng.normal(size=(*SHAPE, n)), jnp.float32) for n in (CLASSES, 2, 2)))
    heat = 0.0
    for place in np.ndindex(*SHAPE, CLASSES):
        p, y = 1 / (1 + np.exp(-float(maps.heat[place]))), float(wanted.heat[place])
        heat -= (1 - p) ** 2 * np.log(p) if y == 1 else (1 - y) ** 4 * p**2 * np.log(1 - p)
    size = offset = 0.0
    for index in range(2):
        row, column = np.asarray(wanted.cells[index])
        size += np.abs(maps.size[row, column] - np.asarray(wanted.size[index])).sum()
        offset += np.abs(maps.offset[row, column] - np.asarray(wanted.offset[index])).sum()
    got = jax.jit(image_losses)(maps, wanted)
    np.testing.assert_allclose(
        [got["heat"], got["size"], got["offset"]], np.array([heat, size, offset]) / 2, rtol=1e-4
    )


def test_an_image_without_objects_has_finite_losses_and_gradients():
    nothing = targets(jnp.zeros((2, 4)), jnp.full(2, -1), shape=SHAPE, cell=CELL, classes=CLASSES)
    maps = Maps(jnp.full((*SHAPE, CLASSES), 200.0), jnp.ones((*SHAPE, 2)), jnp.ones((*SHAPE, 2)))
    value, slope = jax.value_and_grad(lambda m: sum(image_losses(m, nothing).values()))(maps)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((value, slope)))
    assert not slope.size.any() and not slope.offset.any() and slope.heat.any()


def test_evaluation_is_exact_and_rows_without_weight_do_not_count():
    splits, model = scenes(), Detector(CLASSES, (4, 8))
    experiment = detection(model, splits, optax.sgd(0.1), steps=1, batch_size=4)
    state = jax.jit(experiment.learner.init)(jax.random.key(0))
    batch = {**scaled(splits.test), "weight": jnp.arange(60) < 40}
    some = jax.tree.map(lambda leaf: leaf[:40], batch)
    got, wanted = (
        jax.jit(experiment.learner.evaluate)(state, one, jax.random.key(0)) for one in (batch, some)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), got, wanted)
    found = detect(model, variables(state), some["x"], count=2)
    near = np.asarray(box_overlap(found.boxes, some["boxes"])) >= 0.5
    same = np.asarray(found.labels)[:, :, None] == np.asarray(some["labels"])[:, None]
    hit = (near & same).any(axis=1)[np.asarray(some["labels"]) >= 0]
    np.testing.assert_allclose(wanted["recall"].value, hit.mean(), rtol=1e-5)


def test_weights_may_be_traced_and_do_not_change_the_reported_loss():
    batch = batch_of(
        detection(Detector(CLASSES, (4, 8)), scenes(), optax.sgd(0.1), steps=1, batch_size=4).train
    )

    def run(size, offset):
        options = {"steps": 1, "batch_size": 4, "size_weight": size, "offset_weight": offset}
        learner = detection(Detector(CLASSES, (4, 8)), scenes(), optax.sgd(0.1), **options).learner
        state, metrics = learner.step(learner.init(jax.random.key(0)), batch, jax.random.key(1))
        return state.params, metrics

    params, metrics = jax.jit(jax.vmap(run))(jnp.array([0.1, 0.5]), jnp.array([1.0, 0.2]))
    values = {name: metrics[name].value for name in ("loss", "heat", "size", "offset")}
    np.testing.assert_allclose(values["loss"][0], values["loss"][1], rtol=1e-6)
    parts = values["heat"] + 0.1 * values["size"] + values["offset"]
    np.testing.assert_allclose(values["loss"], parts, rtol=1e-5)
    assert any((leaf[0] != leaf[1]).any() for leaf in jax.tree.leaves(params))


def precision(found, truth):
    return mean_average_precision(found.boxes, found.scores, found.labels, truth["boxes"], truth["labels"])


def test_shapes_are_found_with_a_precision_far_above_that_of_the_mean_box():
    splits = scenes(train=384, test=150)
    shape = lambda part: {**part, "labels": np.minimum(part["labels"], 0)}  # noqa: E731
    splits = splits._replace(
        **{name: shape(getattr(splits, name)) for name in ("train", "validation", "test")}
    )
    model, truth = Detector(1, (8, 16, 32), layers=1, norm=batch_norm), splits.test
    experiment = detection(model, splits, optax.adam(5e-3), steps=1, batch_size=32)
    state = trained(experiment, 150)
    found = jax.jit(functools.partial(detect, model, count=4))(variables(state), scaled(truth)["x"])
    mean = splits.train["boxes"][splits.train["labels"] >= 0].mean(axis=0)
    everywhere = np.tile(mean, (150, 1, 1)), np.ones((150, 1)), np.zeros((150, 1), int)
    baseline = mean_average_precision(*everywhere, truth["boxes"], truth["labels"])
    assert baseline < 0.2
    assert precision(found, truth) > 0.6
    source = experiment.evaluation["test"]
    whole = precision_over(model, variables(state), source, count=4)
    np.testing.assert_allclose(whole, precision(found, truth), atol=1e-3)  # equal scores may change places
    assert evaluated(experiment, state, "test")["recall"] > 0.6


def changed(**changes):
    return scenes()._replace(train=scenes().train | changes)


@pytest.mark.parametrize(
    ("model", "splits", "options", "message"),
    [
        (Detector(4, (4,)), scenes(), {"batch_size": 0}, "batch_size is 0"),
        (
            Detector(2, (4,)),
            scenes(),
            {},
            r"train labels go from \S+ to [23]; expected at most 1, as the model has 2 classes \(row",
        ),
        (MLP((), 4), scenes(), {}, "the model's output is a .*; expected Maps"),
        (Detector(4, (4,)), changed(boxes=np.zeros((16, 2, 3), np.float32)), {}, "train boxes are .*2, 3"),
        (Detector(4, (4,)), changed(x=np.zeros((16, 8, 8, 3), np.uint8)), {}, "validation has rows"),
        (Detector(4, (4,)), changed(labels=np.full((16, 2), -1, np.int32)), {}, "train has no object"),
        (Detector(4, (4,)), changed(boxes=scenes().train["boxes"] + 40), {}, "row 0 has a box .* 32 x 32"),
        (
            Detector(4, (4,)),
            changed(boxes=-scenes().train["boxes"]),
            {},
            "row 0 has a box .* top and left first",
        ),
        (Detector(4, (4,)), changed(labels=scenes().train["labels"][:3]), {}, "train has .* rows"),
        (Detector(4, (4,) * 7), scenes(), {}, "images are 32x32; expected multiples of 64, for 7 widths"),
    ],
)
def test_bad_input_is_refused_in_one_line(model, splits, options, message):
    with pytest.raises(ValueError, match=message) as error:
        detection(model, splits, optax.sgd(0.1), **{"steps": 1} | options)
    assert "\n" not in str(error.value)
