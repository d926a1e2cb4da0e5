"""Evaluation by averaged parameters: a wrapper for any learner by gradients."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fdl.arguments import Share, checked
from fdl.experiment import Batch, Learner
from fdl.metrics import Mean
from fdl.tasks.accumulation import Variables
from fdl.tasks.gradient import State, variables

_DIRECTIONS = ("spectral",)
"""Collections of unit vectors, whose mean is shorter: the latest stand for the average's."""


class Averaged(NamedTuple):
    """What a step of an averaged learner reads and writes.

    Attributes:
      latest: the inner learner's state, which learns as it would alone.
      average: the moving average of its variables by collection; before the first step the first ones.
      weight: the sum of the weights of what was with_ema, 1 - decay ** steps, a scalar.
    """

    latest: State
    average: Any
    weight: jax.Array

    @property
    def state(self) -> State:
        """The averaged variables, as `fdl.tasks.gradient.variables` takes them; they have no optimizer."""
        model_state = dict(self.average)
        return State(model_state.pop("params"), model_state, ())


@checked
def with_ema(learner: Learner, *, decay: Share[float | jax.Array]) -> Learner:
    """The learner whose evaluations see an exponential moving average of the parameters.

    The average after step t is the mean of the parameters after steps 1 to t, in which each counts `decay`
    times as much as the one after it: Kingma & Ba 2015, Adam, sec. 7.2, whose correction of the bias
    it has. The parameters from which the run starts do not count. Learning is as without it. Running
    statistics and other collections are averaged alike (but singular vectors), as those of the latest
    parameters do not fit to the average.

    For any task: `experiment._replace(learner=with_ema(experiment.learner, decay=0.999))`. What looks for a
    `State` gets it by the property `state`: `variables(averaged_state.state)`; `warm_start` comes before.

    Args:
      learner: one whose state is a `State`, as of `gradient_learner`.
      decay: from 0, the latest parameters, to below 1; it may be traced.

    Returns:
      A learner whose state is `Averaged`.

    Raises:
      ValueError: a decay out of range, or a learner of another state.

    Example:
      >>> import numpy as np, optax
      >>> from fdl import data, models, tasks
      >>> rows = {"x": np.zeros((8, 4), np.float32), "y": np.arange(8) % 3}
      >>> splits = data.Splits(train=rows, validation=rows, test=rows)
      >>> experiment = tasks.classification(models.MLP((16,), 3), splits, optax.adam(1e-3), steps=100)
      >>> learner = tasks.with_ema(experiment.learner, decay=0.999)
      >>> experiment = experiment._replace(learner=learner)
      >>> experiment.learner.required
      ('loss', 'update_norm')
    """
    if not isinstance(decay, jax.Array) and not 0 <= decay < 1:
        raise ValueError(f"decay is {decay}; expected at least 0 and below 1")
    wanted = jax.eval_shape(learner.init, jax.random.key(0))
    if not isinstance(wanted, State):
        raise ValueError(
            f"the learner's state is a {type(wanted).__name__}; expected one of a gradient learner"
        )

    def init(key: jax.Array) -> Averaged:
        state = learner.init(key)
        return Averaged(state, variables(state), jnp.zeros(()))

    def step(before: Averaged, batch: Batch, key: jax.Array) -> tuple[Averaged, Mapping[str, Any]]:
        latest, metrics = learner.step(before.latest, batch, key)
        weight = decay * before.weight + (1 - decay)
        share = (1 - decay) / weight  # 1 at the first step, so that nothing is left of the start
        return Averaged(latest, moved_to(before.average, variables(latest), share=share), weight), metrics

    def evaluate(averaged: Averaged, batch: Batch, key: jax.Array) -> Mapping[str, Mean]:
        return learner.evaluate(averaged.state, batch, key)

    def predict(averaged: Averaged, batch: Batch) -> Mapping[str, jax.Array]:
        assert learner.predict is not None
        return learner.predict(averaged.state, batch)

    whole = learner._replace(init=init, step=step, evaluate=evaluate)
    return whole._replace(predict=predict if learner.predict else None)


def moved_to(average: Variables, latest: Variables, *, share: Share[float | jax.Array]) -> Variables:
    """The average of variables by collection, moved by a share of the way to the latest ones."""

    def moved(old: jax.Array, new: jax.Array) -> jax.Array:
        if not jnp.issubdtype(old.dtype, jnp.inexact):
            return new
        return (old + share * (new - old)).astype(old.dtype)

    return {
        name: latest[name] if name in _DIRECTIONS else jax.tree.map(moved, average[name], latest[name])
        for name in average
    }
