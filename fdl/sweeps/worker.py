"""What a worker of a sweep does: it decides which units there are, or trains those that it is given.

As a program it reads from its standard input what `fdl.sweeps.executor.pickled` made, then tasks, and writes
answers; where its input ends, it saves and ends, so that no worker outlives who gives it work.
"""

import contextlib
import math
import os
import pickle
import platform
import queue
import signal
import socket
import statistics
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from fdl.serialization import digest, from_json
from fdl.storage import Folder, folder
from fdl.sweeps.check import checked_groups, named_fields
from fdl.sweeps.distinct import decided
from fdl.sweeps.executor import DECIDE, PLAN, SAVED, Sent
from fdl.sweeps.population import decided_units, finished_unit, groups_of, identified, trained
from fdl.sweeps.programs import Reused, chosen, structure_of
from fdl.sweeps.space import Sweep, Trial
from fdl.sweeps.units import LOST, Group, Run, Segment, Unit, folder_of, trials_in, unit_from
from fdl.text import counted, message_of, some_of
from fdl.train import history
from fdl.train.autotune import Choice
from fdl.train.folder import check_same, read_sealed
from fdl.train.identity import of_program
from fdl.train.profiling import Profiler
from fdl.train.progress import Progress, progress_of
from fdl.train.runtime import plans_folder, prepare
from fdl.train.signals import SIGNALS

STEP_SECONDS = 0.5
"""Between two messages of how far a task is."""
Do = Callable[[str, Progress], Any]
"""Does a task, and tells how far it is; gives what it comes to."""


def work(message: bytes) -> Do:
    """A function that does tasks of a sweep; its tasks share compiled programs.

    Args:
      message: of `fdl.sweeps.executor.pickled`.
    """
    here, first, content = pickle.loads(message)
    os.chdir(here["cwd"])
    sys.path += [place for place in here["path"] if place not in sys.path]
    if first:
        first()
    sent: Sent = pickle.loads(content)
    directory = folder(sent.workdir)
    prepare(directory)
    program = of_program(sent.experiment, sent.config)
    reused = Reused()

    def do(task: str, progress: Progress) -> Any:
        if task == DECIDE:
            return _decide(sent, directory, program, progress.say)
        if task.startswith(f"{PLAN} "):
            return _plan(sent, directory, program, reused, task, progress.say)
        group, unit = _found(sent, directory, program, reused, task)
        return _train(sent, group, unit, reused, progress)

    return do


