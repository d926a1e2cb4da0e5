"""Tests keep compiled programs and measured plans in a folder of their own."""

import contextlib
import ctypes
import gc
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flags import USUAL

os.environ.setdefault("XLA_FLAGS", USUAL)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # as fdl does, for tests that import JAX first
os.environ.setdefault("FDL_CACHE", tempfile.mkdtemp(prefix="fdl-cache-"))
os.environ.setdefault("NPROC", "32")  # threads for eight simulated devices: see `fdl.train.runtime.make_room`


MOST_BYTES, STEP_BYTES = 1.5 * 2**30, 0.2 * 2**30
"""A process of tests that holds more than the first forgets its compiled programs, which are most of it; and
does so again once it has grown by the second."""
kept = 0
"""What it held when it last forgot them."""


@pytest.fixture(autouse=True)
def room() -> Iterator[None]:
    """Room for the next test's programs."""
    global kept
    yield
    if resident() > max(MOST_BYTES, kept + STEP_BYTES):
        import jax

        jax.clear_caches()
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):  # glibc keeps what was freed
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        kept = resident()


def resident() -> int:
    """Bytes of memory that this process holds; 0 where the system does not say."""
    path = Path("/proc/self/statm")
    return int(path.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if path.exists() else 0


@pytest.fixture
def plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of measured plans."""
    monkeypatch.setenv("FDL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def heeded() -> Iterator[None]:
    """No signal is ignored, here and in processes that begin, as SIGHUP would be in tests under `nohup`."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def pytest_configure() -> None:
    from fdl.train.runtime import prepare

    prepare()
    # Tracing makes objects by the million, and few cycles of them: by Python's usual thresholds a tenth of
    # the time of tests goes into looking for cycles (`room` looks too).
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
