"""Learners that follow the gradient of a loss: what most tasks are."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import optax

from fdl import rng, shards
from fdl.data import Augmentation, Splits, sources
from fdl.experiment import Batch, Experiment, Learner, Stopper
from fdl.metrics import Mean
from fdl.tasks.checks import check_counts

Variables = Mapping[str, Any]
"""A model's collections by name: `"params"`, and others such as `"batch_stats"`."""
Loss = Callable[
    [Variables, Batch, jax.Array], tuple[jax.Array, tuple[Mapping[str, jax.Array], Mapping[str, Any]]]
]
"""`loss(variables, batch, key) -> (value, (metrics, model_state))`: what is minimised over
`variables["params"]`, a scalar; scalars to report; the other collections after the pass."""
Evaluate = Callable[[Variables, Batch], Mapping[str, Mean]]
"""`evaluate(variables, batch) -> metrics`, as in `fdl.Learner`."""


class State(NamedTuple):
    """What a step of learning by gradients reads and writes.

    Attributes:
      params: the model's parameters.
      model_state: the model's other collections by name (`"batch_stats"`); `{}` where it has none.
      optimizer: the optimizer's state.
    """

    params: Any
    model_state: Any
    optimizer: Any


def variables(state: State) -> Variables:
    """The model's collections, as Flax's `apply` takes them."""
    return {"params": state.params, **state.model_state}


def gradient_learner(
    init: Callable[[jax.Array], Variables],
    loss: Loss,
    evaluate: Evaluate,
    optimizer: optax.GradientTransformation,
) -> Learner:
    """The learner that minimises a loss.

    Args:
      init: `init(key) -> variables`, as a model's `init`.
      loss: see `Loss`.
      evaluate: see `Evaluate`.
      optimizer: any Optax transformation; its `update` also gets `grad_fn(params, _) -> gradient` on the
        same batch and a `key`, for those that ask for them.

    Returns:
      A learner whose state is a `State`.
    """

    optimizer = optax.with_extra_args_support(optimizer)

    def start(key: jax.Array) -> State:
        model_state = dict(init(key))
        params = model_state.pop("params")
        return State(params, model_state, optimizer.init(params))

    def objective(params: Any, model_state: Any, batch: Batch, key: jax.Array) -> tuple[jax.Array, Any]:
        return loss({"params": params, **model_state}, batch, key)

    def step(state: State, batch: Batch, key: jax.Array) -> tuple[State, Mapping[str, jax.Array]]:
        def gradient(*inputs: Any) -> Any:
            grads, (metrics, model_state) = jax.grad(objective, has_aux=True)(*inputs)
            return shards.mean(grads), (shards.mean(metrics), model_state)

        grads, (metrics, model_state) = gradient(state.params, state.model_state, batch, key)
        elsewhere = lambda params, _: gradient(params, state.model_state, batch, key)[0]  # noqa: E731
        own_key = rng.stream(key, "optimizer")
        updates, optimizer_state = optimizer.update(
            grads, state.optimizer, state.params, grad_fn=elsewhere, key=own_key
        )
        return State(optax.apply_updates(state.params, updates), model_state, optimizer_state), metrics

    return Learner(start, step, lambda state, batch: evaluate(variables(state), batch))


def experiment_over(
    learner: Learner,
    splits: Splits,
    *,
    steps: int,
    batch_size: int,
    evaluate_every: int | None = None,
    augment: Augmentation | None = None,
    stop: Stopper | None = None,
) -> Experiment:
    """Trains on a data set's first part and evaluates on the others.

    Args:
      learner: what learns.
      splits: the data set.
      steps: updates in a run.
      batch_size: rows in a training batch.
      evaluate_every: steps between evaluations; a tenth of the run if None.
      augment: what is done to every training batch, or None.
      stop: early stopping, or None.

    Raises:
      ValueError: a count below 1.
    """
    if evaluate_every is None:
        evaluate_every = max(1, steps // 10)
    check_counts(steps=steps, batch_size=batch_size, evaluate_every=evaluate_every)
    train, evaluation = sources(splits, batch_size=batch_size, augment=augment)
    return Experiment(learner, train, evaluation, steps, evaluate_every, stop)
