"""From exceptions to exit codes: one line for what the user can fix, a traceback for the rest."""

import contextlib
import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from fdl.cli import COMMANDS
from fdl.text import hint, one_line

# 2 as argparse ends; 75 is EX_TEMPFAIL of sysexits.h: the same command goes on.
BAD_INPUT, DISK, INTERRUPTED = 2, 1, 75


def guarded(words: Sequence[str]) -> int:
    """Runs a command; returns its exit code."""
    if words[0] not in COMMANDS:
        why = hint(words[0], COMMANDS, else_say="see fdl --help")
        return _fail(f"there is no command {words[0]!r}; {why}", BAD_INPUT)
    with _terminable():
        return _told(words)


def _told(words: Sequence[str]) -> int:
    """Runs a command, and says how it failed."""
    try:
        return _executed(words)
    except KeyboardInterrupt as stop:
        again = "stopped; nothing was lost, the same command goes on"
        return _fail(str(stop) or again, INTERRUPTED, together=bool(str(stop)))
    except BrokenPipeError:  # the reader of our output is gone, as in `fdl ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _leave("the reader of its output has gone", DISK)
        return DISK
    except SystemExit as end:
        if end.code:
            _leave(f"sys.exit({end.code!r})", 1)
        raise
    except ValueError as error:
        if not _ours(error, words):
            raise
        return _fail(str(error), BAD_INPUT)
    except OSError as error:
        return _fail(str(error), DISK)
    except MemoryError as error:
        return _fail(": ".join(filter(None, ["the memory does not suffice", str(error)])), DISK)


def _executed(words: Sequence[str]) -> int:
    """Runs a command. One that was stopped and cannot show it, as its terminal is gone, was stopped."""
    try:
        module, _, function = COMMANDS[words[0]].entry.partition(":")
        return getattr(importlib.import_module(module), function)(words[1:])
    except OSError as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, KeyboardInterrupt):
                raise cause from None
            cause = cause.__context__
        raise


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """While it lasts, SIGTERM and SIGHUP are what Ctrl-C is, unless they are ignored, as under `nohup`;
    outside the main thread (as in Ray's workers) all stays."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    before = {number: how for number, how in before.items() if how not in (None, signal.SIG_IGN)}
    for number in before:
        signal.signal(number, _terminate)
    try:
        yield
    finally:
        for number, how in before.items():
            signal.signal(number, how)


def _terminate(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt


def _fail(message: str, code: int, *, together: bool = False) -> int:
    """Says it; `together` where other processes, if there are some, end in the same way."""
    text = one_line(message)
    with contextlib.suppress(OSError):  # the terminal may have gone
        print(text if code == INTERRUPTED else f"error: {text}", file=sys.stderr, flush=True)
    if not together:
        _leave(text, code)
    return code


def _leave(reason: str, code: int) -> None:
    """Ends the other processes too, and this one with them, where there are some."""
    ending = sys.modules.get("fdl.parallel.abort")
    if ending:
        ending.leave(reason, code)


def _ours(error: ValueError, words: Sequence[str]) -> bool:
    """Whether fdl, the experiment's file or one beside it raised an error; others keep their traceback."""
    raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    folders = [Path(word).resolve().parent for word in words if word.endswith(".py")]
    return Path(__file__).parents[1] in raised_in.parents or raised_in.parent in folders
