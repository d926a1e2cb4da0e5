"""Invariant risk minimisation: a classifier that is the best one for several environments at once."""

from typing import Any, Unpack

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from fdl import losses
from fdl.arguments import Count, NotNegative, checked
from fdl.data import Augmentation, Splits
from fdl.experiment import Experiment, Learner
from fdl.tasks.grouped import COLUMNS, Means, check_groups, group_learner
from fdl.tasks.supervised import Number
from fdl.tasks.training import BatchTraining, experiment_over, task


@task
def invariant_risk(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    groups: Count,
    penalty: NotNegative[Number],
    anneal: NotNegative[int | jax.Array] = 0,
    l2: NotNegative[Number] = 0.0,
    augment: Augmentation | None = None,
    **training: Unpack[BatchTraining],
) -> Experiment:
    """Learning to give each row one of C classes by what says the same of it in every environment (IRMv1).

    Arjovsky et al. 2019, Invariant Risk Minimization, sec. 3.1: what is minimised is the mean over
    environments of the cross-entropy plus `penalty` times the square of its derivative by a factor of the
    logits, at 1. As in their program the factor is 1 for the first `anneal` steps, and the whole is divided
    by `penalty` where that is above 1, so that a step stays as long. With `penalty=0` and environments of one
    size this is `classification`.

    It finds no causes: in the paper's own setting it uses what holds in the environments that it is given,
    and it fails where these are few or the net is not linear (Rosenfeld et al. 2021, The Risks of Invariant
    Risk Minimization; Gulrajani and Lopez-Paz 2021, In Search of Lost Domain Generalization).

    Metrics: `loss`, the mean cross-entropy over rows in nats, and `accuracy`; in evaluations also
    `worst_group_accuracy`, where a part tells environments.

    Args:
      model: a Flax module, `model(x, train=...)`: `[B, ...]` to logits `[B, C]`.
      splits: `"x"` float `[N, ...]`, `"y"` integers `[N]` from 0 to C - 1, `"group"`, the environment,
        integers `[N]` from 0 to `groups` - 1, which validation and test need not have, and, where rows count
        unequally, `"sample_weight"`.
      optimizer: any Optax transformation.
      groups: how many environments there are.
      penalty: the factor of the penalty.
      anneal: steps before that.
      l2: factor of half the sum of w² over weight matrices.
      augment: what is done to every training batch, or None.
      **training: `steps`, `batch_size` and others, see `fdl.tasks.training.BatchTraining`. The penalty is of
        the batch's rows, and too large in small ones; the paper's batches are all rows.

    Raises:
      ValueError: a count below 1, data that does not fit together or to the model, or no environments in
        train.

    Example:
      >>> import numpy as np, optax
      >>> import fdl
      >>> from fdl import data, models, tasks
      >>> rows = {"x": np.zeros((8, 4), np.float32), "y": np.arange(8) % 3, "group": np.arange(8) % 2}
      >>> splits = data.Splits(train=rows, validation=rows, test=rows)
      >>> model, adam = models.MLP((16,), 3), optax.adam(1e-3)
      >>> experiment = tasks.invariant_risk(model, splits, adam, groups=2, penalty=100.0, steps=100)
      >>> [name for name in fdl.check(experiment) if name.startswith("test")]
      ['test/accuracy', 'test/loss', 'test/worst_group_accuracy']
    """
    learner = invariant_risk_learner(
        model, splits, optimizer, groups=groups, penalty=penalty, anneal=anneal, l2=l2
    )
    splits = check_groups(model, splits, groups)
    return experiment_over(learner, splits, augment=augment, columns=COLUMNS, **training)


@checked
def invariant_risk_learner(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    groups: Count,
    penalty: NotNegative[Number],
    anneal: NotNegative[int | jax.Array] = 0,
    l2: NotNegative[Number] = 0.0,
) -> Learner:
    """The learner of `invariant_risk`; of `splits` only checks and a row's shape are made. Its `State` has
    the number of steps in `model_state["invariant_risk"]`.

    Raises:
      ValueError: data that does not fit together or to the model, or no environments in train.
    """
    check_groups(model, splits, groups)

    def combine(
        params: Any, logits: jax.Array, labels: jax.Array, means: Means, before: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        risk = jnp.mean(means(losses.cross_entropy(logits, labels)))
        slopes = means(scale_slope(logits, labels))
        factor = jnp.where(before < anneal, 1.0, penalty)
        value = risk + l2 * losses.l2(params) + factor * jnp.mean(jnp.square(slopes))
        return value / jnp.maximum(factor, 1.0), before + 1

    start = jnp.zeros((), jnp.int32)
    return group_learner(model, splits, optimizer, combine, start, groups=groups, name="invariant_risk")


def scale_slope(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The derivative of each row's cross-entropy by a factor of the logits, at 1, `[B]`: what the logits are
    on average, by the chances that they give, less that of the label.

    Args:
      logits: `[B, C]`.
      labels: integers `[B]` from 0 to C - 1.
    """
    mine = jnp.take_along_axis(logits, labels[:, None], axis=-1)[:, 0]
    return jnp.sum(jax.nn.softmax(logits) * logits, axis=-1) - mine
