"""Whether compiled programs are kept, and found again."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from fdl.doctor.facts import Cache
from fdl.parallel.distributed import is_first, process_id

HIT, ASKED = "/jax/compilation_cache/cache_hits", "/jax/compilation_cache/compile_requests_use_cache"
"""What JAX tells of a program that it found in its cache, and of one that it looked for."""


@contextlib.contextmanager
def listening() -> Iterator[Counter[str]]:
    """While it lasts, counts JAX's events."""
    events = Counter[str]()

    def listen(event: str, **_: Any) -> None:
        events[event] += 1

    jax.monitoring.register_event_listener(listen)
    try:
        yield events
    finally:
        jax.monitoring.unregister_event_listener(listen)


def cache_of(events: Counter[str]) -> Cache:
    """What became of the compilations that were listened to, and whether the cache works."""
    hits, asked = events[HIT], events[ASKED]
    return Cache(process_id(), works() if _keeps() else None, hits, asked)


def works() -> bool:
    """Compiles a small program, and again: the second must be found."""
    with listening() as events:
        for _ in range(2):
            jax.jit(lambda x: 3 * x + 1).lower(jax.ShapeDtypeStruct((8,), jnp.float32)).compile()
    return events[HIT] > 0


def _keeps() -> bool:
    """Whether every program should be kept. Of several processes JAX lets only process 0 write."""
    config = jax.config.values
    small = config["jax_persistent_cache_min_compile_time_secs"] <= 0
    small &= config["jax_persistent_cache_min_entry_size_bytes"] <= 0
    there = bool(config["jax_compilation_cache_dir"]) and config["jax_enable_compilation_cache"]
    return is_first() and small and there
