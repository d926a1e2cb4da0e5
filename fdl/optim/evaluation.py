"""The parameters to judge a run by, where an optimizer takes gradients at others."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax.contrib import SAMState, ScheduleFreeState


def evaluation_params(optimizer_state: Any, params: Any) -> Any:
    """What `params` stand for, by what the optimizer's state holds, however deep inside it.

    Schedule-free optimizers (Defazio et al. 2024, The Road Less Scheduled) train at a point between their
    average and their newest iterate, and are judged at the average. `optax.contrib.sam` without
    `opaque_mode` is, between two of its updates, at the worst point nearby, and is judged at its own. All
    others are judged where they are.

    Args:
      optimizer_state: of any Optax transformation, or of one for a part of the parameters.
      params: those of the training.

    Raises:
      ValueError: a schedule-free optimizer inside one that changes the parameters' shapes.

    Example:
      >>> import optax
      >>> optimizer, params = optax.contrib.schedule_free_sgd(0.1), {"w": jnp.ones(2)}
      >>> state = optimizer.init(params)
      >>> fdl.optim.evaluation_params(state, params)["w"].tolist()
      [1.0, 1.0]
    """
    found = jax.tree.leaves(optimizer_state, is_leaf=_moves)
    for state in found:
        if isinstance(state, ScheduleFreeState):
            params = _averages(state, params)
        elif isinstance(state, SAMState) and state.cache is not None:
            params = _unperturbed(state, params)
    return params


def _moves(node: Any) -> bool:
    return isinstance(node, ScheduleFreeState | SAMState)


def _averages(state: Any, params: Any) -> Any:
    """x of y = b1 x + (1 - b1) z: `optax.contrib.schedule_free_eval_params`, of the part that it has."""

    def leaf(z: Any, y: Any) -> Any:
        return y if _missing(z) else ((y - (1 - state.b1) * z) / state.b1).astype(y.dtype)

    return _mapped(leaf, state.z, params)


def _unperturbed(state: Any, params: Any) -> Any:
    def leaf(own: Any, worst: Any) -> Any:
        return worst if _missing(own) else jnp.where(state.steps_since_sync == 0, worst, own)

    return _mapped(leaf, state.cache, params)


def _mapped(leaf: Any, tree: Any, params: Any) -> Any:
    try:
        return jax.tree.map(leaf, tree, params, is_leaf=_missing)
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            "an optimizer that is judged at other parameters is inside one that reshapes them, such as "
            "optax.flatten; put that inside"
        ) from error


def _missing(node: Any) -> bool:
    return isinstance(node, optax.MaskedNode)
