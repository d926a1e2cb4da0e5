"""Distillation: a student learns a teacher's probabilities."""

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from fdl import losses, metrics, rng
from fdl.arguments import Count, NotNegative, Positive, Share, checked
from fdl.data import Augmentation, Splits
from fdl.data.splits import prepared_row
from fdl.experiment import Experiment, Learner
from fdl.tasks.checks import check_labels, count_outputs
from fdl.tasks.columns import WEIGHT, class_weights, row_weights
from fdl.tasks.gradient import gradient_learner
from fdl.tasks.inputs import output_shapes
from fdl.tasks.predictions import applied, one_of_classes
from fdl.tasks.training import BatchTraining, experiment_over, task

_TEACHER = "teacher"
"""The collection of the learner's state that holds the teacher's variables."""


@task
def distillation(
    model: nn.Module,
    teacher: nn.Module,
    given: Mapping[str, Any],
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    augment: Augmentation | None = None,
    temperature: Positive[float | jax.Array] = 4.0,
    share: Share[float | jax.Array] = 0.9,
    class_weight: Sequence[NotNegative[float | jax.Array]] | jax.Array | None = None,
    accumulate: Count = 1,
    **training: Unpack[BatchTraining],
) -> Experiment:
    """Learning to classify from labels and from a trained teacher's logits.

    Hinton et al. 2015, Distilling the Knowledge in a Neural Network, sec. 2: what is minimised is
    `(1 - share)` times the cross-entropy with the labels plus `share * temperature²` times the
    divergence from the teacher, both softened (`softened_divergence`). Metrics: `loss`, the mean
    cross-entropy with the labels in nats, and `accuracy`, as for `classification`; `divergence`, nats
    at temperature 1; `agreement`, the share of rows with the teacher's class.

    Args:
      model: the student, `model(x, train=...)`: `[B, ...]` to logits `[B, C]`.
      teacher: likewise; it is always evaluated with `train=False`.
      given: the teacher's variables, `{"params": ..., ...}`. They travel in the learner's state, so
        that they are no constants of the program, and are in its checkpoints.
      splits: `"x"` float `[N, ...]` and `"y"` integers `[N]` from 0 to C - 1; and, where rows count
        unequally, `"sample_weight"` float `[N]`, by which all means are weighted.
      optimizer: any Optax transformation.
      augment: what is done to every training batch, which both see, or None.
      temperature: T, above 0.
      share: of the teacher in the loss, 0 to 1.
      class_weight: what a row of each class counts in what is minimised, with both its parts, `[C]`, at least
        0: the weighted mean. The metrics stay unweighted.
      accumulate: micro-batches in which a batch is passed, see `fdl.tasks.accumulation.passed`.
      **training: `steps`, `batch_size` and others, see `fdl.tasks.training.BatchTraining`.

    Raises:
      ValueError: a count below 1, or data that does not fit together or to one of the models.

    Example:
      >>> import jax, numpy as np, optax
      >>> import fdl
      >>> from fdl import data, models, tasks
      >>> rows = {"x": np.zeros((8, 4), np.float32), "y": np.arange(8) % 3}
      >>> splits = data.Splits(train=rows, validation=rows, test=rows)
      >>> student, teacher = models.MLP((8,), 3), models.MLP((32,), 3)
      >>> given = teacher.init(jax.random.key(0), rows["x"])  # or those of a run
      >>> experiment = tasks.distillation(student, teacher, given, splits, optax.adam(1e-3), steps=100)
      >>> [name for name in fdl.check(experiment) if name.startswith("test")]
      ['test/accuracy', 'test/agreement', 'test/divergence', 'test/loss']
    """
    splits = check_labels(model, splits)
    learner = distillation_learner(
        model,
        teacher,
        given,
        splits,
        optimizer,
        temperature=temperature,
        share=share,
        class_weight=class_weight,
        accumulate=accumulate,
    )
    return experiment_over(
        learner,
        splits,
        augment=augment,
        accumulate=accumulate,
        **training,
        columns=("x", "y", WEIGHT),
    )


