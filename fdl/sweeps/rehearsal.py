"""A claim tried before anything is trained, on a made-up result of the right columns."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fdl.parallel.plan import Plan
from fdl.result import Result
from fdl.sweeps.population import Group, Trained, Unit
from fdl.train.rows import best_of, metric_names
from fdl.train.run import evaluation_steps
from fdl.train.step_log import EVALUATION
from fdl.train.user_errors import is_ours, told

MOST = 100_000
"""Rows of a made-up result: a claim about more is not tried."""
_SURE = (AttributeError, ImportError, KeyError, NameError, NotImplementedError, TypeError)
"""What does not come of the numbers: other errors may, where the numbers are made up."""


def rehearse(
    claim: Callable[[Result], Any],
    groups: Sequence[Group],
    assemble: Callable[[list[Trained]], Result],
) -> None:
    """Calls a claim on what the runs might measure.

    Args:
      claim: the claim.
      groups: the runs.
      assemble: makes the result of what was trained.

    Raises:
      ValueError: a metric, a field or an arm that is not there, or another mistake that no numbers put right.
    """
    if sum(len(group.trials) * len(evaluation_steps(group.experiment)) for group in groups) > MOST:
        return
    try:
        with told("claim(result)"):
            claim(assemble([_made_up(group) for group in groups]))
    except ValueError as error:
        cause = error.__cause__ or error
        # Which runs stop or fail is not known before.
        known = isinstance(cause, ValueError) and is_ours(cause) and "status=" not in str(cause)
        if known or isinstance(cause, _SURE):
            raise ValueError(f"{error} (tried before training, on made-up numbers)") from error


def _made_up(group: Group) -> Trained:
    """Runs that all finish, with numbers between 0 and 1."""
    random, names = np.random.default_rng(0), metric_names(group.experiment)
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
            **dict(zip(names, random.random(len(names)).tolist(), strict=True)),
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
