"""Fine-tuning: runs that begin with given parameters, of which some may be kept as they are."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from fdl.arguments import checked
from fdl.experiment import Experiment
from fdl.optim.frozen import Chosen
from fdl.optim.frozen import frozen as frozen
from fdl.optim.paths import names
from fdl.tasks.gradient import State

_LISTED = 3  # names in a message


@checked
def warm_start(
    experiment: Experiment,
    optimizer: optax.GradientTransformation,
    given: Mapping[str, Any],
    *,
    fresh: Chosen = lambda path: False,
) -> Experiment:
    """The experiment whose runs begin with given variables instead of random ones.

    Args:
      experiment: one whose learner is a `gradient_learner`.
      optimizer: the experiment's own; its state is made anew, from the given parameters.
      given: variables by collection, `{"params": ...}`, with or without others such as `"batch_stats"`;
        collections that are not given start as they would. Arrays are cast to the model's dtypes.
      fresh: which variables of these collections start as they would all the same, such as a new head:
        `lambda path: path[0] == "Dense_1"`. Given ones of such names do not matter.

    Raises:
      ValueError: variables that are missing, too many, or of another shape; the message lists them.

    Example:
      >>> import jax, numpy as np, optax
      >>> from fdl import data, models, tasks
      >>> rows = {"x": np.zeros((8, 4), np.float32), "y": np.arange(8) % 3}
      >>> splits = data.Splits(train=rows, validation=rows, test=rows)
      >>> model, adam = models.MLP((16,), 3), optax.adam(1e-3)
      >>> experiment = tasks.classification(model, splits, adam, steps=100)
      >>> given = model.init(jax.random.key(1), rows["x"])  # or those of a run, or of fdl.pretrained
      >>> experiment = tasks.warm_start(experiment, adam, given)
      >>> experiment.steps
      100
    """
    learner = experiment.learner
    wanted = jax.eval_shape(learner.init, jax.random.key(0))
    _check_state(wanted, optimizer)
    collections = {"params": wanted.params, **wanted.model_state}
    unknown = sorted(set(given) - set(collections))
    if unknown or "params" not in given:
        raise ValueError(
            f"collections {sorted(given)} are given; expected 'params' and none that are not the model's: "
            f"{sorted(collections)}"
        )
    loaded = {collection: _by_path(tree) for collection, tree in given.items()}
    for collection, leaves in loaded.items():
        _check_leaves(collection, _by_path(collections[collection]), leaves, fresh)

    def merged(collection: str, tree: Any) -> Any:
        def leaf(path: Any, start: jax.Array) -> jax.Array:
            own = names(path)
            taken = collection in loaded and not fresh(own)
            return jnp.asarray(loaded[collection][own], start.dtype) if taken else start

        return jax.tree_util.tree_map_with_path(leaf, tree)

    def init(key: jax.Array) -> State:
        start = learner.init(key)
        params = merged("params", start.params)
        model_state = {name: merged(name, tree) for name, tree in start.model_state.items()}
        return State(params, model_state, optimizer.init(params))

    return experiment._replace(learner=learner._replace(init=init))


def _by_path(tree: Any) -> dict[tuple[str, ...], Any]:
    leaves = jax.tree_util.tree_leaves_with_path(nn.meta.unbox(tree))
    return {names(path): leaf for path, leaf in leaves}


def _check_state(wanted: Any, optimizer: optax.GradientTransformation) -> None:
    if not isinstance(wanted, State):
        raise ValueError(
            f"the learner's state is a {type(wanted).__name__}; expected one of a gradient learner"
        )
    state = jax.eval_shape(optimizer.init, wanted.params)
    if jax.tree.structure(state) != jax.tree.structure(wanted.optimizer):
        raise ValueError(
            "the optimizer is not the experiment's own (its state differs); give the same to both"
        )


def _check_leaves(
    collection: str, wanted: Mapping[Any, Any], given: Mapping[Any, Any], fresh: Chosen
) -> None:
    """`ValueError` with the differences of shape, by name, unless there are none."""
    faults = []
    for path in sorted(path for path in {*wanted, *given} if not fresh(path)):
        name = "/".join(path)
        if path not in given:
            faults.append(f"{name} {list(wanted[path].shape)} is missing")
        elif path not in wanted:
            faults.append(f"{name} {list(np.shape(given[path]))} is not the model's")
        elif np.shape(given[path]) != wanted[path].shape:
            shapes = list(np.shape(given[path])), list(wanted[path].shape)
            faults.append(f"{name} is {shapes[0]}, expected {shapes[1]}")
    if faults:
        more = f"; and {len(faults) - _LISTED} more" if len(faults) > _LISTED else ""
        raise ValueError(
            f"the given {collection} are not the model's: {'; '.join(faults[:_LISTED])}{more}: "
            "give the same model, or name what is to start fresh"
        )
