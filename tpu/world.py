"""What the launcher does to the outside: run a program, wait, print. All else is a function of it."""

import os
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, TypeVar

from tpu.voice import answer, voice

T = TypeVar("T")


class Output(NamedTuple):
    """How a program ended: `code` is None where it took too long and was ended, or could not be started."""

    code: int | None
    out: bytes
    error: str

    def reason(self) -> str:
        """Its last line of complaint; where that ends in a colon, with what follows it."""
        lines = [line.strip() for line in self.error.splitlines() if line.strip()]
        marked = [number for number, line in enumerate(lines) if line.startswith("ERROR")]
        if marked and lines[marked[-1]].endswith(":"):
            return " ".join(lines[marked[-1] :])
        nothing = "no answer in time" if self.code is None else f"exit code {self.code}"
        return lines[marked[-1]] if marked else (lines or [nothing])[-1]


class World(NamedTuple):
    """The effects, so that tests can give others."""

    run: Callable[[Sequence[str], float], Output]
    """runs a program, for so many seconds at most"""
    now: Callable[[], float]
    """seconds on a clock that only goes forward"""
    sleep: Callable[[float], None]
    token: Callable[[], str]
    """a new word each time"""
    say: Callable[[str], None]
    """prints a line; never raises, never waits for whoever reads it"""
    at_once: int = 16
    """connections at a time"""
    heard: Callable[[], None] = lambda: None
    """waits until all lines are printed, or cannot be"""
    stop: Callable[[], None] = lambda: None
    """ends what runs, and lets nothing begin"""
    resume: Callable[[], None] = lambda: None
    """lets things begin again"""
    ask: Callable[[str], str | None] = lambda question: None
    """the answer of a person at the terminal, in small letters; None where there is none"""
    date: Callable[[], float] = time.time
    """seconds since 1970"""


def real() -> World:
    """This machine."""
    stopped = threading.Event()

    def wait(seconds: float) -> None:
        stopped.wait(seconds)

    say, heard = voice()
    run, token = partial(execute, stopped), lambda: secrets.token_hex(4)
    return World(
        run, time.monotonic, wait, token, say, heard=heard, stop=stopped.set, resume=stopped.clear, ask=answer
    )


def execute(stopped: threading.Event, words: Sequence[str], seconds: float) -> Output:
    """Runs a program without a shell, until `stopped` is set."""
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # so that a hung ssh ends with its gcloud
        )
    except FileNotFoundError:
        return Output(None, b"", f"{words[0]} is not installed, or not on the PATH")
    except OSError as error:  # this machine is out of memory, processes or files: it may pass
        return Output(None, b"", f"{words[0]} cannot be started: {error}")
    until = time.monotonic() + seconds
    try:
        while True:
            try:
                out, error = process.communicate(timeout=0.5)
                return Output(process.returncode, out, error.decode(errors="replace"))
            except subprocess.TimeoutExpired:
                if stopped.is_set() or time.monotonic() > until:
                    return Output(None, b"", "")
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def each(world: World, function: Callable[[int], T], workers: Iterable[int]) -> list[T]:
    """`function` of every worker, several at a time; results in the workers' order."""
    with ThreadPoolExecutor(world.at_once) as pool:
        try:
            return list(pool.map(function, workers))
        except KeyboardInterrupt:
            world.stop()
            pool.shutdown(cancel_futures=True)
            raise
