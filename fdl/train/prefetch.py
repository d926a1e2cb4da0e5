"""Data that stays on the host: read ahead in threads while the device computes."""

import collections
import concurrent.futures
import contextlib
import queue
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from fdl import rng, tree
from fdl.experiment import Source
from fdl.parallel.sharding import host_copy
from fdl.text import named
from fdl.train.check import too_large

AHEAD = 4
"""How many batches are read before they are asked for; as many threads read."""
POLL_SECONDS = 0.25
"""How often a wait for a batch looks whether the run was asked to stop."""
PATIENCE_SECONDS = 5.0
"""How long it then still waits: a disk that hangs may never return."""
END_SECONDS = 2.0
"""How long the program's end waits for threads that still read."""
Future = concurrent.futures.Future

Read = Callable[[slice, slice], Any]
"""`read(members, rows) -> arrays`: those members and those rows of the arrays of a step."""


class Stalled(Exception):
    """A batch did not come, and the run was asked to stop.

    Attributes:
      step: updates done.
      carry: what it had come to by then.
    """

    def __init__(self, step: int = 0, carry: Any = None) -> None:
        """At a step, with a carry."""
        super().__init__("a reader hangs")
        self.step, self.carry = step, carry


def never() -> bool:
    """Nobody asks for a stop."""
    return False


class Feed:
    """The batches of one source in the order of the steps, on the device when they are asked for.

    Which rows a batch holds depends on the step alone, so it holds no position that would have to be
    saved: asked for another step than the next, it reads on from there.
    """

    def __init__(self, source: Source, place: Callable[[Read], Any], *, end: int) -> None:
        """Reads `source` up to the step `end`; `place(read)` puts the parts that it reads on the devices."""
        assert source.fetch is not None
        self._fetch, self._place, self._end, self._form = source.fetch, place, end, source.arrays
        # Not an executor: at its end the interpreter waits for those threads, without end if one hangs.
        self._tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threads = [
            threading.Thread(target=_serve, args=(self._tasks,), name="feed", daemon=True)
            for _ in range(AHEAD)
        ]
        for thread in threads:
            thread.start()
        weakref.finalize(self, _end, self._tasks, threads)
        self._queue: collections.deque[tuple[int, Future[Any]]] = collections.deque()
        self._keys: jax.Array | None = None
        self._words = [np.zeros(2, np.uint32)]
        self._order = np.zeros(1, np.int64)

    def of(self, keys: jax.Array | None, step: int, asked: Callable[[], bool] = never) -> Any:
        """What `source.batch` gets at a step.

        Args:
          keys: the root keys of the members `[members]`, each with an order of its own, or None where all
            read the same in the order given.
          step: which step.
          asked: whether the run is to stop; then it does not wait for long.

        Returns:
          The arrays as `place` left them, `[members, B, ...]`, or `[B, ...]` without keys.

        Raises:
          Stalled: the batch does not come, and the run is to stop.
        """
        if keys is not self._keys or not self._queue or self._queue[0][0] != step:
            self._begin(keys, step)
        while len(self._queue) < AHEAD and (following := self._queue[-1][0] + 1) < self._end:
            self._queue.append((following, self._submitted(following)))
        _, result = self._queue.popleft()
        deadline = None
        while not concurrent.futures.wait([result], POLL_SECONDS).done:
            if deadline is None and asked():
                deadline = time.monotonic() + PATIENCE_SECONDS
            if deadline is not None and time.monotonic() > deadline:
                raise Stalled
        return result.result()

    def _submitted(self, step: int) -> Future[Any]:
        result: Future[Any] = Future()
        self._tasks.put((result, self._read, step))
        return result

    def _begin(self, keys: jax.Array | None, step: int) -> None:
        for _, waiting in self._queue:
            waiting.cancel()
        if keys is not None and keys is not self._keys:
            words = host_copy(jax.random.key_data(rng.stream(keys, "data")))
            unique, order = np.unique(words, axis=0, return_inverse=True)
            self._keys, self._words, self._order = keys, list(unique), order.reshape(-1)
        self._queue = collections.deque([(step, self._submitted(step))])

    def _read(self, step: int) -> Any:
        return self._place(lambda members, rows: self._part(step, members, rows))

    def _checked(self, step: int, words: np.ndarray, rows: slice) -> Any:
        """What the source fetches; a `ValueError` where that fails, or is not what the source declares."""
        try:
            read = self._fetch(step, words, rows)
        except (OSError, ValueError):
            raise
        except (Exception, SystemExit) as error:
            raise ValueError(f"reading the batch of step {step} fails: {named(error, most=300)}") from error
        for path, leaf in tree.leaves_of(read, name="").items():
            if beyond := too_large(leaf):
                raise ValueError(f"the batch of step {step}: {path} {beyond}")
        found = jax.tree.map(lambda one: _form(one, slice(None)), read)
        if wrong := tree.difference(found, jax.tree.map(lambda one: _form(one, rows), self._form), name=""):
            raise ValueError(f"the batch of step {step}: {wrong}, as its source declares")
        return read

    def _part(self, step: int, members: slice, rows: slice) -> Any:
        """Members of the same seed read the same rows, which are read once."""
        if self._keys is None:
            return self._checked(step, self._words[0], rows)
        seeds, order = np.unique(self._order[members], return_inverse=True)
        read = [self._checked(step, self._words[seed], rows) for seed in seeds]
        if len(order) == 1:
            return jax.tree.map(lambda rows: rows[None], read[0])
        return jax.tree.map(lambda *each: np.stack([each[i] for i in order]), *read)


def _form(one: Any, rows: slice) -> jax.ShapeDtypeStruct:
    """The shape and the dtype of some rows as they come to a device."""
    shape = (len(range(*rows.indices(one.shape[0]))), *one.shape[1:]) if one.shape else ()
    return jax.ShapeDtypeStruct(shape, jax.dtypes.canonicalize_dtype(one.dtype))


def _serve(tasks: queue.SimpleQueue) -> None:
    """One thread: reads what is asked for until None is. It holds no feed while it waits."""
    while (task := tasks.get()) is not None:
        result, read, step = task
        if result.set_running_or_notify_cancel():
            try:
                result.set_result(read(step))
            except BaseException as error:  # raised where the batch is waited for
                result.set_exception(error)
        del task, result, read


def _end(tasks: queue.SimpleQueue, threads: list[threading.Thread]) -> None:
    """Ends the threads; called when the feed is collected, or at the interpreter's exit."""
    with contextlib.suppress(queue.Empty):
        while True:
            tasks.get_nowait()
    for _ in threads:
        tasks.put(None)
    deadline = time.monotonic() + END_SECONDS
    for thread in threads:
        if thread is not threading.current_thread():
            thread.join(timeout=max(0.0, deadline - time.monotonic()))
