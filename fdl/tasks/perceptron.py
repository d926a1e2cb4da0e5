"""Learning without gradients of a loss: the perceptron's rule, and ADALINE's."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fdl import losses, metrics, shards
from fdl.arguments import Count, NotNegative, checked
from fdl.data import Splits
from fdl.data.splits import prepared_row
from fdl.data.verified import verified
from fdl.experiment import Experiment, Learner
from fdl.models.neurons import Neuron
from fdl.tasks.checks import check_targets
from fdl.tasks.columns import WEIGHT, checked_class_weights, row_weights
from fdl.tasks.predictions import Says
from fdl.tasks.supervised import Measures
from fdl.tasks.training import Training, experiment_over, task

Number = float | jax.Array
Rule = Callable[[jax.Array, jax.Array], jax.Array]
"""`error(sum, target)`, `[1]` each: a weighted sum and what it should be, to the factor of the update."""
_SUM = Neuron(activation=lambda x: x)


class NeuronState(NamedTuple):
    """What an update of one neuron reads and writes.

    Attributes:
      params: the parameters of a `fdl.models.Neuron`.
      updates: how many rows changed them so far, int32; of the perceptron, its mistakes.
    """

    params: Any
    updates: jax.Array


@task
def perceptron(
    splits: Splits,
    *,
    batch_size: Count = 1,
    rate: NotNegative[Number] = 1.0,
    class_weight: Sequence[NotNegative[Number]] | jax.Array | None = None,
    **training: Unpack[Training],
) -> Experiment:
    """The perceptron: a row on the wrong side of the plane, or on it, is added to the weights.

    Rosenblatt 1958, The Perceptron; with labels t = -1 or 1, where t (w · x + b) is not above zero, w moves
    by `rate` t x and b by `rate` t. The rows of a batch are taken one after another. If some plane
    through the origin of [x, 1] parts the classes by a margin γ and no row is longer than R, at most
    (R / γ)² rows are mistaken (Novikoff 1962, On Convergence Proofs on Perceptrons).

    Metrics: `loss` is the mean of max(0, -t (w · x + b)), `accuracy` a share from 0 to 1, and of a step
    `updates` the share of its rows that were mistaken when their turn came and weigh more than 0
    (`NeuronState` counts them all), and `update_norm` as for `gradient_learner`.

    Args:
      splits: `"x"` float `[N, ...]` and `"y"` float `[N]`, each -1 or 1; and, where rows count unequally,
        `"sample_weight"` float `[N]`, by which a row's update and all means are weighted.
      batch_size: rows in a training batch.
      rate: how much of a row is added.
      class_weight: factors of the updates by rows of the classes -1 and 1, `[2]`, at least 0; metrics leave
        them out. None: 1.
      **training: `steps` and others, see `fdl.tasks.training.Training`.

    Raises:
      ValueError: a count below 1, or data that does not fit together.

    Example:
      >>> import numpy as np
      >>> import fdl
      >>> from fdl import data, tasks
      >>> rows = {"x": np.zeros((8, 4), np.float32), "y": np.sign(np.arange(8) - 3.5).astype(np.float32)}
      >>> splits = data.Splits(train=rows, validation=rows, test=rows)
      >>> experiment = tasks.perceptron(splits, steps=100)
      >>> [name for name in fdl.check(experiment) if name.startswith("test")]
      ['test/accuracy', 'test/loss']
    """
    learner = perceptron_learner(splits, rate=rate, class_weight=class_weight)
    splits = verified(splits, ("y",), _not_a_side)
    return experiment_over(learner, splits, batch_size=batch_size, columns=("x", "y", WEIGHT), **training)


@checked
def perceptron_learner(
    splits: Splits,
    *,
    rate: NotNegative[Number] = 1.0,
    class_weight: Sequence[NotNegative[Number]] | jax.Array | None = None,
) -> Learner:
    """The learner of `perceptron`; of `splits` only checks and a row's shape are made.

    Raises:
      ValueError: data that does not fit together.
    """

    weights = jnp.ones(2) if class_weight is None else checked_class_weights(class_weight, 2)

    def error(total: jax.Array, target: jax.Array) -> jax.Array:
        return jnp.where(target * total <= 0, target * jnp.where(target > 0, weights[1], weights[0]), 0)

    def measures(total: jax.Array, target: jax.Array) -> Mapping[str, jax.Array]:
        wrong = jnp.maximum(-target * total, 0)[:, 0]
        return {"loss": wrong, "accuracy": ((total > 0) == (target > 0))[:, 0].astype(jnp.float32)}

    def says(sums: jax.Array) -> Mapping[str, jax.Array]:
        return {"label": jnp.where(sums > 0, 1, -1).astype(jnp.int32), "sum": sums}

    return _online(splits, error, measures, says, rate=rate)


@task
def adaline(
    splits: Splits,
    *,
    batch_size: Count = 1,
    rate: NotNegative[Number] = 0.01,
    **training: Unpack[Training],
) -> Experiment:
    """ADALINE: the least-mean-squares rule, row by row.

    Widrow & Hoff 1960, Adaptive Switching Circuits: w moves by `rate` (y - w · x - b) x, and b by `rate`
    times the same error. With targets -1 and 1, the output's sign is the class. The rows of a batch are
    taken one after another; the rule is stable for rates below 2 over the largest of |x|² + 1.

    Metrics: `loss` is the mean squared error, `absolute_error` the mean absolute one, and of a step
    `updates` the share of its rows whose error was not exactly zero when their turn came, and `update_norm`
    as for `gradient_learner`.

    Args:
      splits: `"x"` float `[N, ...]` and `"y"` float `[N]`; and, where rows count unequally,
        `"sample_weight"` float `[N]`, by which a row's update and all means are weighted.
      batch_size: rows in a training batch.
      rate: the factor of the error.
      **training: `steps` and others, see `fdl.tasks.training.Training`.

    Raises:
      ValueError: a count below 1, or data that does not fit together.

    Example:
      >>> import numpy as np
      >>> import fdl
      >>> from fdl import data, tasks
      >>> rows = {"x": np.zeros((8, 4), np.float32), "y": np.zeros(8, np.float32)}
      >>> splits = data.Splits(train=rows, validation=rows, test=rows)
      >>> experiment = tasks.adaline(splits, steps=100, rate=0.01)
      >>> [name for name in fdl.check(experiment) if name.startswith("test")]
      ['test/absolute_error', 'test/loss']
    """
    learner = adaline_learner(splits, rate=rate)
    return experiment_over(learner, splits, batch_size=batch_size, columns=("x", "y", WEIGHT), **training)


@checked
def adaline_learner(splits: Splits, *, rate: NotNegative[Number] = 0.01) -> Learner:
    """The learner of `adaline`; of `splits` only checks and a row's shape are made.

    Raises:
      ValueError: data that does not fit together.
    """

    def measures(total: jax.Array, target: jax.Array) -> Mapping[str, jax.Array]:
        error = losses.absolute_error(total, target)
        return {"loss": losses.squared_error(total, target), "absolute_error": error}

    return _online(
        splits, lambda total, target: target - total, measures, lambda sums: {"prediction": sums}, rate=rate
    )


def _online(splits: Splits, error: Rule, measures: Measures, says: Says, *, rate: Number) -> Learner:
    """The learner that adds `rate * error * x`, times what the row counts, to the weights, row by row;
    `says(sums)` is what it predicts of rows of which the weighted sums are `[B]`."""
    check_targets(_SUM, splits)
    row = prepared_row(splits)["x"]

    def total(params: Any, x: jax.Array) -> jax.Array:
        sums = _SUM.apply({"params": params}, x)
        assert isinstance(sums, jax.Array)
        return sums

    def init(key: jax.Array) -> NeuronState:
        params = _SUM.init(key, jnp.zeros(row.shape, row.dtype))["params"]
        return NeuronState(params, jnp.int32(0))

    def update(state: NeuronState, batch: Any) -> tuple[NeuronState, None]:
        x, y = batch["x"][None], batch["y"].reshape(1, 1)
        # The derivative of the sum by the weights is x and by the bias 1: the pull-back of the error is
        # what the rule adds.
        sums, pull = jax.vjp(lambda params: total(params, x), state.params)
        wrong = batch["weight"] * error(sums, y)
        params = jax.tree.map(lambda w, change: w + rate * change, state.params, pull(wrong)[0])
        return NeuronState(params, state.updates + (wrong[0, 0] != 0)), None

    def step(state: NeuronState, batch: Any, key: jax.Array) -> tuple[NeuronState, Mapping[str, Any]]:
        del key
        batch = shards.gathered(batch)  # each update is of one row, after that of the row before
        rows, weight = (
            measures(total(state.params, batch["x"]), batch["y"].reshape(-1, 1)),
            row_weights(batch),
        )
        each = jnp.ones(len(batch["x"])) if weight is None else weight
        after, _ = jax.lax.scan(update, state, {"x": batch["x"], "y": batch["y"], "weight": each})
        # What a step reports is averaged over steps: a share of rows can be, a running count cannot.
        updates = (after.updates - state.updates) / len(batch["x"])
        moved = jax.tree.map(jnp.subtract, after.params, state.params)
        means = {name: metrics.mean(values, weight) for name, values in rows.items()}
        return after, {**means, "updates": updates, "update_norm": optax.tree.norm(moved)}

    def evaluate(state: NeuronState, batch: Any, key: jax.Array) -> dict[str, metrics.Mean]:
        rows = measures(total(state.params, batch["x"]), batch["y"].reshape(-1, 1))
        return {name: metrics.mean(values, row_weights(batch)) for name, values in rows.items()}

    def predict(state: NeuronState, batch: Any) -> Mapping[str, jax.Array]:
        return says(total(state.params, batch["x"])[:, 0])

    return Learner(init, step, evaluate, ("loss", "update_norm"), predict)


def _not_a_side(rows: Mapping[str, np.ndarray]) -> tuple[int, str] | None:
    """The `Fault` of labels that are neither -1 nor 1: of 0, no row would be on a wrong side."""
    y = np.asarray(rows["y"])
    wrong = (np.abs(y) != 1).reshape(len(y), -1).any(axis=1)
    if not wrong.any():
        return None
    return int(np.argmax(wrong)), (
        f"labels go from {y.min()} to {y.max()}; expected only -1 and 1 ({{row}} has others): change them"
    )
