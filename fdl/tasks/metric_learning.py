"""Metric learning: embeddings in which rows of one label are near to each other."""

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from fdl import rng, shards
from fdl.arguments import Count, NotNegative, Positive, checked
from fdl.data import Augmentation, Splits
from fdl.data.splits import parts, prepared_row, row_of
from fdl.experiment import Batch, Experiment, Learner
from fdl.metrics import Mean, accuracy, mean
from fdl.models.heads import WithHead, unit
from fdl.tasks.accumulation import check_whole
from fdl.tasks.checks import check_labels, count_outputs
from fdl.tasks.columns import WEIGHT, class_weights, row_weights
from fdl.tasks.gradient import gradient_learner
from fdl.tasks.metric_losses import EmbeddingLoss, arcface_loss, distances, triplet
from fdl.tasks.neighbours import neighbour_accuracy
from fdl.tasks.predictions import applied, features_of, one_of_classes
from fdl.tasks.training import BatchTraining, experiment_over, task

Number = float | jax.Array
"""A hyper-parameter: a Python number, or a traced scalar."""


@task
def metric_learning(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    loss: EmbeddingLoss = triplet,
    augment: Augmentation | None = None,
    accumulate: Count = 1,
    **training: Unpack[BatchTraining],
) -> Experiment:
    """Learning embeddings from triplets or pairs of a batch's rows.

    Metrics of an evaluation, among the rows of one batch (512 at most), of all batches the mean
    weighted by their rows: `loss`; `recall_at_1`, the share of rows whose nearest other row of the
    batch, by Euclidean distance of the embeddings, has their label. Where rows count unequally, the loss
    weighs pairs and triplets (see `pair` and `triplet`), and a row counts in the recall what it weighs;
    whose neighbour it is, weighs nothing, but a row of weight 0 is no one's.

    Args:
      model: a Flax module, `model(x, train)`: `[B, ...]` to embeddings `[B, D]`.
      splits: `"x"` `[N, ...]`, integers `"y"` `[N]`, and, where rows count unequally, `"sample_weight"` float
        `[N]`. There are no class weights, as labels are no list of classes: weigh the rows by their labels.
      optimizer: any Optax transformation.
      loss: as `functools.partial(triplet, mining=semi_hard)`.
      augment: what is done to every training batch, or None.
      accumulate: 1: each row is compared with all others, so a batch is no sum of micro-batches.
      **training: `steps`, `batch_size` and others, see `fdl.tasks.training.BatchTraining`.

    Raises:
      ValueError: a count below 1, or labels that are no integers `[N]`.

    Example:
      >>> import numpy as np, optax
      >>> import fdl
      >>> from fdl import data, models, tasks
      >>> rows = {"x": np.zeros((8, 4), np.float32), "y": np.arange(8) % 3}
      >>> splits = data.Splits(train=rows, validation=rows, test=rows)
      >>> experiment = tasks.metric_learning(models.MLP((16,), 8), splits, optax.adam(1e-3), steps=100)
      >>> [name for name in fdl.check(experiment) if name.startswith("test")]
      ['test/loss', 'test/recall_at_1']
    """
    check_whole(accumulate, "each row is compared with all of the batch")
    learner = metric_learner(model, splits, optimizer, loss=loss)
    return experiment_over(
        learner, splits, augment=augment, accumulate=accumulate, columns=("x", "y", WEIGHT), **training
    )


@checked
def metric_learner(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    loss: EmbeddingLoss = triplet,
) -> Learner:
    """The learner of `metric_learning`; of `splits` only checks and a row's shape are made.

    Raises:
      ValueError: labels that are no integers `[N]`.
    """
    _check_integers(splits)
    row = prepared_row(splits)["x"]

    def objective(variables: Any, batch: Batch, key: jax.Array) -> tuple[Mean, Any]:
        embeddings, state = _train(model, variables, batch["x"], key)
        weight = _weights(batch)
        embeddings, labels, weight = shards.gathered((embeddings, batch["y"], weight))
        counts = jnp.any(weight > 0).astype(jnp.float32)
        value = Mean(loss(embeddings, labels, weight) * counts, counts)
        return value, ({"loss": value}, state)

    def evaluate(variables: Any, batch: Batch, key: jax.Array) -> Mapping[str, Mean]:
        weight = _weights(batch)
        embeddings = model.apply(variables, batch["x"], train=False, mutable=[])[0]
        value, total = loss(embeddings, batch["y"], weight), jnp.sum(weight)
        found = neighbour_accuracy(-distances(embeddings), batch["y"], weight)
        return {"loss": Mean(value * total, total), "recall_at_1": mean(found, weight)}

    predict = applied(model, lambda outputs: {"embedding": outputs})
    init = lambda key: _initial(model, row, key)  # noqa: E731
    return gradient_learner(init, objective, evaluate, optimizer, predict=predict)


