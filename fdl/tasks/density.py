"""Conditional density: what the targets of an input are likely to be, not only their mean."""

from collections.abc import Callable, Mapping
from typing import Any, Unpack

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from fdl.arguments import Count, NotNegative, checked
from fdl.data import Augmentation, Splits
from fdl.data.splits import parts, prepared_row, row_of, size_of
from fdl.experiment import Experiment, Learner
from fdl.models import mixture_density
from fdl.tasks.columns import WEIGHT
from fdl.tasks.inputs import output_shapes
from fdl.tasks.supervised import Number
from fdl.tasks.supervised import row_learner as row_learner
from fdl.tasks.training import BatchTraining, experiment_over, task


@task
def conditional_density(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    log_likelihood: Callable[[Any, jax.Array], jax.Array] = mixture_density.log_likelihood,
    augment: Augmentation | None = None,
    l1: NotNegative[Number] = 0.0,
    l2: NotNegative[Number] = 0.0,
    accumulate: Count = 1,
    **training: Unpack[BatchTraining],
) -> Experiment:
    """Learning the density of targets given inputs, by maximum likelihood.

    What is minimised is the batch's mean negative log-likelihood plus `l1` and `l2` times the penalties;
    the metric `loss` leaves the penalties out, in nats.

    Args:
      model: a Flax module, `model(x, train=...)`: `[B, ...]` to densities, as `MixtureDensity`.
      splits: `"x"` `[N, ...]` and `"y"` float `[N, T]`, or another shape of T numbers a row.
      optimizer: any Optax transformation.
      log_likelihood: `log_likelihood(densities, y) -> [B]`, of the model's densities at targets `[B, T]`.
      augment: what is done to every training batch, or None.
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
      >>> rows = {"x": np.zeros((8, 4), np.float32), "y": np.zeros((8, 1), np.float32)}
      >>> splits = data.Splits(train=rows, validation=rows, test=rows)
      >>> model = models.MixtureDensity(models.MLP((16,), 16), targets=1)
      >>> experiment = tasks.conditional_density(model, splits, optax.adam(1e-3), steps=100)
      >>> fdl.check(experiment)
      ('train/loss', 'train/update_norm', 'test/loss', 'validation/loss')
    """
    learner = density_learner(
        model, splits, optimizer, log_likelihood=log_likelihood, l1=l1, l2=l2, accumulate=accumulate
    )
    return experiment_over(
        learner, splits, augment=augment, accumulate=accumulate, columns=("x", "y", WEIGHT), **training
    )


@checked
def density_learner(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    log_likelihood: Callable[[Any, jax.Array], jax.Array] = mixture_density.log_likelihood,
    l1: NotNegative[Number] = 0.0,
    l2: NotNegative[Number] = 0.0,
    accumulate: Count = 1,
) -> Learner:
    """The learner of `conditional_density`, for any source of its rows; of `splits` only checks and a row's
    shape are made.

    Raises:
      ValueError: data that does not fit together or to the model.
    """
    check_densities(model, splits, log_likelihood)

    def loss(densities: Any, targets: jax.Array) -> jax.Array:
        return -log_likelihood(densities, targets.reshape(len(targets), -1))

    def measures(densities: Any, targets: jax.Array) -> Mapping[str, jax.Array]:
        return {"loss": loss(densities, targets)}

    shape = prepared_row(splits)["y"].shape[1:]

    def says(mixture: mixture_density.Mixture) -> Mapping[str, jax.Array]:
        deviation = mixture_density.deviation(mixture).reshape(-1, *shape)
        return {"prediction": mixture_density.mean(mixture).reshape(-1, *shape), "deviation": deviation}

    mixes = log_likelihood is mixture_density.log_likelihood  # of others it is not known what they say
    return row_learner(
        model,
        splits,
        optimizer,
        loss,
        measures,
        l1=l1,
        l2=l2,
        accumulate=accumulate,
        says=says if mixes else None,
    )


def check_densities(
    model: nn.Module, splits: Splits, log_likelihood: Callable[[Any, jax.Array], jax.Array]
) -> None:
    """Raises `ValueError` unless every part has float targets whose likelihood the model can say."""
    wanted = row_of(splits.train)["y"].shape
    for name, split in parts(splits).items():
        y = row_of(split)["y"]
        shape = [size_of(split), *y.shape]
        if not np.issubdtype(y.dtype, np.floating) or y.shape != wanted:
            raise ValueError(
                f"{name} targets are {y.dtype}{shape}; expected floats [N, T], T as in train: reshape them"
            )
    row = prepared_row(splits)
    x = jnp.zeros(row["x"].shape, row["x"].dtype)
    densities = output_shapes(model, x)
    try:
        shape = jax.eval_shape(lambda d, y: log_likelihood(d, y.reshape(1, -1)), densities, row["y"]).shape
    except (TypeError, ValueError) as error:
        shape = str(error).splitlines()[0]
    if shape != (1,):
        raise ValueError(
            f"the log-likelihood of one row of targets {list(wanted)} gives {shape}; expected one number: "
            "let the model have as many targets as the data"
        )
