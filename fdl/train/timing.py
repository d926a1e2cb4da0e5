"""How long steps and evaluations take, by a short trial of a compiled program."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
import scipy.stats

from fdl.train.autotune import Work
from fdl.train.program import Program, stack_members
from fdl.train.run import evaluation_steps

CALL_SECONDS = 0.1
"""About how long one timed call is to last."""
CALLS = 6
"""So many calls are timed."""
EVALUATIONS = 3
"""So many evaluations are timed at least, else as many as a run has, up to `CALLS`: those of a large split
may take longer than all steps."""
MOST_SECONDS = 20.0
"""After so long no further call is timed, once there are two."""


class Measured(NamedTuple):
    """A mean, and its interval of 97.5 %: the sum of two has one of at least 95 % (Bonferroni).

    It tells how the timed calls vary among themselves, as if they were independent and normal; that a machine
    is slower later, as when it gets warm or has other work, it cannot tell.

    Attributes:
      mean: seconds.
      low: lower end, not below 0.
      high: upper end.
    """

    mean: float
    low: float
    high: float


class Timing(NamedTuple):
    """What a program takes, in seconds.

    Attributes:
      step: a step of all its members.
      evaluation: an evaluation of them.
      first: how much more the first of both took: what is compiled only then, and warms up.
    """

    step: Measured
    evaluation: Measured
    first: float


def timed(work: Work, program: Program) -> Timing:
    """Times a compiled program on some work.

    Some steps are taken from the start of a run, and thrown away.
    """
    real = min(program.plan.members, len(work.configs))
    members = stack_members(work.configs[:real], work.keys[:real], pad_to=program.plan.members)
    members = program.place(members)
    carry, done, steps = program.init(members), 0, 1
    evaluations = len(evaluation_steps(work.experiment))

    def advance() -> float:
        nonlocal carry, done
        if done + steps > work.steps:
            carry, done = jax.block_until_ready(program.init(members)), 0
        began = time.perf_counter()
        carry, pulse = program.advance(members, carry, done, done + steps)
        live = jax.device_get(jax.block_until_ready(pulse)).live
        done = done + steps if live.any() else work.steps  # where all have ended, the next begins anew
        return time.perf_counter() - began

    def evaluate() -> float:
        nonlocal carry
        began = time.perf_counter()
        carry, row = program.evaluate(members, carry)
        jax.block_until_ready(row)
        return time.perf_counter() - began

    first = advance() + evaluate()
    for _ in range(2):  # one step alone is mostly the call's own time
        steps = max(1, min(work.steps, int(steps * CALL_SECONDS / max(advance(), 1e-7))))
    step, evaluation = (
        times_interval([one / steps for one in _several(advance)]),
        times_interval(_several(evaluate, most=max(EVALUATIONS, evaluations))),
    )
    return Timing(step, evaluation, max(0.0, first - step.mean - evaluation.mean))


def times_interval(seconds: Sequence[float]) -> Measured:
    """The mean of at least two times `[n]` and its t-interval."""
    mean = float(np.mean(seconds))
    margin = float(scipy.stats.sem(seconds) * scipy.stats.t.ppf(1 - 0.025 / 2, len(seconds) - 1))
    return Measured(mean, max(0.0, mean - margin), mean + margin)


def _several(call: Callable[[], float], most: int = CALLS) -> list[float]:
    taken = [call(), call()]
    while len(taken) < min(most, CALLS) and sum(taken) < MOST_SECONDS:
        taken.append(call())
    return taken
