"""Classification by DP-SGD: what is learned tells little of whether any one row was there."""

from typing import Any, Unpack

import flax.linen as nn
import jax
import optax

from fdl import losses, metrics
from fdl.arguments import Count, NotNegative, Positive, checked
from fdl.data import Splits, poisson_sampled, sources
from fdl.data.splits import inputs_of, size_of
from fdl.experiment import Batch, Experiment, Learner, Source
from fdl.tasks.checks import check_labels
from fdl.tasks.columns import checked_columns
from fdl.tasks.predictions import one_of_classes
from fdl.tasks.privacy_accounting import capacity
from fdl.tasks.private_gradient import Privacy
from fdl.tasks.supervised import row_learner
from fdl.tasks.training import BatchTraining, experiment_from, task

Number = float | jax.Array
"""A hyper-parameter: a Python number, or a traced scalar."""
_PLACES = 8  # a batch's places are a multiple of so many, that they may be split over as many devices


@task
def private_classification(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    clip: Positive[Number] = 1.0,
    noise_multiplier: NotNegative[Number],
    l2: NotNegative[Number] = 0.0,
    accumulate: Count = 1,
    **training: Unpack[BatchTraining],
) -> Experiment:
    """Learning to give each row one of C classes, by DP-SGD (Abadi et al. 2016, Deep Learning with
    Differential Privacy, algorithm 1).

    Each step draws every row of train with chance `batch_size` / N (`fdl.data.poisson_sampled`), clips each
    row's gradient of the cross-entropy, adds noise to their sum, and divides it by `batch_size`. What a run
    spends is said by `privacy_spent`, and the noise for an epsilon by `noise_multiplier_for`. It is of the
    parameters alone, not of the metrics of training batches: see `docs/howto/privacy.md`.

    There are no augmentations, sampling, or weights of rows or classes; `prepare` is done to each row by
    itself. Parameters need memory for each row of a micro-batch.

    Args:
      model: a Flax module, `model(x, train=...)`: `[B, ...]` to logits `[B, C]`, that keeps nothing but
        parameters (no batch norm).
      splits: `"x"` float `[N, ...]`, in memory, and `"y"` integers `[N]` from 0 to C - 1.
      optimizer: any Optax transformation that needs the gradient alone.
      clip: C, what the Euclidean norm of a row's gradient is cut to.
      noise_multiplier: the noise's deviation over `clip`; with 0 nothing is private.
      l2: factor of half the sum of w² over weight matrices.
      accumulate: micro-batches, of which each row's gradient is kept at a time.
      **training: `steps`, `batch_size`, the rows of a batch on average, and others, see
        `fdl.tasks.training.BatchTraining`.

    Raises:
      ValueError: a count below 1, data that does not fit together or to the model, or that is weighted.

    Example:
      >>> import numpy as np, optax
      >>> import fdl
      >>> from fdl import data, models, tasks
      >>> rows = {"x": np.zeros((80, 4), np.float32), "y": np.arange(80) % 3}
      >>> splits = data.Splits(train=rows, validation=rows, test=rows)
      >>> experiment = tasks.private_classification(
      ...     models.MLP((16,), 3), splits, optax.sgd(0.1), noise_multiplier=2.0, steps=100, batch_size=20
      ... )
      >>> [name for name in fdl.check(experiment) if name.startswith("train")]
      ['train/accuracy', 'train/clipped', 'train/loss', 'train/update_norm']
    """
    splits = check_labels(model, splits)
    batch_size = training.get("batch_size", 64)
    learner = private_classification_learner(
        model,
        splits,
        optimizer,
        batch_size=batch_size,
        clip=clip,
        noise_multiplier=noise_multiplier,
        l2=l2,
        accumulate=accumulate,
    )
    splits = checked_columns(splits, ("x", "y"), None)
    if splits.sampling is not None:
        raise ValueError("the data set has sampling weights; expected none: DP-SGD draws rows by one chance")
    steps = training["steps"]
    places = capacity(size_of(splits.train), batch_size, steps, multiple=_PLACES * accumulate)
    train = _row_by_row(poisson_sampled(splits.train, batch_size=batch_size, capacity=places), splits)
    options: Any = {name: value for name, value in training.items() if name != "batch_size"}
    _, evaluation = sources(splits, batch_size=batch_size)
    return experiment_from(learner, train, evaluation, **options)._replace(inputs=inputs_of(splits))


@checked
def private_classification_learner(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    batch_size: Count,
    clip: Positive[Number] = 1.0,
    noise_multiplier: NotNegative[Number],
    l2: NotNegative[Number] = 0.0,
    accumulate: Count = 1,
) -> Learner:
    """The learner of `private_classification`; of `splits` only checks and a row's shape are made. It is
    private for batches of `fdl.data.poisson_sampled` with that `batch_size`.

    Raises:
      ValueError: data that does not fit together or to the model, or an optimizer that leaves parameters as
        they are.
    """
    check_labels(model, splits)

    def measures(logits: jax.Array, labels: jax.Array) -> dict[str, jax.Array]:
        return {"loss": losses.cross_entropy(logits, labels), "accuracy": metrics.accuracy(logits, labels)}

    return row_learner(
        model,
        splits,
        optimizer,
        losses.cross_entropy,
        measures,
        l1=0.0,
        l2=l2,
        accumulate=accumulate,
        says=one_of_classes,
        privacy=Privacy(clip, noise_multiplier, batch_size),
    )


def _row_by_row(source: Source, splits: Splits) -> Source:
    """The source, each of whose rows is prepared by itself, so that no row is in what another becomes."""
    prepare = splits.prepare
    if prepare is None:
        return source

    def alone(row: Batch) -> Batch:
        return jax.tree.map(lambda leaf: leaf[0], prepare(jax.tree.map(lambda leaf: leaf[None], row)))

    return source._replace(batch=lambda *given: jax.vmap(alone)(source.batch(*given)))
