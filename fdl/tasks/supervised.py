"""Supervised learning: a model's outputs compared with targets, row by row."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from fdl import losses, metrics, rng
from fdl.arguments import Count, NotNegative, Share, checked
from fdl.data import Augmentation, Splits
from fdl.data.splits import prepared_row
from fdl.experiment import Experiment, Learner
from fdl.tasks.checks import check_labels, check_targets, count_outputs
from fdl.tasks.columns import WEIGHT, class_weights, row_weights
from fdl.tasks.gradient import Penalty, gradient_learner
from fdl.tasks.predictions import Says, applied, one_of_classes, quantities_of
from fdl.tasks.private_gradient import Privacy
from fdl.tasks.training import BatchTraining, experiment_over, task

Number = float | jax.Array
"""A hyper-parameter: a Python number, or a traced scalar."""
RowLoss = Callable[[jax.Array, jax.Array], jax.Array]
"""`loss(outputs, targets)`, `[B, K]` and `[B, ...]` to `[B]`."""
Measures = Callable[[jax.Array, jax.Array], Mapping[str, jax.Array]]
"""Metrics by name, each of the form of a `RowLoss`."""


@task
def classification(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    augment: Augmentation | None = None,
    label_smoothing: Share[Number] = 0.0,
    class_weight: Sequence[NotNegative[Number]] | jax.Array | None = None,
    l1: NotNegative[Number] = 0.0,
    l2: NotNegative[Number] = 0.0,
    accumulate: Count = 1,
    **training: Unpack[BatchTraining],
) -> Experiment:
    """Learning to give each row one of C classes, by cross-entropy.

    What is minimised is the batch's mean cross-entropy with smoothed labels, plus `l1` and `l2`
    times the penalties. The metrics leave smoothing, class weights and penalties out, so that arms which
    differ in them stay comparable: `loss` is the mean cross-entropy in nats, `accuracy` a share from 0 to 1.
    All means are weighted by `sample_weight`, where a part has it.

    Args:
      model: a Flax module, `model(x, train=...)`: `[B, ...]` to logits `[B, C]`.
      splits: `"x"` float `[N, ...]` (or a dictionary of inputs, which the model gets as such), `"y"` integers
        `[N]` from 0 to C - 1, and, where rows count unequally, `"sample_weight"` float `[N]`, see
        `fdl.tasks.columns.row_weights`.
      optimizer: any Optax transformation.
      augment: what is done to every training batch, as `fdl.data.flip_horizontal()`, or None.
      label_smoothing: see `fdl.losses.cross_entropy`.
      class_weight: what a row of each class counts in what is minimised, `[C]`, at least 0: the weighted mean
        of PyTorch's `CrossEntropyLoss(weight=...)`; a mixed label counts the mean of its classes.
      l1: factor of the sum of |w| over weight matrices.
      l2: factor of half the sum of w² over weight matrices.
      accumulate: micro-batches in which a batch is passed, see `fdl.tasks.accumulation.passed`.
      **training: `steps`, `batch_size` and others, see `fdl.tasks.training.BatchTraining`.

    Raises:
      ValueError: a count below 1, or data that does not fit together or to the model.

    Example:
      >>> import numpy as np, optax
      >>> import fdl
      >>> from fdl import data, models, tasks
      >>> rows = {"x": np.zeros((8, 4), np.float32), "y": np.arange(8) % 3}
      >>> splits = data.Splits(train=rows, validation=rows, test=rows)
      >>> experiment = tasks.classification(models.MLP((16,), 3), splits, optax.adam(1e-3), steps=100)
      >>> [name for name in fdl.check(experiment) if name.startswith("test")]
      ['test/accuracy', 'test/loss']
    """
    splits = check_labels(model, splits)
    learner = classification_learner(
        model,
        splits,
        optimizer,
        label_smoothing=label_smoothing,
        class_weight=class_weight,
        l1=l1,
        l2=l2,
        accumulate=accumulate,
    )
    return experiment_over(
        learner, splits, augment=augment, accumulate=accumulate, columns=("x", "y", WEIGHT), **training
    )


@checked
def classification_learner(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    label_smoothing: Share[Number] = 0.0,
    class_weight: Sequence[NotNegative[Number]] | jax.Array | None = None,
    l1: NotNegative[Number] = 0.0,
    l2: NotNegative[Number] = 0.0,
    accumulate: Count = 1,
) -> Learner:
    """The learner of `classification`; of `splits` only checks and a row's shape are made.

    Raises:
      ValueError: data that does not fit together or to the model.

    Example:
      >>> import jax, numpy as np, optax
      >>> from fdl import data, models, tasks
      >>> rows = {"x": np.zeros((8, 4), np.float32), "y": np.arange(8) % 3}
      >>> splits = data.Splits(train=rows, validation=rows, test=rows)
      >>> learner = tasks.classification_learner(models.MLP((16,), 3), splits, optax.adam(1e-3))
      >>> state = jax.eval_shape(learner.init, jax.random.key(0))
      >>> _, metrics = jax.eval_shape(learner.step, state, rows, jax.random.key(0))
      >>> sorted(metrics)
      ['accuracy', 'loss', 'update_norm']
    """
    check_labels(model, splits)

    def loss(logits: jax.Array, labels: jax.Array) -> jax.Array:
        return losses.cross_entropy(logits, labels, label_smoothing=label_smoothing)

    def measures(logits: jax.Array, labels: jax.Array) -> Mapping[str, jax.Array]:
        return {"loss": losses.cross_entropy(logits, labels), "accuracy": metrics.accuracy(logits, labels)}

    weigh = None if class_weight is None else class_weights(class_weight, count_outputs(model, splits))
    return row_learner(
        model,
        splits,
        optimizer,
        loss,
        measures,
        l1=l1,
        l2=l2,
        accumulate=accumulate,
        weigh=weigh,
        says=one_of_classes,
    )


@task
def regression(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    augment: Augmentation | None = None,
    l1: NotNegative[Number] = 0.0,
    l2: NotNegative[Number] = 0.0,
    accumulate: Count = 1,
    **training: Unpack[BatchTraining],
) -> Experiment:
    """Learning to predict K numbers for each row, by squared error.

    What is minimised is the batch's mean squared error plus `l1` and `l2` times the penalties. The
    metrics leave the penalties out: `loss` is the mean squared error, `absolute_error` the mean
    absolute one, in the targets' own unit (squared for `loss`).

    Args:
      model: a Flax module, `model(x, train=...)`: `[B, ...]` to predictions `[B, K]`.
      splits: `"x"` float `[N, ...]` and `"y"` float `[N, K]`, or another shape of K numbers a row, as
        `[N]` where K = 1, or the `[N, H, C]` of `fdl.data.series`; and, where rows count
        unequally, `"sample_weight"` float `[N]`, by which all means are weighted.
      optimizer: any Optax transformation.
      augment: what is done to every training batch, as `fdl.data.flip_horizontal()`, or None.
      l1: factor of the sum of |w| over weight matrices.
      l2: factor of half the sum of w² over weight matrices.
      accumulate: micro-batches in which a batch is passed, see `fdl.tasks.accumulation.passed`.
      **training: `steps`, `batch_size` and others, see `fdl.tasks.training.BatchTraining`.

    Raises:
      ValueError: a count below 1, or data that does not fit together or to the model.

    Example:
      >>> import numpy as np, optax
      >>> import fdl
      >>> from fdl import data, models, tasks
      >>> rows = {"x": np.zeros((8, 4), np.float32), "y": np.zeros(8, np.float32)}
      >>> splits = data.Splits(train=rows, validation=rows, test=rows)
      >>> experiment = tasks.regression(models.MLP((16,), 1), splits, optax.adam(1e-3), steps=100)
      >>> [name for name in fdl.check(experiment) if name.startswith("test")]
      ['test/absolute_error', 'test/loss']
    """
    learner = regression_learner(model, splits, optimizer, l1=l1, l2=l2, accumulate=accumulate)
    return experiment_over(
        learner, splits, augment=augment, accumulate=accumulate, columns=("x", "y", WEIGHT), **training
    )


@checked
def regression_learner(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    l1: NotNegative[Number] = 0.0,
    l2: NotNegative[Number] = 0.0,
    accumulate: Count = 1,
) -> Learner:
    """The learner of `regression`; of `splits` only checks and a row's shape are made.

    Raises:
      ValueError: data that does not fit together or to the model.
    """
    check_targets(model, splits)

    def loss(predictions: jax.Array, targets: jax.Array) -> jax.Array:
        return losses.squared_error(predictions.reshape(targets.shape), targets)

    def measures(predictions: jax.Array, targets: jax.Array) -> Mapping[str, jax.Array]:
        error = losses.absolute_error(predictions.reshape(targets.shape), targets)
        return {"loss": loss(predictions, targets), "absolute_error": error}

    says = quantities_of(prepared_row(splits)["y"].shape[1:])
    return row_learner(
        model, splits, optimizer, loss, measures, l1=l1, l2=l2, accumulate=accumulate, says=says
    )


def row_learner(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    loss: RowLoss,
    measures: Measures,
    *,
    l1: NotNegative[Number],
    l2: NotNegative[Number],
    accumulate: Count = 1,
    weigh: Callable[[jax.Array], jax.Array] | None = None,
    says: Says | None = None,
    privacy: Privacy | None = None,
) -> Learner:
    """The three functions; of `splits` only the shape of a row matters. `weigh(targets)`, `[B]`, is what rows
    count in the loss that is minimised, but not in metrics; `says(outputs)` is what it predicts, if any;
    `privacy` is as in `gradient_learner`."""
    row = prepared_row(splits)["x"]

    def init(key: jax.Array) -> Any:
        # Parameters depend on shapes alone, so one row of zeros makes them at the least cost.
        return model.init(key, jax.tree.map(lambda one: jnp.zeros(one.shape, one.dtype), row), train=False)

    def objective(variables: Any, batch: Any, key: jax.Array) -> tuple[metrics.Mean, Any]:
        mutable = [name for name in variables if name != "params"]
        rngs = {"dropout": rng.stream(key, "dropout")}
        outputs, model_state = model.apply(variables, batch["x"], train=True, rngs=rngs, mutable=mutable)
        weight = row_weights(batch)
        means = {name: metrics.mean(rows, weight) for name, rows in measures(outputs, batch["y"]).items()}
        if weigh is not None:
            weight = weigh(batch["y"]) if weight is None else weight * weigh(batch["y"])
        return metrics.mean(loss(outputs, batch["y"]), weight), (means, model_state)

    def evaluate(variables: Any, batch: Any, key: jax.Array) -> dict[str, metrics.Mean]:
        outputs, _ = model.apply(variables, batch["x"], train=False, mutable=[])
        rows = measures(outputs, batch["y"])
        return {name: metrics.mean(values, row_weights(batch)) for name, values in rows.items()}

    penalty = _penalty(l1=l1, l2=l2)
    predict = None if says is None else applied(model, says)
    return gradient_learner(
        init,
        objective,
        evaluate,
        optimizer,
        penalty=penalty,
        accumulate=accumulate,
        predict=predict,
        privacy=privacy,
    )


def _penalty(*, l1: Number, l2: Number) -> Penalty | None:
    """l1 and l2 times their penalties; a Python 0 adds nothing to the program."""
    factors = ((l1, losses.l1), (l2, losses.l2))
    used = [(c, f) for c, f in factors if isinstance(c, jax.Array) or c != 0]
    return (lambda params: sum((c * f(params) for c, f in used), jnp.zeros(()))) if used else None
