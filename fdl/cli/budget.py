"""`fdl sweep --budget 30m`: stops in time, saved, and tells what is finished and what is not."""

import contextlib
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FrameType

from fdl.experiment_file import ExperimentFile
from fdl.parallel.distributed import several
from fdl.result import Result
from fdl.storage import Folder
from fdl.sweeps import Sweep, stored
from fdl.sweeps.lineages import name_of_changed
from fdl.sweeps.loading import so_far
from fdl.sweeps.run import schedule_place
from fdl.sweeps.schedule_loading import schedule_so_far
from fdl.text import counted

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds_of(text: str) -> float:
    """The seconds of a time as `90s`, `30m`, `1.5h` or `1h30m`.

    Raises:
      ValueError: it is none, or no time at all.

    >>> seconds_of("1h30m")
    5400.0
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or not seconds > 0:
        raise ValueError(f"--budget is {text!r}; expected a time, as 90s, 30m or 1h30m")
    return seconds


@contextlib.contextmanager
def within(seconds: float | None) -> Iterator[Callable[[], bool]]:
    """While it lasts, so many seconds end what trains as SIGTERM does: it saves, and raises
    `KeyboardInterrupt`. Gives `spent() -> bool`, whether that came; without seconds nothing comes.

    Raises:
      ValueError: SIGTERM is ignored, or this is one of several processes or threads.
    """
    spent = threading.Event()
    if seconds is None:
        yield spent.is_set
        return
    if threading.current_thread() is not threading.main_thread() or several():
        raise ValueError("--budget works for one process, in its main thread; leave it out here")
    if signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:
        raise ValueError("--budget stops by SIGTERM, which this process ignores; leave it out here")

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        spent.set()
        signal.raise_signal(signal.SIGTERM)

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield spent.is_set
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def ended(file: ExperimentFile, space: Sweep, directory: Folder) -> Result | None:
    """What the runs measured that have come to their end, also that which a scheduler gave them; or None."""
    if file.scheduler:
        found = schedule_so_far(schedule_place(file.experiment, space, file.scheduler, directory), {})
    else:
        found = so_far(directory, space, {})
    statuses = [] if found is None else found.frame["status"].unique().tolist()
    kept = [status for status in statuses if status != "running"]
    if found is None or not kept:
        return None
    if file.scheduler:
        return found.where(status=kept)
    return stored(file.experiment, space, workdir=directory)


def unfinished(space: Sweep, result: Result | None) -> dict[str, int]:
    """How many runs of each arm of some trials a result has not, of arms that lack some."""
    runs = result.runs() if result is not None else None
    there = set() if runs is None else set(zip(runs["arm"], runs["seed"], strict=True))
    left: dict[str, int] = {}
    for trial in space.trials:
        names = (trial.arm, name_of_changed(trial.arm))  # no sweep with a scheduler has arms of both
        if there.isdisjoint((name, trial.seed) for name in names):
            left[trial.arm] = left.get(trial.arm, 0) + 1
    return left


def not_finished(left: Mapping[str, int], runs: int, *, most: int = 6) -> str:
    """How many of some runs are not finished, and of which arms."""
    named = [f"{arm} ({counted(count, 'run')})" for arm, count in left.items()]
    more = f" and {len(named) - most} more arms" if len(named) > most else ""
    return f"{sum(left.values())} of {counted(runs, 'run')} not finished: {', '.join(named[:most])}{more}"
