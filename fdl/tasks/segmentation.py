"""Segmentation: a class for every pixel."""

from collections.abc import Callable, Sequence
from typing import Any, Unpack

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from fdl import losses, metrics, rng
from fdl.arguments import Count, NotNegative, checked
from fdl.data import Augmentation, Rows, Splits
from fdl.data.splits import parts, prepared_row, row_of
from fdl.data.verified import outside, verified
from fdl.experiment import Experiment, Learner
from fdl.tasks.columns import WEIGHT, class_weights, row_weights
from fdl.tasks.gradient import gradient_learner
from fdl.tasks.inputs import in_memory, output_shapes
from fdl.tasks.predictions import applied, one_of_classes
from fdl.tasks.training import BatchTraining, experiment_over, task

Number = float | jax.Array


@task
def segmentation(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    augment: Augmentation | None = None,
    class_weight: Sequence[NotNegative[Number]] | jax.Array | None = None,
    accumulate: Count = 1,
    **training: Unpack[BatchTraining],
) -> Experiment:
    """Learning to give each pixel one of C classes, by cross-entropy.

    What is minimised is the mean over a batch's labelled pixels. Metrics, over labelled pixels: `loss`, the
    mean cross-entropy in nats; `accuracy`, a share from 0 to 1; in evaluations `mean_iou`, intersection
    over union of each class over the whole split, and its mean over classes (`fdl.metrics.Overlap`).

    Args:
      model: a Flax module, `model(x, train=...)`: `[B, H, W, I]` to logits `[B, H, W, C]`.
      splits: `"x"` images `[N, H, W, I]` and `"y"` integers `[N, H, W]` from 0 to C - 1, or negative where
        a pixel has no label; and, where rows count unequally, `"sample_weight"` float `[N]`, by which
        all means are weighted.
      optimizer: any Optax transformation.
      augment: what is done to every training batch; it must move the pixels of `y` as those of `x`, or
        none. None leaves batches as they are.
      class_weight: what a pixel of each class counts in what is minimised, `[C]`, at least 0: the weighted
        mean, as in PyTorch's `CrossEntropyLoss(weight)`; metrics leave it out. None: all alike.
      accumulate: micro-batches in which a batch is passed, see `fdl.tasks.accumulation.passed`.
      **training: `steps`, `batch_size` and others, see `fdl.tasks.training.BatchTraining`.

    Raises:
      ValueError: a count below 1, or data that does not fit together or to the model.

    Example:
      >>> import numpy as np, optax
      >>> import fdl
      >>> from fdl import data, models, tasks
      >>> rows = {"x": np.zeros((8, 16, 16, 3), np.float32), "y": np.zeros((8, 16, 16), np.int32)}
      >>> splits = data.Splits(train=rows, validation=rows, test=rows)
      >>> experiment = tasks.segmentation(models.UNet(3, (4, 8)), splits, optax.adam(1e-3), steps=100)
      >>> [name for name in fdl.check(experiment) if name.startswith("test")]
      ['test/accuracy', 'test/loss', 'test/mean_iou']
    """
    splits, _ = _checked(model, splits)
    learner = segmentation_learner(model, splits, optimizer, class_weight=class_weight, accumulate=accumulate)
    return experiment_over(
        learner,
        splits,
        augment=augment,
        accumulate=accumulate,
        **training,
        columns=("x", "y", WEIGHT),
    )


