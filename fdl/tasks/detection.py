"""Detection: where in an image which objects are, as points with sizes."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from fdl import metrics, rng
from fdl.arguments import Count, NotNegative, Share, checked
from fdl.data import Augmentation, Splits
from fdl.data.splits import parts, prepared_row, row_of
from fdl.data.verified import outside, verified
from fdl.experiment import Experiment, Learner, Source
from fdl.models.detector import Maps
from fdl.tasks.boxes import Detections, decode_maps, image_losses, targets
from fdl.tasks.columns import WEIGHT, checked_class_weights, row_weights
from fdl.tasks.gradient import gradient_learner
from fdl.tasks.inputs import in_memory, output_shapes
from fdl.tasks.training import BatchTraining, experiment_over, task

Number = float | jax.Array


@task
def detection(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    augment: Augmentation | None = None,
    size_weight: NotNegative[Number] = 0.1,
    offset_weight: NotNegative[Number] = 1.0,
    class_weight: Sequence[NotNegative[Number]] | jax.Array | None = None,
    accumulate: Count = 1,
    **training: Unpack[BatchTraining],
) -> Experiment:
    """Learning to detect up to M objects of C classes in an image.

    Zhou et al. 2019, Objects as Points, eq. 1 to 4: what is minimised is the mean over images of
    `heat + size_weight * size + offset_weight * offset`. `heat` is the focal loss of the heat maps
    (Law & Deng 2018, CornerNet, eq. 1, with exponents 2 and 4) over the image's objects (at least one);
    `size` and `offset` are the mean absolute errors of the objects' heights plus widths, and of their
    centres, in cells. Metrics: `loss`, with the weights 0.1 and 1, so that arms are comparable; its
    parts; and in evaluations `recall`, the share of objects that one of the image's M surest detections has
    the class of and overlaps by half. Mean average precision is no sum over batches, so no metric of an
    evaluation: `precision_over` gives a trained model's over a whole split.

    Args:
      model: a Flax module, `model(x, train=...)`: `[B, H, W, I]` to `Maps`, as `models.Detector`.
      splits: `"x"` images `[N, H, W, I]`; `"boxes"` floats `[N, M, 4]`: top, left, bottom and right in
        pixels, with centres in the image; `"labels"` integers `[N, M]` from 0 to C - 1, or negative where
        there is no object; and, where images count unequally, `"sample_weight"` float `[N]`, by which all
        means are weighted.
      optimizer: any Optax transformation.
      augment: what is done to every training batch; it must move the boxes with the pixels, or none. None
        leaves batches as they are.
      size_weight: see above.
      offset_weight: see above.
      class_weight: what the map of each class counts in the heat that is minimised, `[C]`, at least 0, scaled
        to mean 1, so that only their ratios matter: with 0 the class is not learned. A map has its own
        background, the cells without its objects, so there is no weight of "no object". Size and offset,
        which know no classes, and the metrics leave it out. None: all alike, as in the papers.
      accumulate: micro-batches in which a batch is passed, see `fdl.tasks.accumulation.passed`.
      **training: `steps`, `batch_size` and others, see `fdl.tasks.training.BatchTraining`.

    Raises:
      ValueError: a count below 1, or data that does not fit together or to the model.

    Example:
      >>> import numpy as np, optax
      >>> import fdl
      >>> from fdl import data, models, tasks
      >>> images = {"x": np.zeros((8, 16, 16, 3), np.float32)}
      >>> boxes = {"boxes": np.ones((8, 1, 4), np.float32), "labels": np.zeros((8, 1), np.int32)}
      >>> rows = images | boxes
      >>> splits = data.Splits(train=rows, validation=rows, test=rows)
      >>> experiment = tasks.detection(models.Detector(3, (4,)), splits, optax.adam(1e-3), steps=100)
      >>> [name for name in fdl.check(experiment) if name.startswith("test")]
      ['test/heat', 'test/loss', 'test/offset', 'test/recall', 'test/size']
    """
    splits = _checked(model, splits)
    learner = detection_learner(
        model,
        splits,
        optimizer,
        size_weight=size_weight,
        offset_weight=offset_weight,
        class_weight=class_weight,
        accumulate=accumulate,
    )
    return experiment_over(
        learner,
        splits,
        augment=augment,
        accumulate=accumulate,
        **training,
        columns=("x", "boxes", "labels", WEIGHT),
    )


@checked
def detection_learner(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    size_weight: NotNegative[Number] = 0.1,
    offset_weight: NotNegative[Number] = 1.0,
    class_weight: Sequence[NotNegative[Number]] | jax.Array | None = None,
    accumulate: Count = 1,
) -> Learner:
    """The learner of `detection`; of `splits` only checks and a row's shape are made.

    Raises:
      ValueError: data that does not fit together or to the model.
    """
    row = prepared_row(splits)["x"]
    x = jnp.zeros(row.shape, row.dtype)
    _checked(model, splits)
    weights = None
    if class_weight is not None:
        weights = checked_class_weights(class_weight, output_shapes(model, x).heat.shape[-1])
        weights = weights / jnp.mean(weights)

    def init(key: jax.Array) -> Any:
        return model.init(key, x, train=False)

    def measures(maps: Maps, batch: Any, weights: jax.Array | float = 1.0) -> dict[str, jax.Array]:
        _, height, width, classes = maps.heat.shape
        cell = batch["x"].shape[1] // height

        def losses(maps: Maps, boxes: jax.Array, labels: jax.Array) -> dict[str, jax.Array]:
            wanted = targets(boxes, labels, shape=(height, width), cell=cell, classes=classes)
            return image_losses(maps, wanted, weights)

        rows = jax.vmap(losses)(maps, batch["boxes"], batch["labels"])
        return {"loss": rows["heat"] + 0.1 * rows["size"] + rows["offset"], **rows}

    def objective(variables: Any, batch: Any, key: jax.Array) -> tuple[metrics.Mean, Any]:
        mutable = [name for name in variables if name != "params"]
        rngs = {"dropout": rng.stream(key, "dropout")}
        maps, state = model.apply(variables, batch["x"], train=True, rngs=rngs, mutable=mutable)
        rows = measures(maps, batch)
        heat = rows["heat"] if weights is None else measures(maps, batch, weights)["heat"]
        value = heat + size_weight * rows["size"] + offset_weight * rows["offset"]
        weight = row_weights(batch)
        means = {name: metrics.mean(values, weight) for name, values in rows.items()}
        return metrics.mean(value, weight), (means, state)

    def evaluate(variables: Any, batch: Any, key: jax.Array) -> dict[str, metrics.Mean]:
        maps: Any = model.apply(variables, batch["x"], train=False)
        batch = {**batch, "weight": row_weights(batch)}
        means = {name: metrics.mean(rows, batch["weight"]) for name, rows in measures(maps, batch).items()}
        cell = batch["x"].shape[1] // maps.heat.shape[1]
        found = decode_maps(maps, cell=cell, count=batch["labels"].shape[1])
        return {**means, "recall": _recall(found, batch)}

    most = prepared_row(splits)["labels"].shape[1]

    def predict(variables: Any, batch: Any) -> dict[str, jax.Array]:
        found = detect(model, variables, batch["x"], count=most)
        return {"label": found.labels, "score": found.scores, "boxes": found.boxes}

    return gradient_learner(init, objective, evaluate, optimizer, accumulate=accumulate, predict=predict)


@checked
def detect(model: nn.Module, variables: Any, x: jax.Array, *, count: Count) -> Detections:
    """The `count` surest detections in images, for `fdl.metrics.mean_average_precision`.

    Args:
      model: as of `detection`.
      variables: its variables, as `fdl.tasks.gradient.variables(state)`.
      x: images `[B, H, W, I]`, prepared.
      count: K.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models, tasks
      >>> model, images = models.Detector(classes=3, widths=(4,)), jnp.zeros((1, 16, 16, 3))
      >>> variables = jax.eval_shape(model.init, jax.random.key(0), images)
      >>> found = jax.eval_shape(lambda given: tasks.detect(model, given, images, count=5), variables)
      >>> found.boxes.shape, found.scores.shape
      ((1, 5, 4), (1, 5))
    """
    maps: Any = model.apply(variables, x, train=False)
    return decode_maps(maps, cell=x.shape[1] // maps.heat.shape[1], count=count)


@checked
def precision_over(
    model: nn.Module, variables: Any, source: Source, *, count: Count, iou: Share[float] = 0.5
) -> float:
    """The mean average precision of a trained model's detections in all images of a source, on the host.

    The device reads the images batch by batch, and all their detections are ranked together, so that the
    result, that of `fdl.metrics.mean_average_precision`, does not depend on the batches:
    `precision_over(model, gradient.variables(state), experiment.evaluation["test"], count=10)`.

    Args:
      model: as of `detection`.
      variables: its variables, as `fdl.tasks.gradient.variables(state)`.
      source: of an evaluation; its batches have `"x"`, `"boxes"`, `"labels"` and `"weight"`, and rows of
        weight 0 do not count.
      count: K, the surest detections of each image that are ranked.
      iou: the least overlap that counts.

    Returns:
      0 to 1, over the classes that are among the source's labels.

    Raises:
      ValueError: a source without any object.
    """

    @jax.jit
    def found(variables: Any, arrays: Any, step: jax.Array) -> tuple[Detections, Any]:
        batch = source.batch(arrays, step, jax.random.key(0))
        truth = {name: batch[name] for name in ("boxes", "labels", "weight")}
        return detect(model, variables, batch["x"], count=count), truth

    rows = []
    for step in range(source.batches):
        words = np.zeros(2, np.uint32)  # an evaluation has one order
        arrays = source.arrays if source.fetch is None else source.fetch(step, words, slice(None))
        detections, truth = jax.device_get(found(variables, arrays, np.int32(step)))
        kept = (*detections, truth["boxes"], truth["labels"])
        rows.append([array[truth["weight"] > 0] for array in kept])
    return metrics.mean_average_precision(*map(np.concatenate, zip(*rows, strict=True)), iou=iou)


def _recall(found: Detections, batch: Any) -> metrics.Mean:
    """Of all objects, each with its image's weight, the share that is found."""
    same = found.labels[:, :, None] == batch["labels"][:, None, :]
    near = metrics.box_overlap(found.boxes, batch["boxes"]) >= 0.5
    weight = (batch["labels"] >= 0) * batch["weight"][:, None]
    return metrics.mean(jnp.any(same & near, axis=1).astype(jnp.float32).ravel(), weight.ravel())


