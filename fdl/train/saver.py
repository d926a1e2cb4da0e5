"""Saves a run as it goes: when it is due, to its directory and to the processes' own disks."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from fdl.train.checkpoint import Checkpoints
from fdl.train.emergency import Emergency
from fdl.train.saving import Saving


class Due(NamedTuple):
    """What is to be saved now; JSON-able."""

    checkpoint: bool
    emergency: bool


class Saver:
    """When a run was saved last, and where."""

    def __init__(
        self, saving: Saving, checkpoints: Checkpoints | None = None, emergency: Emergency | None = None
    ) -> None:
        self.saving, self.checkpoints, self.emergency = saving, checkpoints, emergency
        self.step, self.at = 0, time.monotonic()
        self.emergency_step, self.emergency_at = 0, time.monotonic()

    def begin(self, step: int, stored: int) -> None:
        """Sets where the run begins: its step, and the newest that its directory has."""
        self.step, self.emergency_step = stored, step
        self.at = self.emergency_at = time.monotonic()

    def next_stop(self, done: int, end: int) -> int:
        """Before `end`, the next step at which a save is due by the number of steps."""
        every = self.saving.steps
        return min(end, (done // every + 1) * every) if every and self.checkpoints else end

    def due(self, done: int) -> Due:
        """What is to be saved at a step; as this process's clock says."""
        return Due(self._checkpoint_is_due(done), self._emergency_is_due(done))

    def save(self, due: Due, done: int, carry: Any, about: Callable[[], dict[str, Any]]) -> None:
        """Saves what is due and is not saved yet.

        Raises:
          OSError: the directory cannot be written; earlier checkpoints are intact.
        """
        if due.emergency and self.emergency and done > self.emergency_step:
            self.emergency.save(done, carry, about())
            self.emergency_at, self.emergency_step = time.monotonic(), done
        if due.checkpoint and self.checkpoints and done > self.step:
            self.checkpoints.save(done, carry, about())
            self.at, self.step = time.monotonic(), done

    def close(self) -> None:
        """Waits for the last save to the directory."""
        if self.checkpoints:
            self.checkpoints.close()

    def _checkpoint_is_due(self, done: int) -> bool:
        if not self.checkpoints:
            return False
        if self.saving.steps:
            return done // self.saving.steps > self.step // self.saving.steps
        return time.monotonic() - self.at > self.saving.seconds and not self.checkpoints.busy()

    def _emergency_is_due(self, done: int) -> bool:
        if not self.emergency or done == self.emergency_step or self.emergency.busy():
            return False
        return time.monotonic() - self.emergency_at > self.saving.emergency_seconds
