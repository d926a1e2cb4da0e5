"""Multi-label classification: any number of labels may hold for one row."""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from fdl.data import Augmentation, Splits
from fdl.data.verified import verified
from fdl.experiment import Experiment, Stopper
from fdl.tasks.checks import check_targets
from fdl.tasks.columns import WEIGHT
from fdl.tasks.gradient import experiment_over
from fdl.tasks.supervised import Number
from fdl.tasks.supervised import row_learner as row_learner


def multilabel(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    steps: int,
    batch_size: int = 64,
    evaluate_every: int | None = None,
    augment: Augmentation | None = None,
    l1: Number = 0.0,
    l2: Number = 0.0,
    accumulate: int = 1,
    stop: Stopper | None = None,
) -> Experiment:
    """Learning which of K labels hold for each row, by the cross-entropy of a sigmoid for each.

    What is minimised is the batch's mean loss plus `l1` and `l2` times the penalties. The metrics leave
    the penalties out: `loss` is the mean over rows and labels, in nats; `accuracy` the share of
    labels that are right; `subset_accuracy` the share of rows all of whose labels are.

    Args:
      model: a Flax module, `model(x, train=...)`: `[B, ...]` to logits `[B, K]`.
      splits: `"x"` `[N, ...]` and `"y"` float `[N, K]` (or `[N]` where K = 1), 1 where a label holds, else 0.
      optimizer: any Optax transformation.
      steps: updates in a run.
      batch_size: rows in a training batch.
      evaluate_every: steps between evaluations; a tenth of the run if None.
      augment: what is done to every training batch, or None.
      l1: factor of the sum of |w| over weight matrices.
      l2: factor of half the sum of w² over weight matrices.
      accumulate: micro-batches in which a batch is passed, see `fdl.tasks.accumulation.passed`.
      stop: early stopping, or None.

    Raises:
      ValueError: a count below 1, or data that does not fit together or to the model.
    """
    check_targets(model, splits)
    splits = verified(splits, ("y",), _not_zero_or_one)
    return experiment_over(
        row_learner(
            model, splits, optimizer, label_cross_entropy, _measures, l1=l1, l2=l2, accumulate=accumulate
        ),
        splits,
        steps=steps,
        batch_size=batch_size,
        evaluate_every=evaluate_every,
        augment=augment,
        accumulate=accumulate,
        stop=stop,
        columns=("x", "y", WEIGHT),
    )


def label_cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Cross-entropy of sigmoid(logits) `[B, K]` against labels `[B, K]` of 0 and 1, the mean over labels;
    `[B]`, in nats. As PyTorch's `binary_cross_entropy_with_logits` of each row."""
    return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, labels.reshape(logits.shape)), axis=-1)


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