def _checked(model: nn.Module, splits: Splits) -> Splits:
    """The data set, whose boxes have the model's classes (see `verified`), one at least in each part.

    Raises:
      ValueError: data that does not fit together or to the model.
    """
    one = prepared_row(splits)["x"]
    x = jnp.zeros(one.shape, one.dtype)
    maps = output_shapes(model, x)
    if not isinstance(maps, Maps):
        raise ValueError(f"the model's output is a {type(maps).__name__}; expected Maps, as of Detector")
    classes = maps.heat.shape[-1]
    expected = row_of(splits.train)
    for name, part in parts(splits).items():
        row = row_of(part)
        if row != expected or "boxes" not in row or "labels" not in row:
            shapes = {key: f"{value.dtype}{list(value.shape)}" for key, value in row.items()}
            raise ValueError(f"{name} has rows {shapes}; expected those of train, with boxes and labels")
        boxes, labels = row["boxes"], row["labels"]
        if (
            boxes.shape != (*labels.shape, 4)
            or labels.ndim != 1
            or not np.issubdtype(labels.dtype, np.integer)
        ):
            raise ValueError(
                f"{name} boxes are {['N', *boxes.shape]} and labels {labels.dtype}{['N', *labels.shape]}; "
                "expected [N, M, 4] and integers [N, M]"
            )
        arrays = in_memory(part)
        if len({len(array) for array in arrays.values()}) > 1 or any(not len(a) for a in arrays.values()):
            sizes = {key: len(array) for key, array in arrays.items()}
            raise ValueError(f"{name} has {sizes} rows; expected as many of each, at least one")
        if "labels" in arrays and arrays["labels"].max() < 0:
            raise ValueError(f"{name} has no object (all labels are negative); expected at least one")
    why, fix = f"as the model has {classes} classes", "change the model or the labels"
    fault = outside("labels", -np.inf, classes - 1, what="labels", why=why, fix=fix)
    splits = verified(splits, ("labels",), fault)
    return verified(splits, ("boxes", "labels"), functools.partial(_wrong_box, shape=x.shape[1:3]))


def _wrong_box(rows: Mapping[str, np.ndarray], *, shape: tuple[int, ...]) -> tuple[int, str] | None:
    """The `Fault` of an object whose box is none, or has its centre outside the image of `shape`."""
    boxes, size = np.asarray(rows["boxes"], np.float64), np.array(shape)
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2
    good = (boxes[..., :2] <= boxes[..., 2:]) & (centre >= 0) & (centre <= size) & np.isfinite(centre)
    wrong = ~good.all(axis=-1) & (rows["labels"] >= 0)
    if not wrong.any():
        return None
    place = int(np.argmax(wrong.any(axis=1)))
    box = boxes[place, int(np.argmax(wrong[place]))].tolist()
    return place, (
        f"{{row}} has a box of top, left, bottom, right {box}; expected top and left first, and a centre in "
        f"the image of {shape[0]} x {shape[1]}: fix it, or give it a negative label"
    )
