"""The leading process of a sweep whose units are trained by others: it gives tasks and waits."""

import contextlib
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from fdl.parallel.plan import Overrides
from fdl.serialization import to_json
from fdl.storage import Folder, in_bucket
from fdl.sweeps.executor import DECIDE, Executor, Sent, Tell, pickled
from fdl.sweeps.scheduled import Step, Workers
from fdl.sweeps.space import Sweep
from fdl.sweeps.units import Run
from fdl.text import command_text
from fdl.train.progress import Progress
from fdl.train.run import Build
from fdl.train.saving import Saving
from fdl.train.signals import caught


def message_for(
    executor: Executor,
    experiment: Build,
    space: Sweep,
    directory: Folder,
    overrides: Overrides,
    saving: Saving,
    inspected: Collection[Run],
) -> bytes:
    """What the workers of a sweep are sent.

    Raises:
      ValueError: as `pickled`.
    """
    sent = Sent(
        experiment,
        type(space.trials[0].config),
        str(directory if in_bucket(directory) else Path(str(directory)).absolute()),
        [(trial.arm, to_json(trial.config), trial.seed) for trial in space.trials],
        [(to_json(config), seed) for config, seed in inspected],
        overrides,
        saving,
        executor.workers,
        command_text(sys.argv),
    )
    return pickled(sent, executor.first, {"cwd": os.getcwd(), "path": sys.path})


@contextlib.contextmanager
def leading(executor: Executor, message: bytes, say: Callable[[str], None]) -> Iterator[Workers]:
    """Has workers for as long as it lasts.

    Args:
      executor: who they are.
      message: of `message_for`.
      say: told of what they say.

    Raises:
      Interrupted: we were asked to stop, and all is saved.
    """
    done: dict[str, tuple[int, int]] = {}  # of each task the steps done, and members still running
    told: Step = lambda *_: None  # noqa: E731

    def step(task: str, steps: int, live: int) -> None:
        done[task] = steps, live
        at_work = list(done.values())
        told(sum(steps for steps, _ in at_work), sum(live for _, live in at_work))

    with caught() as asked, executor.open(message, Tell(asked, say, step)) as begin:

        def give(tasks: Mapping[str, int], step_of_all: Step) -> Iterator[tuple[str, Any]]:
            nonlocal told
            done.clear()
            told = step_of_all
            for task, outcome in begin(list(tasks)) if tasks else ():
                step(task, tasks[task], 0)
                yield task, outcome

        yield Workers(executor.workers, give)


def lead(executor: Executor, message: bytes, progress: Progress, *, total: int) -> None:
    """Has all units trained that are not yet; returns when none is left.

    Args:
      executor: who trains.
      message: of `message_for`.
      progress: told of the progress.
      total: steps of all the sweep's members together.

    Raises:
      Interrupted: we were asked to stop, and all is saved.
      ValueError: as a worker found something wrong; and `OSError` likewise.
    """
    with leading(executor, message, progress.say) as workers:
        ((_, units),) = workers.give({DECIDE: 0}, lambda *_: None)
        steps = dict(units)
        finished = total - sum(steps.values())
        for _ in workers.give(steps, lambda done, live: progress.step(finished + done, total, live)):
            pass
