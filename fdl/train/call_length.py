"""How many steps a compiled program takes a call: enough to cost nothing, few enough to answer a signal."""

from typing import Any

import jax

from fdl import tree

SECONDS = 0.25
"""How long a call should run."""
_FRESH = 25e6
"""Bytes a second. On CPUs a call gets its temporary arrays from the system anew, page by page: for a state of
51 MB, which XLA copies twice within a step, 33 ms were seen. With two seconds more for every 50 MB of state
that is about 1.5 % of a call."""
_LONGEST = 4.0
"""Seconds that a call may run all the same: whoever stops a run waits for it, and for one that is queued."""


def call_seconds(carry: Any) -> float:
    """How long a call of a program with this carry should run."""
    leaf = jax.tree.leaves(carry)[0]
    if next(iter(leaf.devices())).platform != "cpu":
        return SECONDS
    return min(SECONDS + tree.nbytes(carry) / len(leaf.devices()) / _FRESH, _LONGEST)


def wanted_steps(steps: int, seconds: float, *, longest: int, call: float) -> int:
    """The steps of the calls to come.

    Args:
      steps: of the last call.
      seconds: that it took.
      longest: of the calls so far; the next ones have at most eight times as many.
      call: how many seconds a call should take.
    """
    return max(1, min(int(steps * call / max(seconds, 1e-6)), longest * 8))
