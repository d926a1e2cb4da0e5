"""How a population ended."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fdl.parallel.sharding import host_copy
from fdl.train import history
from fdl.train.inspecting import Inspections
from fdl.train.restart import Restart
from fdl.train.run import Carry


class Outcome(NamedTuple):
    """How a population ended.

    Attributes:
      carry: its final carry, leaves `[members, ...]`.
      rows: every evaluation: `{"member": index, "step": updates, metric: value, ...}`; where a run's result
        may be another state than its last, also whether this one is it so far, as `"best"`. Before those
        of an evaluation come those of the log, which have its step as `"evaluation"`.
      ends: for each member `{"status": "finished" | "stopped" | "failed", "step": updates}`, and of a
        failed one the `"metric"` that was not finite at the step after.
      parts: which versions and devices trained it, see `fdl.train.history`.
      seconds: that the training of what is kept took, over all commands.
      restarts: what going on after an end cost, each time.
      inspections: what was shown of members, on the first process.
    """

    carry: Carry
    rows: list[dict[str, Any]]
    ends: list[dict[str, Any]]
    parts: list[history.Part]
    seconds: float
    restarts: list[Restart]
    inspections: Inspections


def ends(carry: Carry, real: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """How each member ended, as `Outcome.ends`.

    Args:
      carry: its final carry.
      real: whether each member is no padding `[members]`.
      names: the metrics' names, in the order of `Carry.failed`.
    """
    step, stopped, failed = host_copy((carry.step, carry.stopped, carry.failed))
    return [
        {"status": "failed", "step": int(step[i]), "metric": names[failed[i]]}
        if failed[i] >= 0
        else {"status": "stopped" if stopped[i] else "finished", "step": int(step[i])}
        for i in map(int, np.flatnonzero(real))
    ]
