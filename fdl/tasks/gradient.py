"""Learners that follow the gradient of a loss: what most tasks are."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fdl import rng
from fdl.arguments import Count, checked
from fdl.experiment import Batch, Learner, Metrics
from fdl.metrics import Mean
from fdl.optim.evaluation import evaluation_params
from fdl.optim.frozen import Frozen, kept, unmoved
from fdl.tasks.accumulation import Loss, Passed, Variables, passed
from fdl.tasks.private_gradient import Privacy, passed_privately

Evaluate = Callable[[Variables, Batch, jax.Array], Mapping[str, Mean]]
"""`evaluate(variables, batch, key) -> metrics`, as in `fdl.Learner`."""
Predict = Callable[[Variables, Batch], Mapping[str, jax.Array]]
"""`predict(variables, batch) -> outputs`, as in `fdl.Learner`."""
Penalty = Callable[[Any], jax.Array]
"""`penalty(params)`, a scalar."""
Draw = Callable[[Batch, jax.Array], Batch]
"""`draw(batch, key) -> batch`: the batch, whose leaves are `[B, ...]`, with what is drawn for its rows."""


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
    """The model's collections, as Flax's `apply` takes them, with the parameters to judge the run by: those
    of the training, but where the optimizer says otherwise (`fdl.optim.evaluation_params`)."""
    return {"params": evaluation_params(state.optimizer, state.params), **state.model_state}


@checked
def gradient_learner(
    init: Callable[[jax.Array], Variables],
    loss: Loss,
    evaluate: Evaluate,
    optimizer: optax.GradientTransformation,
    *,
    penalty: Penalty | None = None,
    draw: Draw | None = None,
    accumulate: Count = 1,
    predict: Predict | None = None,
    privacy: Privacy | None = None,
) -> Learner:
    """The learner that minimises a loss.

    Beside the loss's own metrics a step has `update_norm`, the Euclidean norm of what the parameters moved
    by, not a number where the model's running statistics stopped being finite: a run whose `loss` or
    `update_norm` is not finite has failed. A loss without a metric `loss` gets
    what is minimised.

    Args:
      init: `init(key) -> variables`, as a model's `init`.
      loss: see `fdl.tasks.accumulation.Loss`.
      evaluate: see `Evaluate`.
      optimizer: any Optax transformation; for what its `update` gets see `descend`.
      penalty: a function of the parameters alone that is added to the loss.
      draw: what is drawn for the rows of a whole batch, before it is split.
      accumulate: micro-batches of each batch, see `fdl.tasks.accumulation.passed`.
      predict: see `Predict`; None: the learner predicts nothing.
      privacy: DP-SGD, see `fdl.tasks.private_gradient.passed_privately`; `loss` sees single rows then. None:
        the gradient of the batch as it is.

    Returns:
      A learner whose state is a `State`.

    Raises:
      ValueError: `privacy` with an optimizer that leaves parameters as they are, or with `draw`.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from fdl import metrics, tasks
      >>> init = lambda key: {"params": jnp.zeros(3)}
      >>> error = lambda variables, batch: metrics.mean((batch["x"] @ variables["params"] - batch["y"]) ** 2)
      >>> loss = lambda variables, batch, key: (error(variables, batch), ({}, {}))
      >>> evaluate = lambda variables, batch, key: {"loss": error(variables, batch)}
      >>> learner = tasks.gradient_learner(init, loss, evaluate, optax.sgd(0.1))
      >>> learner.required
      ('loss', 'update_norm')
    """

    batch_gradient = passed if privacy is None else functools.partial(passed_privately, privacy=privacy)
    if privacy is not None and isinstance(optimizer, Frozen):
        raise ValueError(
            "the optimizer leaves parameters as they are, whose gradients count in a row's norm; expected "
            "one that moves all: train a model of the others alone"
        )
    if privacy is not None and draw is not None:
        raise ValueError(
            "draw sees all rows of a batch, which is not private; expected None: draw in the loss"
        )

    def start(key: jax.Array) -> State:
        model_state = dict(init(key))
        params = model_state.pop("params")
        return State(params, model_state, optimizer.init(params))

    def step(state: State, batch: Batch, key: jax.Array) -> tuple[State, Metrics]:
        drawn = batch if draw is None else draw(batch, key)

        def at(params: Any) -> Passed:
            found = batch_gradient(loss, params, state.model_state, drawn, key, accumulate=accumulate)
            return found if penalty is None else _with_penalty(found, penalty, params)

        return descend(optimizer, state, at, rng.stream(key, "optimizer"), alone=privacy is not None)

    return Learner(
        start,
        step,
        lambda state, batch, key: evaluate(variables(state), batch, key),
        ("loss", "update_norm"),
        (lambda state, batch: predict(variables(state), batch)) if predict else None,
    )


def descend(
    optimizer: optax.GradientTransformation,
    state: State,
    at: Callable[[Any], Passed],
    key: jax.Array,
    *,
    alone: bool = False,
) -> tuple[State, Metrics]:
    """One update by a batch.

    The optimizer's `update` gets, of these what it takes, the batch's `value` and `grad`; `value_fn(params)`
    and the same as `obj_fn`, which may be differentiated; `grad_fn(params, _)`; all of the same batch with
    the same draws; and a `key` of its own.

    Args:
      optimizer: any Optax transformation of gradients of whole batches.
      state: before.
      at: `at(params)`, the batch's loss and gradient at other parameters.
      key: for optimizers that draw.
      alone: the optimizer gets nothing of the batch but the gradient, which alone is private.

    Returns:
      The state after, and the metrics with `update_norm` (and `loss`, where they have none). Of a batch in
      which nothing counts they are missing (means of weight 0); its value for the optimizer is 0.

    Raises:
      ValueError: a transformation that is none of such gradients.
    """
    with unmoved(optimizer):
        found = at(state.params)
        given = {"key": key} if alone else _of_batch(found, at, key)
        extra = _taken(optimizer.update, given)
        updates, optimizer_state = _updates(optimizer, found.gradient, state, extra)
    params = optax.apply_updates(state.params, updates)
    model_state = kept(optimizer, state.model_state, found.model_state)
    after = State(params, model_state, optimizer_state)
    norm = jnp.where(_spoiled(state, after), jnp.nan, optax.tree.norm(updates))
    value = Mean(found.value * found.counts, found.counts)
    return after, {"loss": value, **found.metrics, "update_norm": norm}


def _spoiled(before: State, after: State) -> jax.Array:
    """Whether what a finite update does not show is no longer finite: running statistics, and gradients that
    `optax.MultiSteps` adds up for a later one."""

    def unseen(state: State) -> list[jax.Array]:
        held = lambda node: isinstance(node, optax.MultiStepsState)  # noqa: E731
        nodes = jax.tree.leaves(state.optimizer, is_leaf=held)
        added = [node.acc_grads for node in nodes if held(node)]
        return [leaf for leaf in jax.tree.leaves((state.model_state, added)) if _is_float(leaf)]

    pairs = zip(unseen(before), unseen(after), strict=True)
    lost = [jnp.any(jnp.isfinite(old) & ~jnp.isfinite(new)) for old, new in pairs if old is not new]
    return functools.reduce(jnp.logical_or, lost, jnp.zeros((), bool))


def _is_float(leaf: jax.Array) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.floating)


def _with_penalty(found: Passed, penalty: Penalty, params: Any) -> Passed:
    value, gradient = jax.value_and_grad(penalty)(params)
    return found._replace(value=found.value + value, gradient=jax.tree.map(jnp.add, found.gradient, gradient))


def _of_batch(found: Passed, at: Callable[[Any], Passed], key: jax.Array) -> dict[str, Any]:
    """The arguments beyond Optax's first three that there are."""

    @jax.custom_jvp
    def value_at(params: Any) -> jax.Array:
        return at(params).value

    @value_at.defjvp
    def _(primals: tuple[Any], tangents: tuple[Any]) -> tuple[jax.Array, jax.Array]:
        # By the gradient of the whole batch, which JAX by itself would not find where its rows are on several
        # devices, and for which it would keep the activations of all micro-batches.
        there = at(*primals)
        return there.value, optax.tree.vdot(there.gradient, *tangents)

    # A line search refuses arguments that its function does not take.
    def value_fn(params: Any, *, obj_fn: Any = None, grad_fn: Any = None, key: Any = None) -> jax.Array:
        del obj_fn, grad_fn, key
        return value_at(params)

    functions = {
        "value_fn": value_fn,
        "obj_fn": value_fn,
        "grad_fn": lambda params, _=None: at(params).gradient,
    }
    return {"value": found.value, "grad": found.gradient, **functions, "key": key}


def _taken(update: Callable[..., Any], extra: dict[str, Any]) -> dict[str, Any]:
    """Those of some arguments that an `update` takes."""
    taken = inspect.signature(update).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values()):
        return extra
    return {name: given for name, given in extra.items() if name in taken}


def _updates(
    optimizer: optax.GradientTransformation, gradient: Any, state: State, extra: Mapping[str, Any]
) -> tuple[Any, Any]:
    try:
        updates, after = optimizer.update(gradient, state.optimizer, state.params, **extra)
        shapes = [[leaf.shape for leaf in jax.tree.leaves(tree)] for tree in (updates, state.params)]
    except (AttributeError, TypeError, ValueError) as error:
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"the optimizer cannot update the model's parameters by a batch's gradient ({said}); expected "
            "an Optax transformation of gradients; one that wants more goes alone or first in a chain"
        ) from error
    if shapes[0] != shapes[1]:
        raise ValueError(
            "the optimizer's updates have other shapes than the parameters, as of one that wants a gradient "
            "for each row (differentially private ones); expected a transformation of a batch's gradient"
        )
    return updates, after
