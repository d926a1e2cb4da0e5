"""Which of given variables fit an experiment's model: for a start from another net's."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from fdl import tree
from fdl.arguments import checked
from fdl.experiment import Experiment
from fdl.optim.frozen import Chosen
from fdl.optim.paths import names
from fdl.tasks.gradient import State


class Fit(NamedTuple):
    """What `warm_start` takes of given variables.

    Attributes:
      given: the variables of collections that the model has.
      fresh: which of the model's variables start as they would, as nothing given fits them.
      table: a line for each variable: taken, fresh, or given in vain, with the shapes.
    """

    given: dict[str, Any]
    fresh: Chosen
    table: str


@checked
def fitting(experiment: Experiment, given: Mapping[str, Any]) -> Fit:
    """Finds which given variables an experiment can start with: those of the same path and shape.

    A path that is in several collections is taken in all of them or in none.

    Args:
      experiment: one whose learner is a `gradient_learner`.
      given: variables by collection, as `fdl.load(DIRECTORY).variables()` gives them.

    Raises:
      ValueError: nothing fits, or a learner of another state.

    Example:
      >>> import jax, numpy as np, optax
      >>> from fdl import data, models, tasks
      >>> rows = {"x": np.zeros((8, 4), np.float32), "y": np.arange(8) % 3}
      >>> splits = data.Splits(train=rows, validation=rows, test=rows)
      >>> sgd = optax.sgd(0.1)
      >>> experiment = tasks.classification(models.MLP((), 3), splits, sgd, steps=100)
      >>> given = {"params": {"Dense_0": {"kernel": np.ones((4, 3)), "bias": np.ones(2)}}}
      >>> fit = tasks.fitting(experiment, given)
      >>> print(fit.table)
      params/Dense_0/bias    fresh: float32[3], given float64[2]
      params/Dense_0/kernel  taken: float32[4,3]
      >>> experiment = tasks.warm_start(experiment, sgd, fit.given, fresh=fit.fresh)
    """
    state = jax.eval_shape(experiment.learner.init, jax.random.key(0))
    if not isinstance(state, State):
        raise ValueError(
            f"the learner's state is a {type(state).__name__}; expected one of a gradient learner"
        )
    wanted, there = _leaves({"params": state.params, **state.model_state}), _leaves(given)
    fits = {path for path, leaf in wanted.items() if path in there and np.shape(there[path]) == leaf.shape}
    shared = {path[0] for path in wanted} & set(given)
    amiss = {path[1:] for path in {*wanted, *there} - fits if path[0] in shared}
    taken = {path for path in fits if path[1:] not in amiss}
    held = {path[1:] for path in taken}
    if not taken:
        raise ValueError(
            "none of the given variables fits the model: no path has the same shape in both; "
            f"it has {_some(wanted)}, given are {_some(there)}"
        )
    lines = {"/".join(path): _told(path, wanted, there, taken) for path in sorted({*wanted, *there})}
    width = max(map(len, lines))
    return Fit(
        {name: one for name, one in given.items() if name in shared},
        lambda path: tuple(path) not in held,
        "\n".join(f"{name:{width}}  {line}" for name, line in lines.items()),
    )


def _leaves(collections: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
    """Variables by collection and path."""
    leaves = jax.tree_util.tree_leaves_with_path(nn.meta.unbox(dict(collections)))
    return {names(path): leaf for path, leaf in leaves}


def _told(path: Any, wanted: Mapping[Any, Any], there: Mapping[Any, Any], taken: set[Any]) -> str:
    given = f"given {tree.shown(there[path])}" if path in there else "none given"
    if path not in wanted:
        return f"not used: {given}"
    own = tree.shown(wanted[path])
    return f"taken: {own}" if path in taken else f"fresh: {own}, {given}"


def _some(leaves: Mapping[Any, Any]) -> str:
    path = next(iter(leaves), ())
    return f"{'/'.join(path)} {tree.shown(leaves[path])}" if leaves else "nothing"
