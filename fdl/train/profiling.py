"""A trace by JAX's profiler of some steps: where their time goes, on the host and on the devices."""

import datetime
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from fdl.parallel.distributed import broadcast_from_first, process_id, several
from fdl.storage import Folder, folder, in_bucket, write_atomically
from fdl.text import named
from fdl.train.folder import check_place

STEPS = 10
"""So many steps are traced."""
WARM = 10
"""So many come before: the first steps read data for the first time and fill caches."""


def place_of(profile: bool | Folder | str, directory: Folder | str | None) -> Folder | None:
    """Where a trace goes: `profile` in the run's directory if True, else the folder given; None for False.

    Raises:
      ValueError: no folder, or True without a directory.
      OSError: a bucket that does not exist.
    """
    if profile is False:
        return None
    if profile is True and not directory:
        raise ValueError(
            "profile is True, a folder in the run's directory, and there is none; "
            "expected a folder to write to, as profile='profile'"
        )
    if profile is not True and (not isinstance(profile, str | os.PathLike) or not str(profile).strip()):
        raise ValueError(f"profile is {profile!r}; expected a folder, or True for one in the run's directory")
    place = folder(str(directory)) / "profile" if profile is True else folder(str(profile))
    check_place(place)
    return place


def stretch(schedule: Sequence[int], began: int) -> tuple[int, int] | None:
    """After which step a trace begins and after which it ends: `STEPS` in a row, after the first `WARM`.

    No evaluation is in it, which may take longer than all steps. Where a run is too short, or evaluates too
    often, it is the longest stretch that there is.

    Args:
      schedule: the steps after which the run evaluates, ascending; the last ends it.
      began: the step where it starts, or goes on.

    Returns:
      The two steps; None if none is left.

    >>> stretch([1000], 0), stretch([1000], 500), stretch([11, 22], 0), stretch([4, 12], 0), stretch([8], 8)
    ((10, 20), (510, 520), (11, 21), (4, 12), None)
    """
    first = max(began, min(began + WARM, schedule[-1] - STEPS))
    borders = [first, *(step for step in schedule if step > first)]
    parts = [(start, min(end, start + STEPS)) for start, end in itertools.pairwise(borders)]
    return max(parts, key=lambda part: part[1] - part[0], default=None)


class Profiler:
    """Traces some steps of the first training that has any left; as a context, no longer than it lasts.

    It decides where calls end, which changes no bit of what they compute, and waits for the devices before
    and after, so that the trace holds these steps and no others.

    Attributes:
      seconds: what starting and ending a trace took in the training that runs, beside the steps.
    """

    def __init__(self, place: Folder | None = None, say: Callable[[str], None] = lambda _: None) -> None:
        self.place, self.say = place, say
        self.wanted, self.seconds = place is not None, 0.0
        self.steps: tuple[int, int] | None = None
        self.began = 0
        self.running: _Trace | None = None

    def plan(self, schedule: Sequence[int], began: int) -> None:
        """Chooses the steps of a training that begins."""
        self.seconds, self.began = 0.0, began
        self.steps = stretch(schedule, began) if self.wanted else None

    def bound(self, done: int, end: int) -> int:
        """Where a call from step `done` ends that would end at `end`."""
        return min([end, *(step for step in self.steps or () if step > done)])

    def before(self, done: int, carry: Any) -> None:
        """Starts the trace if the next call begins with its first step; `carry` is what that reads.

        Raises:
          ValueError: a trace runs already, which is not this one.
        """
        if self.wanted and self.running is None and self.steps and done == self.steps[0]:
            jax.block_until_ready(carry)
            began = time.monotonic()
            self.running = _Trace("steps {} to {}".format(*self.steps))
            self.seconds += time.monotonic() - began

    def after(self, done: int, carry: Any) -> None:
        """Ends the trace if a call ended with its last step; `carry` is what that wrote."""
        if self.running and self.steps and done == self.steps[1]:
            jax.block_until_ready(carry)
            start, end = self.steps
            few = end - start < STEPS or start < self.began + WARM
            why = (
                f": {STEPS} in a row after the first {WARM}, with no evaluation, are not left" if few else ""
            )
            self._end(f"steps {start:,} to {end:,}{why}")

    def end(self) -> None:
        """Ends the trace where the training has ended, as all of its runs may do before their last step."""
        if self.running and self.steps:
            self._end(f"the steps from {self.steps[0]:,} on, until the training ended")

    def __enter__(self) -> "Profiler":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.end()
        if self.wanted and kind is None:
            why = (
                f"training ended before step {self.steps[0]:,}" if self.steps else "no step is left to train"
            )
            self.say(f"there is no profile: {why}")

    def _end(self, what: str) -> None:
        """An error is said: a mistake in what only looks on costs no run."""
        assert self.running is not None and self.place is not None
        began, trace = time.monotonic(), self.running
        self.running, self.wanted = None, False
        try:
            file = trace.stored(self.place)
            self.say(f"profile of {what}; {_opened(self.place, file)}")
        except Exception as error:
            self.say(f"the profile of {what} cannot be written to {self.place}: {named(error)}")
        self.seconds += time.monotonic() - began


class _Trace:
    """A trace that runs; it is written to a folder of its own first, as the profiler writes to no bucket, and
    calls the files of processes on one host alike."""

    def __init__(self, name: str) -> None:
        stamp = f"{datetime.datetime.now():%Y_%m_%d_%H_%M_%S}"  # all processes say the same: xprof joins them
        self.session = broadcast_from_first(lambda: f"{stamp}_{name.replace(' ', '_')}")
        self.here = tempfile.TemporaryDirectory(prefix="fdl-profile-", ignore_cleanup_errors=True)
        try:
            jax.profiler.start_trace(self.here.name, create_perfetto_trace=True)
        except RuntimeError as error:
            self.here.cleanup()
            raise ValueError(
                f"a profile is asked for, and none can begin ({named(error)}); leave out one of the two"
            ) from error
        self.mark = jax.profiler.TraceAnnotation(name)
        self.mark.__enter__()

    def stored(self, place: Folder) -> Folder:
        """Ends the trace, and moves its files to where xprof looks for them; gives the one for Perfetto."""
        target = place / "plugins" / "profile" / self.session
        own = f"{process_id()}-" if several() else ""
        try:
            self.mark.__exit__(None, None, None)
            jax.profiler.stop_trace()
            if not in_bucket(target):
                target.mkdir(parents=True, exist_ok=True)
            for file in Path(self.here.name).glob("plugins/profile/*/*"):
                write_atomically(target / f"{own}{file.name}", file.read_bytes())
        finally:
            self.here.cleanup()
        return target / f"{own}perfetto_trace.json.gz"


def _opened(place: Folder, file: Folder) -> str:
    first = "copy it to a local folder, then " if str(place).startswith("s3://") else ""
    return f"{first}open it with `xprof --logdir {place}` (pip install xprof), or {file} at https://ui.perfetto.dev"
