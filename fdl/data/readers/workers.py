"""Worker processes that decode images for any number of threads."""

import json
import os
import queue
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fdl.counts import check_counts
from fdl.data.readers.decoder import FRAME, LENGTH

Decode = Callable[[Sequence[str]], np.ndarray]
"""`decode(paths) -> uint8 [n, size, size, 3]`."""

_SCRIPT = Path(__file__).with_name("decoder.py")
_SHARES = 4  # of a batch for each worker: one slow file then holds up a quarter of a worker's work

_STOP_SECONDS = 4.0  # a worker that waits for a disk that hangs does not end before the disk answers


class _Request(NamedTuple):
    """A few consecutive files of a batch, where their pixels go, and who waits for them."""

    first: int
    paths: Sequence[str]
    pixels: np.ndarray
    done: "queue.SimpleQueue[tuple[int, Exception | None]]"


class _Pool(NamedTuple):
    """What a thread for each worker shares with the others; none of them refers to the `Decode`."""

    requests: "queue.SimpleQueue[_Request | None]"
    processes: dict[int, subprocess.Popen]
    threads: list[threading.Thread]
    stopped: threading.Event
    owner: int


def decoding(size: int, *, workers: int | None = None) -> Decode:
    """A function that decodes image files in worker processes; see `fdl.data.readers.decoder.decode`.

    It may be called from several threads at once. The workers are started when they are first needed,
    are plain subprocesses (a script needs no `__main__` guard), and end when the function is dropped
    and when the program ends, however it ends. One that dies is replaced, and goes on where it was.

    Args:
      size: S, the side of the decoded images in pixels.
      workers: processes; one for each core that this process may use, if None.

    Returns:
      A function of paths that returns uint8 `[n, S, S, 3]`. It raises, always for the first faulty
      path, ValueError for a file that is no whole image, and OSError for one that cannot be read, or
      whose decoding two workers did not survive: most often the system ended them for want of memory.

    Raises:
      ValueError: a size or number of workers below 1.
    """
    count = _cores() if workers is None else workers
    check_counts(size=size, workers=count)
    starting = threading.Lock()
    pools: list[_Pool] = []  # the one of this process; after a fork, the child needs its own

    def decode(paths: Sequence[str]) -> np.ndarray:
        with starting:
            if not pools or pools[-1].owner != os.getpid():
                pools[:] = [_started(count)]
                weakref.finalize(starting, _stop, pools[-1])  # the lock lives as long as this function
        pixels = np.empty((len(paths), size, size, 3), np.uint8)
        _run(pools[-1].requests, paths, pixels, -(-len(paths) // (_SHARES * count)))
        return pixels

    return decode


def _run(requests: queue.SimpleQueue, paths: Sequence[str], pixels: np.ndarray, share: int) -> None:
    """Has all paths decoded, `share` of them a request; raises the first error, if any."""
    done: queue.SimpleQueue[tuple[int, Exception | None]] = queue.SimpleQueue()
    starts = range(0, len(paths), max(share, 1))
    for start in starts:
        part = slice(start, start + share)
        requests.put(_Request(start, paths[part], pixels[part], done))
    results = sorted((done.get() for _ in starts), key=lambda result: result[0])
    for _, error in results:
        if error is not None:
            raise error


def _started(count: int) -> _Pool:
    pool = _Pool(queue.SimpleQueue(), {}, [], threading.Event(), os.getpid())
    pool.threads.extend(
        threading.Thread(target=_serve, args=(pool, number), name="image decoding", daemon=True)
        for number in range(count)
    )
    for thread in pool.threads:
        thread.start()
    return pool


def _stop(pool: _Pool) -> None:
    """Ends the workers; called when the `Decode` is collected, or at the interpreter's exit."""
    if pool.owner != os.getpid():
        return
    pool.stopped.set()
    for process in list(pool.processes.values()):
        process.kill()
    for _ in pool.threads:
        pool.requests.put(None)
    deadline = time.monotonic() + _STOP_SECONDS
    for thread in pool.threads:
        if thread is not threading.current_thread():
            thread.join(timeout=max(0.0, deadline - time.monotonic()))


def _serve(pool: _Pool, number: int) -> None:
    """One thread: takes requests, and has its own worker answer them."""
    while (request := pool.requests.get()) is not None and not pool.stopped.is_set():
        try:
            _answer(pool, number, request)
        except Exception as error:
            # At the interpreter's exit only daemon threads still wait, and are not to report its end.
            if not pool.stopped.is_set():
                request.done.put((request.first, error))
        else:
            request.done.put((request.first, None))
        del request  # its pixels are not to be kept until the next one
    _end(pool, number)


def _answer(pool: _Pool, number: int, request: _Request) -> None:
    """Fills the request's pixels, with a new worker where the old one dies, but not twice at a file."""
    place, died_at = 0, -1
    while place < len(request.paths):
        try:
            process = pool.processes.get(number) or _start(pool, number)
            _send(process, request.paths[place:], request.pixels.shape[1])
            while place < len(request.paths):
                _receive(process, request.paths[place], request.pixels[place])
                place += 1
        except (BrokenPipeError, EOFError):
            status = _end(pool, number)
            if pool.stopped.is_set() or died_at == place:
                raise _lost(request.paths[place], status) from None
            died_at = place
        except Exception:
            _end(pool, number)  # what it still has to say belongs to this request
            raise


def _lost(path: str, status: int | None) -> OSError:
    return OSError(
        f"{path}: two worker processes ended while decoding it (the last with status {status}); "
        "check the file, the free memory, and that Pillow works"
    )


def _start(pool: _Pool, number: int) -> subprocess.Popen:
    import PIL

    # Isolated (-I), so that no file beside the script hides a standard module; Pillow's folder is
    # given in case it is one that an isolated interpreter does not search.
    command = [sys.executable, "-I", str(_SCRIPT), str(Path(PIL.__file__).parents[1])]
    pipe, devnull = subprocess.PIPE, subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=devnull, bufsize=0)
    pool.processes[number] = process
    return process


def _end(pool: _Pool, number: int) -> int | None:
    """Ends the worker, if there is one, and returns its status."""
    process = pool.processes.pop(number, None)
    if process is None:
        return None
    process.kill()
    process.stdin.close()  # pyright: ignore[reportOptionalMemberAccess]
    process.stdout.close()  # pyright: ignore[reportOptionalMemberAccess]
    return process.wait()


def _send(process: subprocess.Popen, paths: Sequence[str], size: int) -> None:
    text = json.dumps({"paths": list(paths), "size": size}).encode()
    rest = memoryview(LENGTH.pack(len(text)) + text)
    while rest:
        rest = rest[process.stdin.write(rest) :]  # pyright: ignore[reportOptionalMemberAccess]


def _receive(process: subprocess.Popen, path: str, pixels: np.ndarray) -> None:
    """Reads one frame into `pixels`, or raises the error that it tells."""
    header = bytearray(FRAME.size)
    _fill(process, memoryview(header))
    kind, length = FRAME.unpack(header)
    if kind == b"P":
        return _fill(process, pixels.data.cast("B"))
    text = bytearray(length)
    _fill(process, memoryview(text))
    told = json.loads(text)
    if told["disk"]:
        raise OSError(f"{path}: cannot be read: {told['error']}")
    raise ValueError(f"{path}: not a whole JPEG or PNG image: {told['error']}; replace or remove the file")


def _fill(process: subprocess.Popen, rest: memoryview) -> None:
    while rest:
        count = process.stdout.readinto(rest)  # pyright: ignore
        if not count:
            raise EOFError
        rest = rest[count:]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
