"""Where a population's folder left off: its newest checkpoint, and the rows that belong to it."""

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from fdl.parallel.distributed import broadcast_from_first, is_first
from fdl.storage import Folder, orbax_writes, remove_partials
from fdl.train.checkpoint import Checkpoints, Fits, Restored, open_checkpoints
from fdl.train.emergency import Emergency
from fdl.train.inspecting import LINES
from fdl.train.program import Program
from fdl.train.restart import Restarts, restarted
from fdl.train.rows_file import Reading, Rows, keep_rows, lacking, read
from fdl.train.run import Carry, Member
from fdl.train.staged_checkpoint import open_staged
from fdl.train.step_log import EVALUATION

ROWS = "metrics.jsonl"
"""The file, or in a bucket the folder, of the rows that a population measured."""

Begin = Callable[[Member], Restored]
"""`begin(members)`, where members that are placed on the devices begin."""


def checkpoints_in(directory: Folder, *, keep: int, say: Callable[[str], None]) -> Checkpoints:
    """The checkpoints of a population's folder, on a disk or in a store."""
    open_ = open_checkpoints if orbax_writes(directory) else open_staged
    return open_(directory / "checkpoints", keep=keep, say=say)


class LeftOff(NamedTuple):
    """Where a population goes on.

    Attributes:
      found: its newest checkpoint whose rows are all there, or its beginning.
      rows: those that belong to it.
      restarts: of the run, this one among them.
      stored: the newest step that the folder itself has; another where an emergency checkpoint was taken.
    """

    found: Restored
    rows: Rows
    restarts: Restarts
    stored: int = 0


def left_off(
    checkpoints: Checkpoints,
    program: Program,
    members: Member,
    directory: Folder,
    say: Callable[[str], None],
    emergency: Emergency | None = None,
    begin: Begin | None = None,
) -> LeftOff:
    """Where a population goes on. The file of its rows is cut to those of the checkpoint, as is that of what
    was shown; what a kill left half written is removed.

    Args:
      checkpoints: those of the folder.
      program: the compiled functions.
      members: placed on the devices.
      directory: the folder.
      say: told of what is damaged, and of emergency checkpoints, one line each.
      emergency: the processes' own checkpoints, if there are to be any.
      begin: where it begins, if not at step 0.

    Raises:
      ValueError: there are checkpoints, but none can be used.
      OSError: something cannot be read.
    """
    began = time.monotonic()
    broadcast_from_first(lambda: remove_partials(directory))
    path = directory / ROWS
    reading = read(path) if is_first() else Reading([], [])

    def lost(about: Mapping[str, Any], step: int) -> str | None:
        rows = [row for row in reading.rows if _came(row) <= _measured(about, step)]
        return lacking(rows, about.get("rows"), path)

    found, stored = _newest(checkpoints, emergency, program.abstract, lost, say)
    last = _measured(found.about, found.step) if found else 0
    for line in reading.faults:
        say(f"{line}; left out: none of the rows up to step {last:,} is lost")
    kept: Rows = []
    broadcast_from_first(lambda: kept.extend(keep_rows(path, lambda row: _came(row) <= last)))
    broadcast_from_first(lambda: keep_rows(directory / LINES, lambda line: line["step"] <= last))
    reached = broadcast_from_first(lambda: max(map(_came, reading.rows), default=0))
    start = found or begun(program, members, begin)
    restarts = restarted(
        start.about.get("restarts", []),
        start.step if found or reached else 0,
        reached,
        compile_seconds=program.compile_seconds,
        restore_seconds=time.monotonic() - began,
        environment=os.environ,
    )
    rows = kept if is_first() else read(path).rows
    return LeftOff(start, rows, restarts, stored)


def _newest(
    checkpoints: Checkpoints,
    emergency: Emergency | None,
    abstract: Carry,
    fits: Fits,
    say: Callable[[str], None],
) -> tuple[Restored | None, int]:
    """The newest checkpoint that is whole, wherever it is, and the newest step that the folder has."""
    for step in emergency.steps(abstract, fits) if emergency else ():
        if found := checkpoints.restore(abstract, None, fits, at_least=step):
            break
        if emergency and (own := emergency.load(step, abstract)):
            emergency.went_on(step)
            say(f"going on from step {step:,}, of the emergency checkpoints: newer than any in the directory")
            return own, 0
    else:
        found = checkpoints.restore(abstract, None, fits)
    done = found.step if found else 0
    if emergency:
        emergency.went_on(done)
        if found:
            say(f"going on from step {done:,}, of the directory: no emergency checkpoint is newer")
    return found, done


def begun(program: Program, members: Member, begin: Begin | None) -> Restored:
    """The beginning of a population, `members` placed on the devices: at step 0, if `begin` says no other."""
    return begin(members) if begin else Restored(0, program.init(members), {})


def restored(program: Program, members: Member, directory: Folder | None, *, until: int) -> tuple[int, Carry]:
    """The newest stored carry of a population at or before a step, and its step; else the first one.

    Args:
      program: the compiled functions.
      members: placed on the devices.
      directory: where `loop.execute` left checkpoints, if anywhere.
      until: the step.
    """
    found = None
    if directory is not None:
        checkpoints = checkpoints_in(directory, keep=1, say=lambda _: None)
        try:
            found = checkpoints.restore(program.abstract, until, lambda *_: None)
        finally:
            checkpoints.close()
    return (found.step, found.carry) if found else (0, program.init(members))


def _came(row: Mapping[str, Any]) -> int:
    """The step of the evaluation with which a row was written."""
    return row.get(EVALUATION, row["step"])


def _measured(about: Mapping[str, Any], step: int) -> int:
    """Up to which step a checkpoint's rows go: its own, but where the evaluation was still owed."""
    return step - 1 if about.get("owed") else step