@task
def arcface(
    model: WithHead,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    margin: NotNegative[Number] = 0.5,
    scale: Positive[Number] = 64.0,
    augment: Augmentation | None = None,
    class_weight: Sequence[NotNegative[Number]] | jax.Array | None = None,
    accumulate: Count = 1,
    **training: Unpack[BatchTraining],
) -> Experiment:
    """Learning embeddings from a classification by angles, with a margin.

    Metrics of an evaluation: `loss`, with the margin; `accuracy` of the largest cosine, without it;
    `recall_at_1`, the share of rows whose nearest other row of the batch (512 at most), by the cosine
    of the encoder's features, has their label. All are weighted by `sample_weight`, where a part has it;
    whose neighbour a row is, weighs nothing, but one of weight 0 is no one's.

    Args:
      model: a `WithHead` whose head is a `fdl.models.heads.CosineHead`.
      splits: `"x"` `[N, ...]`, integers `"y"` `[N]` from 0 to C - 1, and, where rows count unequally,
        `"sample_weight"` float `[N]`.
      optimizer: any Optax transformation.
      margin: see `fdl.tasks.metric_losses.arcface_loss`.
      scale: see there.
      augment: what is done to every training batch, or None.
      class_weight: what a row of each class counts in what is minimised, `[C]`, at least 0: the weighted
        mean. The metrics stay unweighted.
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
      >>> model = models.WithHead(models.MLP((16,), 8), models.CosineHead(outputs=3))
      >>> experiment = tasks.arcface(model, splits, optax.adam(1e-3), steps=100)
      >>> [name for name in fdl.check(experiment) if name.startswith("test")]
      ['test/accuracy', 'test/loss', 'test/recall_at_1']
    """
    splits = check_labels(model, splits)
    learner = arcface_learner(
        model,
        splits,
        optimizer,
        margin=margin,
        scale=scale,
        class_weight=class_weight,
        accumulate=accumulate,
    )
    return experiment_over(
        learner, splits, augment=augment, accumulate=accumulate, columns=("x", "y", WEIGHT), **training
    )


@checked
def arcface_learner(
    model: WithHead,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    margin: NotNegative[Number] = 0.5,
    scale: Positive[Number] = 64.0,
    class_weight: Sequence[NotNegative[Number]] | jax.Array | None = None,
    accumulate: Count = 1,
) -> Learner:
    """The learner of `arcface`; of `splits` only checks and a row's shape are made.

    Raises:
      ValueError: data that does not fit together or to the model.
    """
    check_labels(model, splits)
    row = prepared_row(splits)["x"]
    weigh = None if class_weight is None else class_weights(class_weight, count_outputs(model, splits))

    def init(key: jax.Array) -> Any:
        return _initial(model, row, key)

    def objective(variables: Any, batch: Batch, key: jax.Array) -> tuple[Mean, Any]:
        cosines, state = _train(model, variables, batch["x"], key)
        losses = arcface_loss(cosines, batch["y"], margin=margin, scale=scale)
        weight = _weights(batch)
        loss = mean(losses, weight)
        weighed = loss if weigh is None else mean(losses, weight * weigh(batch["y"]))
        return weighed, ({"loss": loss, "accuracy": mean(accuracy(cosines, batch["y"]), weight)}, state)

    def evaluate(variables: Any, batch: Batch, key: jax.Array) -> Mapping[str, Mean]:
        x, y, weight = batch["x"], batch["y"], _weights(batch)
        cosines = model.apply(variables, x, train=False, mutable=[])[0]
        features = unit(model.apply(variables, x, method="features", mutable=[])[0])
        rows = {
            "loss": arcface_loss(cosines, y, margin=margin, scale=scale),
            "accuracy": accuracy(cosines, y),
            "recall_at_1": neighbour_accuracy(features @ features.T, y, weight),
        }
        return {name: mean(values, weight) for name, values in rows.items()}

    def predict(variables: Any, batch: Batch) -> Mapping[str, jax.Array]:
        label = applied(model, one_of_classes)(variables, batch)["label"]
        return {"label": label, "embedding": unit(features_of(model)(variables, batch))}

    return gradient_learner(init, objective, evaluate, optimizer, accumulate=accumulate, predict=predict)


def _weights(batch: Batch) -> jax.Array:
    weight = row_weights(batch)
    return jnp.ones(len(batch["y"])) if weight is None else weight


def _initial(model: nn.Module, row: jax.ShapeDtypeStruct, key: jax.Array) -> Any:
    # Parameters depend on shapes alone, so one row of zeros makes them at the least cost.
    return model.init(key, jnp.zeros(row.shape, row.dtype), train=False)


def _train(model: nn.Module, variables: Any, x: jax.Array, key: jax.Array) -> tuple[jax.Array, Any]:
    """Outputs in training, and the collections after."""
    mutable = [name for name in variables if name != "params"]
    return model.apply(
        variables, x, train=True, rngs={"dropout": rng.stream(key, "dropout")}, mutable=mutable
    )


def _check_integers(splits: Splits) -> None:
    for name, part in parts(splits).items():
        y = row_of(part).get("y")
        if y is None or y.shape or not np.issubdtype(y.dtype, np.integer):
            what = "none" if y is None else f"{y.dtype}{['N', *y.shape]}"
            raise ValueError(f"{name} labels are {what}; expected integers [N]: convert them first")
