"""When to save, and how much to keep."""

import math
import os
from pathlib import Path
from typing import NamedTuple

from fdl.parallel.distributed import several
from fdl.storage import Folder, in_bucket
from fdl.train.folder import check_place


class Saving(NamedTuple):
    """When to save and what to keep.

    Attributes:
      seconds: between saves; saves cost what they cost by time, not by steps.
      steps: between saves, if they are to be at fixed steps.
      keep: how many of the last checkpoints to keep.
      emergency: a folder on each process's own disk, or in its memory (`/dev/shm/NAME`), for checkpoints
        beside those of the run's directory, each process its own part; none if None. A start takes the
        newest that is whole, there on every process or in the directory.
      emergency_seconds: between saves there, of which the last two are kept.
    """

    seconds: float = 60.0
    steps: int | None = None
    keep: int = 2
    emergency: str | Path | None = None
    emergency_seconds: float = 10.0


def check_saving(saving: Saving, *names: str, kept: bool = True) -> None:
    """Whether a run can be saved so.

    Args:
      saving: how.
      names: what the user calls its fields, if otherwise.
      kept: whether there is a directory.

    Raises:
      ValueError: a number out of range, a place for emergency checkpoints that is no local folder, or no
        directory, which says what they belong to.
    """
    seconds, steps, keep, emergency, often = names or [f"saving.{name}" for name in Saving._fields]
    for name, value in ((seconds, saving.seconds), (often, saving.emergency_seconds)):
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} is {value}; expected a finite number >= 0")
    if saving.steps is not None and saving.steps < 1:
        raise ValueError(f"{steps} is {saving.steps}; expected 1 or more")
    if saving.keep < 1:
        raise ValueError(f"{keep} is {saving.keep}; expected 1 or more")
    if saving.emergency is None:
        return
    place = os.fspath(saving.emergency)
    if not place.strip() or "://" in place:
        raise ValueError(f"{emergency} is {place!r}; expected a folder on each process's own disk")
    if not kept:
        raise ValueError(f"{emergency} is {place}, but the run has no directory; give one, or leave it out")
    check_place(Path(place))


def in_vain(saving: Saving, directory: Folder | None) -> str:
    """What there is to say of emergency checkpoints of a single process whose directory is as near."""
    if saving.emergency is None or directory is None or several() or in_bucket(directory):
        return ""
    return (
        f"emergency checkpoints gain nothing unless {directory} is on a network's disk: "
        "let those there be as frequent"
    )
