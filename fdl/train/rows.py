"""What a run's steps and evaluations measure: means, what fails a run, and which state is its result."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fdl import tree
from fdl.experiment import Best, Experiment, State
from fdl.metrics import Mean
from fdl.train.step_log import StepLog


class Kept(NamedTuple):
    """What is kept of a run besides its latest state, where it may end with another: its result.

    Attributes:
      state: the learner's state that is the best so far, or the latest that was evaluated.
      score: its metric, such that more is better; NaN before the first evaluation.
    """

    state: State
    score: jax.Array


class Row(NamedTuple):
    """One evaluation.

    Attributes:
      step: updates done, int32 scalar.
      metrics: float32 scalars as `metric_names` lists them; NaN is a missing value.
      valid: bool scalar; False where the run had ended before.
      best: whether this state is the run's result so far, bool scalar; of a run without `Best` always.
      log: the step metrics since the evaluation before, if the experiment wants them.
    """

    step: jax.Array
    metrics: Mapping[str, jax.Array]
    valid: jax.Array
    best: jax.Array
    log: StepLog | None


def metric_names(experiment: Experiment) -> tuple[str, ...]:
    """The names of all metrics in a row, those of the steps first, as `train/loss`.

    Raises:
      ValueError: a required metric, or that of the best state, is not among them.
    """
    key = jax.random.key(0)
    state = jax.eval_shape(experiment.learner.init, key)
    names = [f"train/{name}" for name in step_metrics(experiment, state)]
    for split, source in sorted(experiment.evaluation.items()):
        batch = jax.eval_shape(source.batch, source.arrays, jnp.int32(0), key)
        metrics = jax.eval_shape(experiment.learner.evaluate, state, batch, key)
        names += [f"{split}/{name}" for name in sorted(metrics)]
    for name in experiment.learner.required:
        if not any(_base(known) == name for known in names):
            raise ValueError(
                f"the learner requires a metric {name!r}, but has {', '.join(names)}; "
                "name those that must be finite, as Learner(..., required=('error',))"
            )
    best = best_of(experiment)
    if best and best.metric not in names:
        raise ValueError(f"the best state by {best.metric!r}: no such metric; there are: {', '.join(names)}")
    return tuple(names)


def best_of(experiment: Experiment) -> Best | None:
    """By which metric a run's result is chosen among its evaluated states, or None for the last."""
    return experiment.best or (experiment.stop.best if experiment.stop else None)


def step_metrics(experiment: Experiment, state: State) -> list[str]:
    """The names of the metrics of a step, in order; `state` may be shapes."""
    key = jax.random.key(0)
    batch = jax.eval_shape(experiment.train.batch, experiment.train.arrays, jnp.int32(0), key)
    return sorted(jax.eval_shape(experiment.learner.step, state, batch, key)[1])


def mean_of(value: Any) -> Mean:
    """A step's metric as part of the mean since the last evaluation; what is not a number is missing."""
    if isinstance(value, Mean):
        total, weight = jnp.asarray(value.total, jnp.float32), jnp.asarray(value.weight, jnp.float32)
        return Mean(jnp.where(weight == 0, 0, total), weight)
    value = jnp.asarray(value, jnp.float32)
    missing = jnp.isnan(value)
    return Mean(jnp.where(missing, 0, value), 1 - missing.astype(jnp.float32))


def first_lost(metrics: Mapping[str, Any], required: tuple[str, ...]) -> jax.Array:
    """The place of the first required metric that is not finite, or -1; int32 scalar.

    Args:
      metrics: by split and name; scalars, or sums with a `value`. A mean of weight zero is one of nothing:
        it is missing, not lost.
      required: names without the split.
    """
    lost = jnp.int32(-1)
    for place, (name, metric) in reversed(list(enumerate(metrics.items()))):
        if _base(name) in required:
            value = jnp.asarray(getattr(metric, "value", metric), jnp.float32)
            bad = ~jnp.isfinite(value)
            bad &= (metric.weight != 0) if isinstance(metric, Mean) else True
            lost = jnp.where(bad, place, lost)
    return lost.astype(jnp.int32)


def keep(
    kept: Kept | None, state: State, metrics: Mapping[str, jax.Array], best: Best | None, good: jax.Array
) -> tuple[Kept | None, jax.Array]:
    """What is kept after an evaluation, and whether that is this state.

    Args:
      kept: what was before it.
      state: the evaluated state.
      metrics: scalars by split and name.
      best: by which it is chosen; the latest if None.
      good: whether the run was live and has not failed, bool scalar.
    """
    if kept is None:
        return None, good
    score = kept.score
    if best:
        score = (1.0 if best.better == "higher" else -1.0) * metrics[best.metric]
        # The first evaluation counts whatever it gave, so that every run has a result.
        good &= (score > kept.score) | jnp.isnan(kept.score)
    return tree.where(good, Kept(state, score), kept), good


def _base(name: str) -> str:
    return name.partition("/")[2]
