"""A claim tried before anything is trained, on made-up results of the right columns."""

import traceback
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fdl.parallel.plan import Plan
from fdl.result import Result
from fdl.sweeps.units import Group, Trained, Unit
from fdl.text import message_of
from fdl.train.rows import best_of, metric_names
from fdl.train.run import evaluation_steps
from fdl.train.step_log import EVALUATION
from fdl.train.user_errors import is_ours, told

MOST = 100_000
"""Rows of a made-up result: a claim about more is not tried."""
TRIES = 32
"""So many results are made up before an error that may come of their numbers is spoken of."""
_LEVELS = (-100.0, -1.0, 0.0, 0.5, 1.0, 100.0)
"""Near one of them are all the values of a metric in a made-up result, but for the first result."""
_SURE = (AttributeError, ImportError, KeyError, NameError, NotImplementedError, TypeError)
"""What does not come of the numbers: other errors may, where the numbers are made up."""


def rehearse(
    claim: Callable[[Result], Any],
    groups: Sequence[Group],
    assemble: Callable[[list[Trained]], Result],
    *,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Calls a claim on what the runs might measure.

    Args:
      claim: the claim.
      groups: the runs.
      assemble: makes the result of what was trained.
      say: told, in one line, of an error that comes again whatever the numbers: it may not come of them.

    Raises:
      ValueError: a metric, a field or an arm that is not there, or another mistake that no numbers put right.
    """
    if sum(len(group.trials) * len(evaluation_steps(group.experiment)) for group in groups) > MOST:
        return

    def fault(number: int) -> Exception | None:
        try:
            with told("claim(result)"):
                claim(assemble([_made_up(group, [number, place]) for place, group in enumerate(groups)]))
        except (ValueError, OSError) as error:
            return error
        return None

    first = fault(0)
    if first is None:
        return
    cause = first.__cause__ or first
    known = isinstance(cause, ValueError) and is_ours(cause)
    if known and "status=" in str(cause):  # which runs stop or fail is not known before
        return
    if known or isinstance(cause, _SURE):
        raise ValueError(f"{first} (tried before training, on made-up numbers)") from first
    if all(_place(fault(number)) == _place(first) for number in range(1, TRIES)):
        say(
            f"claim(result) fails on each of {TRIES} made-up results with very different numbers, so perhaps "
            f"on what is measured too, which is kept all the same: {message_of(first, most=300)}"
        )


def _place(error: Exception | None) -> tuple[type, str, int | None] | None:
    """What was raised, and where."""
    if error is None:
        return None
    cause = error.__cause__ or error
    frame = traceback.extract_tb(cause.__traceback__)[-1]
    return type(cause), frame.filename, frame.lineno


def _made_up(group: Group, seed: Sequence[int]) -> Trained:
    """Runs that all finish; with numbers between 0 and 1 if the seed's first number is 0, else with such
    whose size and spread differ from metric to metric."""
    random, names = np.random.default_rng(seed), metric_names(group.experiment)
    levels, spreads = np.zeros(len(names)), np.ones(len(names))
    if seed[0]:
        levels, spreads = random.choice(_LEVELS, len(names)), random.choice([0.0, 1.0, 50.0], len(names))
    best = {"best": True} if best_of(group.experiment) or group.experiment.stop else {}
    logged = [name for name in names if name.startswith("train/")] if group.experiment.log_every else []
    log = [
        {"member": index, "step": step, EVALUATION: step, **dict.fromkeys(logged, 0.5)}
        for index in range(len(group.trials))
        for step in evaluation_steps(group.experiment)
        if logged
    ]
    rows = [
        {
            "member": index,
            "step": step,
            **dict(zip(names, (levels + spreads * random.random(len(names))).tolist(), strict=True)),
            **best,
        }
        for index in range(len(group.trials))
        for step in evaluation_steps(group.experiment)
    ]
    steps = group.experiment.steps
    cost: dict[str, Any] = dict.fromkeys(
        ("compile_seconds", "train_seconds", "memory_bytes", "members_per_second"), 1.0
    )
    cost |= {"members": len(group.trials), "plan": "", "reason": "", "steps": steps}
    unit = Unit(group.trials, Plan(len(group.trials), "vmap", "scan", 1), "")
    ends = [{"status": "finished", "step": steps}] * len(group.trials)
    return Trained(unit, log + rows, ends, cost, [])
