"""Adversarial training: classification of rows that are moved, within a ball, to where the loss is high."""

from typing import Any, Unpack

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from fdl import attacks, losses, metrics, rng
from fdl.arguments import Count, NotNegative, checked
from fdl.data import Augmentation, Splits
from fdl.data.splits import prepared_row
from fdl.experiment import Batch, Experiment, Learner
from fdl.tasks.checks import check_labels
from fdl.tasks.columns import WEIGHT, row_weights
from fdl.tasks.gradient import gradient_learner
from fdl.tasks.predictions import applied, one_of_classes
from fdl.tasks.supervised import Number
from fdl.tasks.training import BatchTraining, experiment_over, task

_START = "start"


@task
def adversarial_training(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    epsilon: NotNegative[Number],
    attack_steps: Count = 10,
    attack_step: NotNegative[Number] | None = None,
    low: Number = 0.0,
    high: Number = 1.0,
    augment: Augmentation | None = None,
    accumulate: Count = 1,
    **training: Unpack[BatchTraining],
) -> Experiment:
    """Learning to give each row one of C classes wherever it is moved to in a ball of the maximum norm.

    Madry et al. 2018, Towards Deep Learning Models Resistant to Adversarial Attacks, sec. 2: each step
    moves every row by projected gradient ascent (`fdl.analysis.pgd`), and descends on the cross-entropy of
    the moved rows alone. The attack sees the net as it is evaluated: without dropout, and with running
    statistics.

    `train/loss` and `train/accuracy` are of the moved rows. An evaluation has `loss` and `accuracy` of the
    rows as they came, and `robust_loss` and `robust_accuracy` of those that the same attack moved: a stronger
    one finds less robustness, see `fdl check`.

    Args:
      model: a Flax module, `model(x, train=...)`: `[B, ...]` to logits `[B, C]`.
      splits: `"x"` float `[N, ...]`, `"y"` integers `[N]` from 0 to C - 1, and, where rows count unequally,
        `"sample_weight"`.
      optimizer: any Optax transformation.
      epsilon: how far each number of x may be moved, in the unit of x as the model gets it; with 0 this is
        `classification`.
      attack_steps: steps of the attack; each costs a pass forward and back.
      attack_step: their length; `2.5 * epsilon / attack_steps` if None.
      low: the least value that a number of x can have.
      high: the largest.
      augment: what is done to every training batch, as `fdl.data.flip_horizontal()`, or None.
      accumulate: micro-batches in which a batch is passed, see `fdl.tasks.accumulation.passed`.
      **training: `steps`, `batch_size` and others, see `fdl.tasks.training.BatchTraining`.

    Raises:
      ValueError: a count below 1, a negative length, x that is no array of floats, or data that does not fit
        together or to the model.

    Example:
      >>> import numpy as np, optax
      >>> import fdl
      >>> from fdl import data, models, tasks
      >>> rows = {"x": np.zeros((8, 4), np.float32), "y": np.arange(8) % 3}
      >>> splits = data.Splits(train=rows, validation=rows, test=rows)
      >>> model, adam = models.MLP((16,), 3), optax.adam(1e-3)
      >>> experiment = tasks.adversarial_training(model, splits, adam, epsilon=0.1, steps=100)
      >>> [name for name in fdl.check(experiment) if name.startswith("test")]
      ['test/accuracy', 'test/loss', 'test/robust_accuracy', 'test/robust_loss']
    """
    splits = check_labels(model, splits)
    learner = adversarial_training_learner(
        model,
        splits,
        optimizer,
        epsilon=epsilon,
        attack_steps=attack_steps,
        attack_step=attack_step,
        low=low,
        high=high,
        accumulate=accumulate,
    )
    return experiment_over(
        learner, splits, augment=augment, accumulate=accumulate, columns=("x", "y", WEIGHT), **training
    )


@checked
def adversarial_training_learner(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    epsilon: NotNegative[Number],
    attack_steps: Count = 10,
    attack_step: NotNegative[Number] | None = None,
    low: Number = 0.0,
    high: Number = 1.0,
    accumulate: Count = 1,
) -> Learner:
    """The learner of `adversarial_training`; of `splits` only checks and a row's shape are made.

    Raises:
      ValueError: x that is no array of floats, or data that does not fit together or to the model.
    """
    check_labels(model, splits)
    row = prepared_row(splits)["x"]
    if not isinstance(row, jax.ShapeDtypeStruct) or not jnp.issubdtype(row.dtype, jnp.floating):
        came = row.dtype if isinstance(row, jax.ShapeDtypeStruct) else f"a {type(row).__name__}"
        raise ValueError(f"x is {came}; expected one array of floats, whose numbers an attack can move")
    length = 2.5 * epsilon / attack_steps if attack_step is None else attack_step

    def init(key: jax.Array) -> Any:
        return model.init(key, jnp.zeros(row.shape, row.dtype), train=False)

    def moved(variables: Any, batch: Batch, start: jax.Array) -> jax.Array:
        # An attack is no function of the parameters that are learned: they are given.
        given = jax.lax.stop_gradient(variables)

        def loss(x: jax.Array, y: jax.Array) -> jax.Array:
            return losses.cross_entropy(model.apply(given, x, train=False, mutable=[])[0], y)

        of = {"epsilon": epsilon, "step": length, "steps": attack_steps, "low": low, "high": high}
        return jax.lax.stop_gradient(attacks.pgd_from(loss, batch["x"], batch["y"], start, **of))

    def objective(variables: Any, batch: Batch, key: jax.Array) -> tuple[metrics.Mean, Any]:
        mutable = [name for name in variables if name != "params"]
        rngs = {"dropout": rng.stream(key, "dropout")}
        x = moved(variables, batch, batch[_START])
        logits, state = model.apply(variables, x, train=True, rngs=rngs, mutable=mutable)
        weight = row_weights(batch)
        means = {name: metrics.mean(rows, weight) for name, rows in _measures(logits, batch["y"]).items()}
        return means["loss"], (means, state)

    def evaluate(variables: Any, batch: Batch, key: jax.Array) -> dict[str, metrics.Mean]:
        found = {}
        there = moved(variables, batch, attacks.starts(rng.stream(key, "attack"), batch["x"]))
        for before, x in (("", batch["x"]), ("robust_", there)):
            logits, _ = model.apply(variables, x, train=False, mutable=[])
            rows = _measures(logits, batch["y"])
            found |= {before + name: metrics.mean(one, row_weights(batch)) for name, one in rows.items()}
        return found

    def draw(batch: Batch, key: jax.Array) -> Batch:
        return {**batch, _START: attacks.starts(rng.stream(key, "attack"), batch["x"])}

    predict = applied(model, one_of_classes)
    return gradient_learner(
        init, objective, evaluate, optimizer, draw=draw, accumulate=accumulate, predict=predict
    )


def _measures(logits: jax.Array, labels: jax.Array) -> dict[str, jax.Array]:
    return {"loss": losses.cross_entropy(logits, labels), "accuracy": metrics.accuracy(logits, labels)}
