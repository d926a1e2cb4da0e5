"""Several processes end together: where one fails, the others say why and end within seconds.

Without this a plain exception on one of them would leave the others waiting for minutes.
"""

import atexit
import contextlib
import json
import os
import sys
import threading
import time
import traceback
from typing import Any

import jax

from fdl.parallel.distributed import client, is_first, process_id, processes, several
from fdl.text import named

SEEN_SECONDS = 3.0
"""How long process 0, whose end is the end of the coordination service, waits for the others to read."""
_ENDED = "fdl/ended"
_PRINTING = threading.Lock()


def watch() -> None:
    """Watches for the end of other processes, and tells them of this one's; after `distributed.join`."""
    thread = threading.Thread(target=_watch, daemon=True, name="other processes")
    thread.start()

    def close() -> None:
        # All come here or are told why not. The thread must end before the interpreter does.
        try:
            jax.distributed.shutdown()
        except jax.errors.JaxRuntimeError as error:
            leave(reason_of(error), 1)
        thread.join()

    def uncaught(kind: Any, error: BaseException, trace: Any) -> None:
        leave(reason_of(error), 1, detail="".join(traceback.format_exception(error)).rstrip())

    atexit.register(close)
    sys.excepthook = uncaught


def leave(reason: str, code: int, *, detail: str = "") -> None:
    """Ends this process and all others at once; returns only where there are no others.

    Args:
      reason: one line, which every process prints.
      code: the exit code of all.
      detail: what this process alone prints, if it is the first that fails.
    """
    if not several():
        return
    ours = {"process": process_id(), "reason": reason, "code": code}
    try:
        client().key_value_set(_ENDED, json.dumps(ours))
    except jax.errors.JaxRuntimeError:  # another was first, or process 0 is gone
        with contextlib.suppress(jax.errors.JaxRuntimeError):
            _end(json.loads(client().blocking_key_value_get(_ENDED, 1000)))
    _end(ours, detail)


def reason_of(error: BaseException) -> str:
    """An error in a line, with a hint where it only says that another process is gone."""
    text = named(error, most=300)
    return f"lost touch with another process, which may have been killed ({text})" if lost(error) else text


def lost(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, only says that another of several processes is gone."""
    if error is None or not several():
        return False
    words = ("gloo", "connection", "socket", "unavailable")
    gone = isinstance(error, jax.errors.JaxRuntimeError) and any(word in str(error).lower() for word in words)
    return gone or lost(error.__cause__)


def _watch() -> None:
    while True:
        try:
            theirs = json.loads(client().blocking_key_value_get(_ENDED, 60_000))
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" in str(error):
                continue
            return  # all is over, or process 0 is gone: then jax says so and ends this process
        except AttributeError:  # shut down in between
            return
        if theirs["process"] != process_id():
            _end(theirs)
        return


def _end(ended: dict[str, Any], detail: str = "") -> None:
    """Prints the reason, and ends; by whichever thread comes first."""
    _PRINTING.acquire()
    own = sys.__stderr__ or sys.stderr  # the main thread may have put another in its place for a while
    with contextlib.suppress(OSError, ValueError):  # it may go to a disk that is full
        if detail:
            print(detail, file=own)
        print(f"process {ended['process']} ended: {ended['reason']}", file=own)
    for stream in (sys.stdout, own):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    with contextlib.suppress(jax.errors.JaxRuntimeError):
        client().key_value_set(f"fdl/seen/{process_id()}", "", allow_overwrite=True)
        deadline = time.monotonic() + SEEN_SECONDS
        for other in range(processes()) if is_first() else ():
            left = max(1, int(1000 * (deadline - time.monotonic())))
            client().blocking_key_value_get(f"fdl/seen/{other}", left)
        if is_first():
            time.sleep(0.3)  # the others end now: while the service stands, they do it their own way
    os._exit(ended["code"])
