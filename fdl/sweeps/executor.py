"""Executors: where the units of a sweep are trained."""

import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from fdl.parallel.plan import Overrides
from fdl.train.run import Build
from fdl.train.saving import Saving

DECIDE = "decide"
"""The task of finding a sweep's units and their plans, which one worker does."""
PLAN = "plan"
"""Begins the task of finding the plan of a group's widest units, where a scheduler leads: `plan GROUP RUNS`.
All other tasks are units: the names of their folders in `units`, or where these are in the work directory."""
SAVED = 75
"""Exit code of a worker that was asked to stop, and saved."""
TRIES = 5
"""So many workers may die at one task."""


class Sent(NamedTuple):
    """What a sweep's leading process sends to its workers.

    Attributes:
      experiment: `config -> Experiment`, by its name.
      config: the configs' class.
      workdir: the directory.
      trials: of each the arm, the config as JSON and the seed.
      inspected: the config as JSON and the seed of each run to look at.
      overrides: what the user decides of plans.
      saving: when to save.
      workers: how many there are at once.
      command: what the leading process was called by.
    """

    experiment: Build
    config: type
    workdir: str
    trials: list[tuple[str, dict[str, Any], int]]
    inspected: list[tuple[dict[str, Any], int]]
    overrides: Overrides
    saving: Saving
    workers: int
    command: str


class Tell(NamedTuple):
    """How an executor and the leading process hear of each other while tasks run.

    Attributes:
      asked: whether the leading process was asked to stop.
      say: a line for the user.
      step: `step(task, done, live)`: steps done of a unit, those of all members together, and members still
        running; where the executor can hear of it.
    """

    asked: Callable[[], bool]
    say: Callable[[str], None]
    step: Callable[[str, int, int], None]


Begin = Callable[[Sequence[str]], Iterator[tuple[str, Any]]]
"""Gives tasks, those to begin first at the front, to workers; yields each with what it comes to, as they end.
Raises `Interrupted` once it was asked to stop."""


class Executor(NamedTuple):
    """Where the units of a sweep are trained, by workers that are processes of their own.

    The work directory is all that they share. A worker that dies is replaced, `TRIES` times for a task, and
    its unit goes on from its last checkpoint.

    Attributes:
      workers: how many units are trained at once.
      open: `open(message, tell)` has workers for as long as it lasts; `message` is of `pickled`, for
        `fdl.sweeps.worker.work`. At its end those still at work save and end.
      first: a worker calls it before it looks for the experiment by its name.
    """

    workers: int
    open: Callable[[bytes, Tell], AbstractContextManager[Begin]]
    first: Callable[[], Any] | None = None


def pickled(sent: Sent, first: Callable[[], Any] | None, here: Mapping[str, Any]) -> bytes:
    """What workers are sent, as bytes.

    Args:
      sent: all that they need.
      first: what they call before they read it.
      here: where they are to look for files, as `cwd` and `path`.

    Raises:
      ValueError: the experiment or the configs' class has no name by which another process finds it.
    """
    try:
        by_name = pickle.dumps((sent.experiment, sent.config))
        if b"__main__" in by_name:
            raise pickle.PicklingError("it is of the program that was started")
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"the experiment cannot be sent to other processes ({error}); write it and its config as a `def` "
            "and a class at the top of a file that is imported, or leave out the executor"
        ) from None
    return pickle.dumps((dict(here), first, pickle.dumps(sent)))