@checked
def segmentation_learner(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    class_weight: Sequence[NotNegative[Number]] | jax.Array | None = None,
    accumulate: Count = 1,
) -> Learner:
    """The learner of `segmentation`; of `splits` only checks and a row's shape are made.

    Raises:
      ValueError: data that does not fit together or to the model.
    """
    row = prepared_row(splits)["x"]
    x = jnp.zeros(row.shape, row.dtype)
    _, classes = _checked(model, splits)
    weigh = None if class_weight is None else class_weights(class_weight, classes)

    def init(key: jax.Array) -> Any:
        return model.init(key, x, train=False)

    def objective(variables: Any, batch: Any, key: jax.Array) -> tuple[metrics.Mean, Any]:
        mutable = [name for name in variables if name != "params"]
        rngs = {"dropout": rng.stream(key, "dropout")}
        logits, state = model.apply(variables, batch["x"], train=True, rngs=rngs, mutable=mutable)
        means = _pixel_means(logits, batch["y"], _weights(batch))
        minimised = means["loss"] if weigh is None else _weighed(logits, batch, weigh)
        # A batch may have no labelled pixel at all: its loss is 0 then, not NaN.
        return minimised, (means, state)

    def evaluate(variables: Any, batch: Any, key: jax.Array) -> dict[str, Any]:
        logits = jnp.asarray(model.apply(variables, batch["x"], train=False))
        y = batch["y"]
        weight = (y >= 0) * _weights(batch)[:, None, None]
        iou = metrics.overlap(jnp.argmax(logits, axis=-1), y, weight, classes=classes)
        return {**_pixel_means(logits, y, _weights(batch)), "mean_iou": iou}

    predict = applied(model, one_of_classes)
    return gradient_learner(init, objective, evaluate, optimizer, accumulate=accumulate, predict=predict)


def _weights(batch: Any) -> jax.Array:
    weight = row_weights(batch)
    return jnp.ones(len(batch["y"])) if weight is None else weight


def _weighed(logits: jax.Array, batch: Any, weigh: Callable[[jax.Array], jax.Array]) -> metrics.Mean:
    """The mean cross-entropy of labelled pixels, each with the weight of its row and of its class."""
    flat, labels = logits.reshape(-1, logits.shape[-1]), batch["y"].ravel()
    of_row = jnp.broadcast_to(_weights(batch)[:, None, None], batch["y"].shape).ravel()
    weight = jnp.where(labels >= 0, of_row * weigh(labels), 0)
    return metrics.mean(losses.cross_entropy(flat, labels), weight)


def _pixel_means(logits: jax.Array, y: jax.Array, weight: jax.Array) -> dict[str, metrics.Mean]:
    """Means over labelled pixels, each with its row's weight."""
    flat, labels = logits.reshape(-1, logits.shape[-1]), y.ravel()
    counted = ((y >= 0) * weight[:, None, None]).ravel()
    return {
        "loss": metrics.mean(losses.cross_entropy(flat, labels), counted),
        "accuracy": metrics.mean(metrics.accuracy(flat, labels), counted),
    }


def _checked(model: nn.Module, splits: Splits) -> tuple[Splits, int]:
    """The data set, whose labels fit to the model (see `verified`), and how many classes that has.

    Raises:
      ValueError: data that does not fit together or to the model.
    """
    one = prepared_row(splits)["x"]
    x = jnp.zeros(one.shape, one.dtype)
    shape = output_shapes(model, x).shape
    expected = row_of(splits.train)
    for name, part in parts(splits).items():
        row = row_of(part)
        y, image = row["y"], row["x"]
        if not np.issubdtype(y.dtype, np.integer) or [1, *y.shape] != list(shape[:-1]) or len(shape) != 4:
            raise ValueError(
                f"{name} labels are {y.dtype}{['N', *y.shape]}, and the model's outputs for one row "
                f"have shape {list(shape)}; expected integers [N, H, W] and [1, H, W, classes]"
            )
        if image != expected["x"]:
            raise ValueError(f"{name} x has rows of {image}; expected {expected['x']}, as in train")
        arrays = in_memory(part)
        if not isinstance(part, Rows) and not 0 < len(part["x"]) == len(part["y"]):
            sizes = f"{len(part['x'])} rows of x and {len(part['y'])} of y"
            raise ValueError(f"{name} has {sizes}; expected as many, at least one")
        if "y" in arrays and arrays["y"].max() < 0:
            raise ValueError(f"{name} has no labelled pixel (all are negative); expected at least one")
    why = f"as the model has {shape[-1]} outputs"
    fix = "change the outputs or the labels, or give pixels without a label (often 255) a negative number"
    fault = outside("y", -np.inf, shape[-1] - 1, what="labels", why=why, fix=fix)
    return verified(splits, ("y",), fault), shape[-1]
