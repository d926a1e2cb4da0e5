"""Multi-label classification: any number of labels may hold for one row."""

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from fdl.arguments import Count, NotNegative, checked
from fdl.data import Augmentation, Splits
from fdl.data.verified import verified
from fdl.experiment import Experiment, Learner
from fdl.tasks.checks import check_targets, count_outputs
from fdl.tasks.columns import WEIGHT, checked_class_weights
from fdl.tasks.predictions import any_of_labels
from fdl.tasks.supervised import Number, RowLoss
from fdl.tasks.supervised import row_learner as row_learner
from fdl.tasks.training import BatchTraining, experiment_over, task


@task
def multilabel(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    augment: Augmentation | None = None,
    class_weight: Sequence[NotNegative[Number]] | jax.Array | None = None,
    l1: NotNegative[Number] = 0.0,
    l2: NotNegative[Number] = 0.0,
    accumulate: Count = 1,
    **training: Unpack[BatchTraining],
) -> Experiment:
    """Learning which of K labels hold for each row, by the cross-entropy of a sigmoid for each.

    What is minimised is the batch's mean loss plus `l1` and `l2` times the penalties. The metrics leave
    the penalties out: `loss` is the mean over rows and labels, in nats; `accuracy` the share of
    labels that are right; `subset_accuracy` the share of rows all of whose labels are.

    Args:
      model: a Flax module, `model(x, train=...)`: `[B, ...]` to logits `[B, K]`.
      splits: `"x"` `[N, ...]` and `"y"` float `[N, K]` (or `[N]` where K = 1), 1 where a label holds, else 0.
      optimizer: any Optax transformation.
      augment: what is done to every training batch, or None.
      class_weight: what each label counts in what is minimised, `[K]`, at least 0: the weighted mean over
        labels. The metrics stay unweighted.
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
      >>> rows = {"x": np.zeros((8, 4), np.float32), "y": np.ones((8, 3), np.float32)}
      >>> splits = data.Splits(train=rows, validation=rows, test=rows)
      >>> experiment = tasks.multilabel(models.MLP((16,), 3), splits, optax.adam(1e-3), steps=100)
      >>> [name for name in fdl.check(experiment) if name.startswith("test")]
      ['test/accuracy', 'test/loss', 'test/subset_accuracy']
    """
    learner = multilabel_learner(
        model, splits, optimizer, class_weight=class_weight, l1=l1, l2=l2, accumulate=accumulate
    )
    splits = verified(splits, ("y",), _not_zero_or_one)
    return experiment_over(
        learner, splits, augment=augment, accumulate=accumulate, columns=("x", "y", WEIGHT), **training
    )


@checked
def multilabel_learner(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    class_weight: Sequence[NotNegative[Number]] | jax.Array | None = None,
    l1: NotNegative[Number] = 0.0,
    l2: NotNegative[Number] = 0.0,
    accumulate: Count = 1,
) -> Learner:
    """The learner of `multilabel`; of `splits` only checks and a row's shape are made.

    Raises:
      ValueError: data that does not fit together or to the model.
    """
    check_targets(model, splits)
    loss = label_cross_entropy if class_weight is None else _weighted(model, splits, class_weight)
    return row_learner(
        model, splits, optimizer, loss, _measures, l1=l1, l2=l2, accumulate=accumulate, says=any_of_labels
    )


def _weighted(model: nn.Module, splits: Splits, class_weight: Any) -> RowLoss:
    """`label_cross_entropy` with the mean over labels weighted."""
    weights = checked_class_weights(class_weight, count_outputs(model, splits))
    return lambda logits, labels: _each(logits, labels) @ weights / jnp.sum(weights)


def label_cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Cross-entropy of sigmoid(logits) `[B, K]` against labels `[B, K]` of 0 and 1, the mean over labels;
    `[B]`, in nats. As PyTorch's `binary_cross_entropy_with_logits` of each row."""
    return jnp.mean(_each(logits, labels), axis=-1)


def _each(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return optax.sigmoid_binary_cross_entropy(logits, labels.reshape(logits.shape))


def _measures(logits: jax.Array, labels: jax.Array) -> Mapping[str, jax.Array]:
    right = (logits > 0) == (labels.reshape(logits.shape) > 0.5)
    return {
        "loss": label_cross_entropy(logits, labels),
        "accuracy": jnp.mean(right, axis=-1),
        "subset_accuracy": jnp.all(right, axis=-1).astype(jnp.float32),
    }


def _not_zero_or_one(rows: Mapping[str, np.ndarray]) -> tuple[int, str] | None:
    """The `Fault` of labels that are neither."""
    y = np.asarray(rows["y"])
    wrong = ~((y == 0) | (y == 1)).reshape(len(y), -1).all(axis=1)
    if not wrong.any():
        return None
    return int(np.argmax(wrong)), (
        f"labels go from {y.min()} to {y.max()}; expected only 0 and 1 ({{row}} has others): change them"
    )
