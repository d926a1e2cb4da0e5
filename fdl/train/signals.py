"""SIGTERM, SIGHUP and Ctrl-C: finish the call, save, say how to go on."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What asks a run to stop, but where it was ignored before, as under `nohup`."""


class Interrupted(KeyboardInterrupt):
    """A run was asked to stop, and stopped; its message says how to go on."""


@contextlib.contextmanager
def caught() -> Iterator[Callable[[], bool]]:
    """While it lasts, `SIGNALS` set a flag; gives `asked() -> bool`.

    A second signal has its usual effect. Outside the main thread nothing is caught.

    Raises:
      Interrupted: at its end, where one came and nothing else is raised: that it came when there was nothing
        left to ask `asked`, as in the last save, does not mean that what follows may begin.
    """
    flag = threading.Event()

    def handle(number: int, frame: object) -> None:
        del frame
        flag.set()
        signal.signal(number, before[number])

    if threading.current_thread() is not threading.main_thread():
        yield flag.is_set
        return
    before = {int(number): signal.getsignal(number) for number in SIGNALS}
    before = {number: how for number, how in before.items() if how not in (None, signal.SIG_IGN)}
    for number in before:
        signal.signal(number, handle)
    try:
        yield flag.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if flag.is_set():
        raise Interrupted("stopped, and saved; the same command goes on from there")
