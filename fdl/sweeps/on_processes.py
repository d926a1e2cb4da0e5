"""An executor of processes on this machine, each with cores or GPUs of its own."""

import concurrent.futures
import contextlib
import functools
import os
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fdl.arguments import Count, checked
from fdl.sweeps.apart import Died, asked_to_do, started, stop
from fdl.sweeps.executor import TRIES, Begin, Executor, Tell
from fdl.text import counted
from fdl.train.progress import Progress
from fdl.train.signals import Interrupted

_LOOK = 0.2
"""Seconds between two looks whether we are asked to stop."""


class Place(NamedTuple):
    """Where a worker runs: on which cores, and what its environment has beside ours."""

    cores: frozenset[int]
    environment: Mapping[str, str]


@checked
def on_processes(workers: Count) -> Executor:
    """Workers on this machine, as `fdl sweep --executor processes`: each has as many of its GPUs as another,
    or where it has none of its cores, and no two have one in common.

    Not seen on GPUs; a TPU's chips belong to one process, so there `local` is right.

    Args:
      workers: how many processes.

    Raises:
      ValueError: there are fewer GPUs, or cores, than workers.

    Example:
      >>> import fdl
      >>> fdl.sweeps.on_processes(1).workers
      1
    """
    return in_places(places(workers, sorted(os.sched_getaffinity(0)), gpus(os.environ)))


def places(workers: int, cores: Sequence[int], devices: Sequence[str]) -> list[Place]:
    """The cores and GPUs of a machine, dealt to workers.

    >>> [sorted(place.cores) for place in places(2, [0, 1, 2, 3, 4], [])]
    [[0, 1], [2, 3]]
    >>> [place.environment["CUDA_VISIBLE_DEVICES"] for place in places(2, [0, 1], ["4", "5", "6", "7"])]
    ['4,5', '6,7']
    """
    for kind, there in (("GPU", devices), ("core", cores)):
        if there and workers > len(there):
            raise ValueError(
                f"{workers} workers, but there {'is' if len(there) == 1 else 'are'} "
                f"{counted(len(there), kind)}; expected one or more for each: give fewer --workers"
            )
    each, gpus_each = len(cores) // workers, len(devices) // workers
    found = []
    for number in range(workers):
        own = frozenset(cores[number * each : (number + 1) * each])
        told = {"OMP_NUM_THREADS": str(each), "OPENBLAS_NUM_THREADS": str(each)}
        if devices:
            told["CUDA_VISIBLE_DEVICES"] = ",".join(devices[number * gpus_each : (number + 1) * gpus_each])
        found.append(Place(own, told))
    return found


def gpus(environment: Mapping[str, str]) -> list[str]:
    """The NVIDIA GPUs that processes of this machine may use; JAX is not asked, which would take them."""
    if environment.get("JAX_PLATFORMS", "").split(",")[0] == "cpu":
        return []
    if (given := environment.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [one for one in given.split(",") if one.strip()]
    if not shutil.which("nvidia-smi"):
        return []
    asked = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return done.stdout.split() if done.returncode == 0 else []


def in_places(where: Sequence[Place]) -> Executor:
    """An executor of one process in each place."""
    return Executor(len(where), functools.partial(_opened, list(enumerate(where, 1))))


@contextlib.contextmanager
def _opened(where: list[tuple[int, Place]], message: bytes, tell: Tell) -> Iterator[Begin]:
    """A thread for each place, and for each thread a process; the pool of threads gives out the tasks."""
    free: queue.SimpleQueue[tuple[int, Place]] = queue.SimpleQueue()
    for one in where:
        free.put(one)
    own, workers, over = threading.local(), [], threading.Event()

    def settle() -> None:
        own.number, own.place = free.get()
        own.worker = None
        os.sched_setaffinity(0, own.place.cores)  # this thread's; a process that it starts has the same

    def do(task: str) -> Any:
        say = lambda line: tell.say(f"worker {own.number}: {line}")  # noqa: E731
        progress = Progress(say, lambda done, _, live: tell.step(task, done, live))
        for _ in range(TRIES):
            if own.worker is None:
                own.worker = started(message, own.place.environment)
                workers.append(own.worker)
            if over.is_set():  # looked at once the worker is in the list, so that one of us stops it
                stop(own.worker)
            try:
                return asked_to_do(own.worker, task, progress)
            except Died as death:
                own.worker = None
                if over.is_set():
                    raise Interrupted("stopped; the same command goes on from there") from None
                say(f"{death}; another goes on from the last checkpoint of {task}")
        raise OSError(f"{TRIES} workers died at {task}; see what they printed")

    def begin(tasks: Sequence[str]) -> Iterator[tuple[str, Any]]:
        futures = {pool.submit(do, task): task for task in tasks}
        yield from as_they_end(futures, tell)

    with concurrent.futures.ThreadPoolExecutor(len(where), initializer=settle) as pool:
        try:
            yield begin
        finally:
            over.set()
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in workers:
                stop(worker)
            for worker in workers:
                worker.wait()


def as_they_end(
    futures: Mapping[concurrent.futures.Future[Any], str], tell: Tell
) -> Iterator[tuple[str, Any]]:
    """What tasks come to as they end; raises `Interrupted` as soon as we are asked to stop."""
    left = set(futures)
    while left:
        done, left = concurrent.futures.wait(left, _LOOK, concurrent.futures.FIRST_COMPLETED)
        for future in done:
            yield futures[future], future.result()
        if tell.asked():
            raise Interrupted("stopped, and saved; the same command goes on from there")
