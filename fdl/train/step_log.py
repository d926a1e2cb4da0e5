"""Step metrics between evaluations: their means over every so many steps, in a buffer of the carry."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fdl.experiment import Experiment
from fdl.metrics import Mean

EVALUATION = "evaluation"
"""What a row of the log has beside the member, the step and the means: the step of the evaluation with which
it came. By it a resumed run knows which rows it will measure again, and a reader which are of evaluations."""


class StepLog(NamedTuple):
    """What was measured since the last evaluation, in a slot for every `log_every` steps.

    Attributes:
      until: updates done after the last step of a slot, int32 `[slots]`; 0 where none was taken.
      sums: of the step metrics by name, leaves `[slots]`.
    """

    until: jax.Array
    sums: Mapping[str, Mean]


def empty_log(experiment: Experiment, names: list[str]) -> StepLog | None:
    """The log before a run's first step; None where the experiment wants none."""
    if experiment.log_every is None:
        return None
    period = min(experiment.evaluate_every, experiment.steps)
    slots = -(-period // experiment.log_every)
    zeros = jnp.zeros(slots, jnp.float32)
    return StepLog(jnp.zeros(slots, jnp.int32), {name: Mean(zeros, zeros) for name in names})


def logged(
    log: StepLog | None, experiment: Experiment, step: jax.Array, means: Mapping[str, Mean], counts: jax.Array
) -> StepLog | None:
    """The log after a step.

    Args:
      log: before it.
      experiment: says how long a slot is.
      step: updates done before it, int32 scalar.
      means: its metrics by name.
      counts: whether the run took it, bool scalar.
    """
    if log is None or experiment.log_every is None:
        return None
    slot = step % experiment.evaluate_every // experiment.log_every
    # A mask and not an index: of many members at once the index would be a scatter, which CPUs do one by one.
    here = (jnp.arange(log.until.size) == slot) & counts
    sums = jax.tree.map(lambda sum, new: sum + jnp.where(here, new, 0), log.sums, dict(means))
    return StepLog(jnp.where(here, step + 1, log.until), sums)


def log_rows(log: StepLog, member: int, *, evaluation: int) -> list[dict[str, Any]]:
    """A member's rows, one of each slot in which it took a step; a metric that none had is NaN.

    Args:
      log: on the host, leaves `[members, slots]`.
      member: its place.
      evaluation: the step of the evaluation with which they came.
    """
    until = np.asarray(log.until[member])
    with np.errstate(invalid="ignore"):
        means = {f"train/{name}": one.total[member] / one.weight[member] for name, one in log.sums.items()}
    return [
        {"member": member, "step": int(until[slot]), EVALUATION: evaluation}
        | {name: float(values[slot]) for name, values in sorted(means.items())}
        for slot in np.flatnonzero(until)
    ]


def is_of_log(row: Mapping[str, Any]) -> bool:
    """Whether a row of a run is one of its log, and not of an evaluation."""
    return EVALUATION in row