@checked
def distillation_learner(
    model: nn.Module,
    teacher: nn.Module,
    given: Mapping[str, Any],
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    temperature: Positive[float | jax.Array] = 4.0,
    share: Share[float | jax.Array] = 0.9,
    class_weight: Sequence[NotNegative[float | jax.Array]] | jax.Array | None = None,
    accumulate: Count = 1,
) -> Learner:
    """The learner of `distillation`; of `splits` only checks and a row's shape are made.

    Raises:
      ValueError: data that does not fit together or to one of the models.
    """
    if not isinstance(temperature, jax.Array) and not 0 < temperature < jnp.inf:
        raise ValueError(f"temperature is {temperature}; expected a number above 0")
    if not isinstance(share, jax.Array) and not 0 <= share <= 1:
        raise ValueError(f"share is {share}; expected 0 to 1, the teacher's part of the loss")
    check_labels(model, splits)
    row = prepared_row(splits)["x"]
    x = jnp.zeros(row.shape, row.dtype)
    _check_teacher(model, teacher, given, x)
    weigh = None if class_weight is None else class_weights(class_weight, count_outputs(model, splits))

    def init(key: jax.Array) -> dict[str, Any]:
        return {**model.init(key, x, train=False), _TEACHER: jax.tree.map(jnp.asarray, dict(given))}

    def measures(logits: jax.Array, taught: jax.Array, y: jax.Array) -> dict[str, jax.Array]:
        return {
            "loss": losses.cross_entropy(logits, y),
            "accuracy": metrics.accuracy(logits, y),
            "divergence": softened_divergence(logits, taught, temperature=1.0),
            "agreement": metrics.accuracy(logits, jnp.argmax(taught, axis=-1)),
        }

    def objective(variables: Any, batch: Any, key: jax.Array) -> tuple[metrics.Mean, Any]:
        own, theirs = _apart(variables)
        mutable = [name for name in own if name != "params"]
        rngs = {"dropout": rng.stream(key, "dropout")}
        logits, state = model.apply(own, batch["x"], train=True, rngs=rngs, mutable=mutable)
        taught = jnp.asarray(teacher.apply(theirs, batch["x"], train=False))
        rows = measures(logits, taught, batch["y"])
        soft = softened_divergence(logits, taught, temperature=temperature)
        weight = row_weights(batch)
        means = {name: metrics.mean(values, weight) for name, values in rows.items()}
        if weigh is not None:
            weight = weigh(batch["y"]) if weight is None else weight * weigh(batch["y"])
        value = metrics.mean((1 - share) * rows["loss"] + share * jnp.square(temperature) * soft, weight)
        return value, (means, {**state, _TEACHER: theirs})

    def evaluate(variables: Any, batch: Any, key: jax.Array) -> dict[str, metrics.Mean]:
        own, theirs = _apart(variables)
        logits = jnp.asarray(model.apply(own, batch["x"], train=False))
        taught = jnp.asarray(teacher.apply(theirs, batch["x"], train=False))
        rows = measures(logits, taught, batch["y"])
        return {name: metrics.mean(values, row_weights(batch)) for name, values in rows.items()}

    def predict(variables: Any, batch: Any) -> Mapping[str, jax.Array]:
        return applied(model, one_of_classes)(_apart(variables)[0], batch)

    return gradient_learner(init, objective, evaluate, optimizer, accumulate=accumulate, predict=predict)


def softened_divergence(
    logits: jax.Array, teacher: jax.Array, *, temperature: Positive[float | jax.Array]
) -> jax.Array:
    """Kullback-Leibler divergence of softmax(logits / T) from softmax(teacher / T), in nats.

    Args:
      logits: the student's, `[B, C]`.
      teacher: the teacher's, `[B, C]`.
      temperature: T, above 0.

    Returns:
      `[B]`; its gradient shrinks as 1 / T², which is why the loss multiplies it by T².
    """
    said = jax.nn.log_softmax(logits / temperature)
    true = jax.nn.log_softmax(teacher / temperature)
    chance = jnp.exp(true)
    # A class that the teacher rules out adds nothing: 0 log 0 is 0.
    return jnp.sum(jnp.where(chance > 0, chance * (true - said), chance), axis=-1)


def _apart(variables: Any) -> tuple[dict[str, Any], Any]:
    """The student's variables and the teacher's."""
    own = dict(variables)
    return own, own.pop(_TEACHER)


def _check_teacher(model: nn.Module, teacher: nn.Module, given: Mapping[str, Any], x: jax.Array) -> None:
    expected = list(output_shapes(model, x).shape)
    found = jax.eval_shape(lambda variables: teacher.apply(variables, x, train=False), given)
    shape = list(getattr(found, "shape", ()))
    if shape != expected:
        raise ValueError(
            f"the teacher's outputs for one row have shape {shape}, the student's {expected}; expected one "
            "shape: give both the same classes"
        )
