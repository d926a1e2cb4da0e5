"""Data that stays on the host: read ahead in threads while the device computes."""

import collections
import concurrent.futures
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from fdl import rng
from fdl.experiment import Source
from fdl.parallel.spread import host_copy

AHEAD = 4
"""How many batches are read before they are asked for; as many threads read."""


Read = Callable[[slice, slice], Any]
"""`read(members, rows) -> arrays`: those members and those rows of the arrays of a step."""


class Feed:
    """The batches of one source in the order of the steps, on the device when they are asked for.

    Which rows a batch holds depends on the step alone, so it holds no position that would have to be
    saved: asked for another step than the next, it reads on from there.
    """

    def __init__(self, source: Source, place: Callable[[Read], Any], *, end: int) -> None:
        """Reads `source` up to the step `end`; `place(read)` puts the parts that it reads on the devices."""
        assert source.fetch is not None
        self._fetch, self._place, self._end = source.fetch, place, end
        self._pool = concurrent.futures.ThreadPoolExecutor(AHEAD, thread_name_prefix="feed")
        self._queue: collections.deque[tuple[int, concurrent.futures.Future[Any]]] = collections.deque()
        self._keys: jax.Array | None = None
        self._words = [np.zeros(2, np.uint32)]
        self._order = np.zeros(1, np.int64)

    def of(self, keys: jax.Array | None, step: int) -> Any:
        """What `source.batch` gets at a step.

        Args:
          keys: the root keys of the members `[members]`, each with an order of its own, or None where all
            read the same in the order given.
          step: which step.

        Returns:
          The arrays as `place` left them, `[members, B, ...]`, or `[B, ...]` without keys.
        """
        if keys is not self._keys or not self._queue or self._queue[0][0] != step:
            self._begin(keys, step)
        while len(self._queue) < AHEAD and (following := self._queue[-1][0] + 1) < self._end:
            self._queue.append((following, self._pool.submit(self._read, following)))
        _, result = self._queue.popleft()
        return result.result()

    def _begin(self, keys: jax.Array | None, step: int) -> None:
        for _, waiting in self._queue:
            waiting.cancel()
        if keys is not None and keys is not self._keys:
            words = host_copy(jax.random.key_data(rng.stream(keys, "data")))
            unique, order = np.unique(words, axis=0, return_inverse=True)
            self._keys, self._words, self._order = keys, list(unique), order.reshape(-1)
        self._queue = collections.deque([(step, self._pool.submit(self._read, step))])

    def _read(self, step: int) -> Any:
        return self._place(lambda members, rows: self._part(step, members, rows))

    def _part(self, step: int, members: slice, rows: slice) -> Any:
        """Members of the same seed read the same rows, which are read once."""
        if self._keys is None:
            return self._fetch(step, self._words[0], rows)
        seeds, order = np.unique(self._order[members], return_inverse=True)
        read = [self._fetch(step, self._words[seed], rows) for seed in seeds]
        if len(order) == 1:
            return jax.tree.map(lambda rows: rows[None], read[0])
        return jax.tree.map(lambda *each: np.stack([each[i] for i in order]), *read)
