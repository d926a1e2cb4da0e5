"""A worker of a sweep as a process beside this one, and how to speak with it."""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from fdl.sweeps.executor import SAVED
from fdl.train.progress import Progress

Worker = subprocess.Popen[bytes]


class Died(Exception):
    """A worker ended in the midst of a task; the message says how."""


def started(message: bytes, more: Mapping[str, str]) -> Worker:
    """A worker that waits for tasks.

    Args:
      message: of `fdl.sweeps.executor.pickled`.
      more: what its environment has beside ours.
    """
    worker = subprocess.Popen(
        [sys.executable, "-m", "fdl.sweeps.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **more},
        start_new_session=True,  # Ctrl-C is for us, who ask it to stop
    )
    _send(worker, message)
    return worker


def asked_to_do(worker: Worker, task: str, progress: Progress) -> Any:
    """What a task comes to, which a worker does now.

    Raises:
      Died: it was killed, or crashed, or was asked to stop, and saved.
      Exception: what it raised, as far as the user can mend it; of all else the traceback is printed.
    """
    _send(worker, task)
    assert worker.stdout
    while True:
        try:
            kind, *words = pickle.load(worker.stdout)
        except (EOFError, OSError, pickle.UnpicklingError, ValueError):
            break
        if kind == "done":
            return words[0]
        if kind == "failed":
            raise words[0](words[1])
        (progress.say if kind == "say" else lambda done, live: progress.step(done, 0, live))(*words)
    code = worker.wait()
    if code == SAVED:
        raise Died("was asked to stop, and saved")
    raise Died(f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}")


def stop(worker: Worker) -> None:
    """Asks a worker to save and end; does not wait for it."""
    with contextlib.suppress(OSError, ValueError):
        assert worker.stdin
        worker.stdin.close()


def _send(worker: Worker, what: Any) -> None:
    with contextlib.suppress(OSError, ValueError):  # it is gone, or being stopped: its answer will not come
        assert worker.stdin
        worker.stdin.write(pickle.dumps(what))
        worker.stdin.flush()