def _decide(
    sent: Sent, directory: Folder, program: dict[str, Any], say: Callable[[str], None]
) -> list[tuple[str, int]]:
    """The units that are to be trained, the longest first, with their steps; what is missing is decided."""
    groups = checked_groups(sent.experiment, _space(sent), directory, sent.overrides, program=program)
    groups = decided(groups, sent.overrides, say).groups
    total = sum(group.experiment.steps * len(group.trials) for group in groups)
    left: list[tuple[str, int, float]] = []
    for group in groups:
        each = group.experiment.steps
        with named_fields(group):
            units = decided_units(
                group,
                sent.overrides,
                Reused(),
                remembered=plans_folder(directory),
                say=say,
                workers=-(-sent.workers * each * len(group.trials) // total),
            )
        left += [
            (folder_of(group, unit).name, each * len(unit.trials), unit.seconds)
            for unit in units
            if finished_unit(group, unit, say) is None
        ]
    return longest_first(left)


def _plan(
    sent: Sent,
    directory: Folder,
    program: dict[str, Any],
    reused: Reused,
    task: str,
    say: Callable[[str], None],
) -> Choice:
    """The plan of the widest units of a group, so that all workers have a part of so many runs."""
    number, runs = map(int, task.split()[1:])
    overrides, space = sent.overrides, _space(sent)
    group = checked_groups(sent.experiment, space, directory, overrides, program=program, reused=reused)[
        number
    ]
    own = overrides._replace(members=overrides.members or -(-runs // sent.workers))
    with named_fields(group):
        remembered = plans_folder(directory)
        return chosen(group, group.trials[:runs], own, reused, remembered=remembered, say=say)


def _space(sent: Sent) -> Sweep:
    return Sweep(tuple(Trial(arm, from_json(sent.config, config), seed) for arm, config, seed in sent.trials))


def longest_first(units: Sequence[tuple[str, int, float]]) -> list[tuple[str, int]]:
    """Names of units and their steps, in the order of how long they take.

    Args:
      units: of each the name, the steps of all its members, and the seconds of a step; of NaN, as where an
        earlier fdl decided, nothing is known, and it counts as the mean of the others.
    """
    known = [seconds for _, _, seconds in units if not math.isnan(seconds)]
    usual = statistics.fmean(known) if known else 1.0
    lengths = [steps * (usual if math.isnan(seconds) else seconds) for _, steps, seconds in units]
    order = sorted(range(len(units)), key=lambda number: -lengths[number])
    return [units[number][:2] for number in order]


def _found(
    sent: Sent, directory: Folder, program: dict[str, Any], reused: Reused, task: str
) -> tuple[Group, Unit]:
    """A unit that is stored, and its group.

    Raises:
      ValueError: this process has another experiment, or another fdl, than the one that decided it.
    """
    place = directory / (task if "/" in task else f"units/{task}")
    told = read_sealed(place / "unit.json", of=place.name, fix=LOST) or {"members": ()}
    trials = trials_in(told, sent.config)
    for group in groups_of(sent.experiment, trials, folder=place.parent, known=reused.groups):
        if structure_of(group) not in reused.groups:
            reused.groups[structure_of(group)] = group = identified(group, program)
        group = group._replace(folder=place.parent)
        check_same(place.parent.parent, told["structure"], group.identity["structure"])
        if folder_of(group, unit := unit_from(told, trials)).name == place.name:
            return group, unit
    where = f"{socket.gethostname()} (Python {platform.python_version()})"
    raise ValueError(
        f"the unit {place.name} is not one of this experiment as {where} has it: give all workers the same "
        "files, libraries and work directory"
    )


def _train(sent: Sent, group: Group, unit: Unit, reused: Reused, progress: Progress) -> None:
    named = [{"arm": trial.arm, "seed": trial.seed} for trial in unit.trials]
    start, until, _ = unit.segment or Segment(0, group.experiment.steps)
    before, total = -start * len(named), (until - start) * len(named)
    runs, steps = counted(len(named), "run"), counted(until - start, "step")
    progress.say(f"{runs} of {steps}: {some_of(list(dict.fromkeys(one['arm'] for one in named)))}")
    with named_fields(group):
        trained(
            group,
            unit,
            sent.overrides,
            reused,
            saving=sent.saving,
            progress=progress_of(progress, named, before=before, total=total),
            profiler=Profiler(),
            inspected=_looked_at(sent, unit),
            here={**history.here(sent.experiment), "command": sent.command},
        )


def _looked_at(sent: Sent, unit: Unit) -> set[Run]:
    """Which runs of a unit to look at, also where a scheduler has changed their configs since."""
    looked_at = [(digest(config), seed) for config, seed in sent.inspected]
    arms = {(arm, seed) for arm, config, seed in sent.trials if (digest(config), seed) in looked_at}
    return {trial[1:] for trial in unit.trials if (trial.arm, trial.seed) in arms}


def take_tasks() -> int:
    """Does the tasks that come on standard input; returns the exit code."""
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # Slurm may send it to all processes of a job; ours is told
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what users' code prints is no answer

    def answer(*words: Any) -> None:
        out.write(pickle.dumps(words))
        out.flush()

    told = time.monotonic()

    def step(done: int, total: int, live: int) -> None:
        nonlocal told
        if done == total or time.monotonic() - told > STEP_SECONDS:
            told = time.monotonic()
            answer("step", done, live)

    progress = Progress(lambda line: answer("say", line), step)
    try:
        tasks = _tasks()
        do = work(tasks.get())
        while True:
            answer("done", do(tasks.get(), progress))
    except KeyboardInterrupt:
        return SAVED
    except Exception as error:
        with contextlib.suppress(OSError):  # whoever gave the task may be gone
            answer("failed", *failure(error))
        return 1


def failure(error: Exception) -> tuple[type[Exception], str]:
    """An error as another process is to raise it; what is not for the user to mend is printed whole here."""
    kind = next((kind for kind in (ValueError, OSError, MemoryError) if isinstance(error, kind)), None)
    if kind is None:
        traceback.print_exception(error)
    return kind or RuntimeError, message_of(error)


def _tasks() -> "queue.SimpleQueue[Any]":
    """What comes on standard input; at its end this process is asked to stop."""
    tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def read() -> None:
        with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
            while True:
                tasks.put(pickle.load(sys.stdin.buffer))
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=read, daemon=True, name="tasks").start()
    return tasks


if __name__ == "__main__":
    sys.exit(take_tasks())
