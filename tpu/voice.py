"""Lines for people. Nothing that costs money waits for them to be read, or fails because nobody can."""

import os
import queue
import select
import sys
import threading
from collections.abc import Callable
from typing import TextIO

PATIENCE = 60
"""Seconds to answer a question."""
LONGEST = 100_000
"""Lines that wait for a reader who has stopped reading; what is said beyond them is left out, and counted."""


def voice() -> tuple[Callable[[str], None], Callable[[], None]]:
    """A function that prints a line and one that waits for all that was said.

    The first neither raises nor waits: a thread prints. Standard output may be gone (`| head`), full, closed,
    of an encoding that lacks a character, or a pipe that nobody reads.
    """
    waiting: queue.Queue[str] = queue.Queue(LONGEST)
    missed = 0

    def say(line: str) -> None:
        nonlocal missed
        try:
            waiting.put_nowait(line)
        except queue.Full:
            missed += 1

    def speak() -> None:
        nonlocal missed
        while True:
            write(waiting.get())
            if missed and waiting.empty():
                missed, count = 0, missed
                write(f"({count} lines are left out here)")
            waiting.task_done()

    threading.Thread(target=speak, daemon=True).start()
    return say, waiting.join


def answer(question: str) -> str | None:
    """What a person at the terminal answers, in small letters; None where nobody is there, or answers."""
    try:
        here = sys.stdin.fileno()
        # A background process that read from the terminal would be halted.
        if not (os.isatty(here) and sys.stderr.isatty() and os.tcgetpgrp(here) == os.getpgrp()):
            return None
        write(f"{question} (yes in {PATIENCE} s)", error=True)
        for _ in range(
            2 * PATIENCE
        ):  # in small steps: a signal that comes just before a wait does not end it
            if select.select([here], [], [], 0.5)[0]:
                return sys.stdin.readline().strip().lower()
        return None
    except (OSError, ValueError, AttributeError, KeyboardInterrupt):  # it was closed, or hung up; or enough
        return None


def write(line: str, *, error: bool = False) -> None:
    """Writes a line to standard output or, where that fails, to standard error; `error`: the other way."""
    streams = (sys.stderr, sys.stdout) if error else (sys.stdout, sys.stderr)
    any(_written(stream, line) for stream in streams)


def _written(stream: TextIO | None, line: str) -> bool:
    """Whether a stream took a line."""
    if stream is None:  # it was closed before Python began
        return False
    try:
        left = f"{line}\n".encode(stream.encoding or "utf-8", "backslashreplace")
        # Past the buffer: what stayed in it would be written again, and fail again, when Python ends.
        file = getattr(stream.buffer, "raw", stream.buffer)
        while left:
            left = left[file.write(left) or len(left) :]
    except (OSError, ValueError, AttributeError):
        return False
    return True
