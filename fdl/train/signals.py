"""SIGTERM and Ctrl-C: finish the call, save, say how to go on."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


class Interrupted(KeyboardInterrupt):
    """A run was asked to stop, and stopped; its message says how to go on."""


@contextlib.contextmanager
def caught() -> Iterator[Callable[[], bool]]:
    """While it lasts, SIGTERM and SIGINT set a flag; gives `asked() -> bool`.

    A second signal has its usual effect. Outside the main thread nothing is caught.
    """
    flag = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield flag.is_set
        return
    numbers = (int(signal.SIGINT), int(signal.SIGTERM))
    before = {number: signal.getsignal(number) for number in numbers}

    def handle(number: int, frame: object) -> None:
        del frame
        flag.set()
        signal.signal(number, before[number])

    for number in numbers:
        signal.signal(number, handle)
    try:
        yield flag.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
