"""Distributionally robust learning over groups: the worst group's loss falls, and not the mean alone."""

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
def group_dro(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    groups: Count,
    step_size: NotNegative[Number] = 0.01,
    l2: NotNegative[Number] = 0.0,
    augment: Augmentation | None = None,
    **training: Unpack[BatchTraining],
) -> Experiment:
    """Learning to give each row one of C classes, so that the group with the largest loss has a small one.

    Sagawa et al. 2020, Distributionally Robust Neural Networks for Group Shifts, algorithm 1: each group has
    a weight; a step multiplies it by exp(`step_size` times the group's mean loss in the batch), makes the
    weights sum to 1, and descends on the sum of the groups' mean losses times their weights. As in their
    program a batch is drawn of all rows, and not of one group: a group that is not in it has a loss of 0
    there. Draw groups equally often by `splits._replace(sampling=data.balanced(group))`.

    The paper's gains hang on regularisation (its table 2): a net that learns every row by heart has no worst
    group in train. `l2`, and stopping early by `validation/worst_group_accuracy`, are part of the method.

    Metrics: `loss`, the mean cross-entropy over rows in nats, and `accuracy`; in evaluations also
    `worst_group_accuracy`, where a part tells groups.

    Args:
      model: a Flax module, `model(x, train=...)`: `[B, ...]` to logits `[B, C]`.
      splits: `"x"` float `[N, ...]`, `"y"` integers `[N]` from 0 to C - 1, `"group"` integers `[N]` from 0 to
        `groups` - 1, which validation and test need not have, and, where rows count unequally,
        `"sample_weight"`.
      optimizer: any Optax transformation.
      groups: how many groups there are.
      step_size: how fast weights move to the groups with large losses; with 0 all count alike.
      l2: factor of half the sum of w² over weight matrices.
      augment: what is done to every training batch, or None.
      **training: `steps`, `batch_size` and others, see `fdl.tasks.training.BatchTraining`.

    Raises:
      ValueError: a count below 1, data that does not fit together or to the model, or no groups in train.

    Example:
      >>> import numpy as np, optax
      >>> import fdl
      >>> from fdl import data, models, tasks
      >>> rows = {"x": np.zeros((8, 4), np.float32), "y": np.arange(8) % 3, "group": np.arange(8) % 2}
      >>> splits = data.Splits(train=rows, validation=rows, test=rows)
      >>> model, adam = models.MLP((16,), 3), optax.adam(1e-3)
      >>> experiment = tasks.group_dro(model, splits, adam, groups=2, steps=100)
      >>> [name for name in fdl.check(experiment) if name.startswith("test")]
      ['test/accuracy', 'test/loss', 'test/worst_group_accuracy']
    """
    learner = group_dro_learner(model, splits, optimizer, groups=groups, step_size=step_size, l2=l2)
    splits = check_groups(model, splits, groups)
    return experiment_over(learner, splits, augment=augment, columns=COLUMNS, **training)


@checked
def group_dro_learner(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    groups: Count,
    step_size: NotNegative[Number] = 0.01,
    l2: NotNegative[Number] = 0.0,
) -> Learner:
    """The learner of `group_dro`; of `splits` only checks and a row's shape are made. Its `State` has the
    logarithms of the groups' weights, `[G]`, in `model_state["group_dro"]`.

    Raises:
      ValueError: data that does not fit together or to the model, or no groups in train.
    """
    check_groups(model, splits, groups)

    def combine(
        params: Any, logits: jax.Array, labels: jax.Array, means: Means, before: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        each = means(losses.cross_entropy(logits, labels))
        after = jax.nn.log_softmax(before + step_size * jax.lax.stop_gradient(each))
        return jnp.sum(jnp.exp(after) * each) + l2 * losses.l2(params), after

    even = jnp.full((groups,), -jnp.log(groups))
    return group_learner(model, splits, optimizer, combine, even, groups=groups, name="group_dro")
