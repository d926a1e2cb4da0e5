"""When to save, and how much to keep."""

import math
from typing import NamedTuple


class Saving(NamedTuple):
    """When to save and what to keep.

    Attributes:
      seconds: between saves; saves cost what they cost by time, not by steps.
      steps: between saves, if they are to be at fixed steps.
      keep: how many of the last checkpoints to keep.
    """

    seconds: float = 60.0
    steps: int | None = None
    keep: int = 2


def check_saving(saving: Saving, *names: str) -> None:
    """Whether a run can be saved so.

    Args:
      saving: how.
      names: what the user calls its fields, if otherwise.

    Raises:
      ValueError: a number out of range.
    """
    seconds, steps, keep = names or ("saving.seconds", "saving.steps", "saving.keep")
    if not 0 <= saving.seconds < math.inf:
        raise ValueError(f"{seconds} is {saving.seconds}; expected a finite number >= 0")
    if saving.steps is not None and saving.steps < 1:
        raise ValueError(f"{steps} is {saving.steps}; expected 1 or more")
    if saving.keep < 1:
        raise ValueError(f"{keep} is {saving.keep}; expected 1 or more")
