"""Tests keep compiled programs and measured plans in a folder of their own."""

import gc
import os
import signal
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

# Compiling is most of what tests do. `.ci/run` also compiles some as users' programs are: XLA_FLAGS is empty.
# Without LLVM's optimisations and XLA's fusion emitters it takes a third of the time (measured on models).
FLAGS = "--xla_backend_optimization_level=1"
if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11):  # later versions do not know the second
    FLAGS = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("XLA_FLAGS", FLAGS)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # as fdl does, for tests that import JAX first
os.environ.setdefault("FDL_CACHE", tempfile.mkdtemp(prefix="fdl-cache-"))
os.environ.setdefault("NPROC", "32")  # threads for eight simulated devices: see `fdl.train.runtime.make_room`


MOST_BYTES = 1.5 * 2**30
"""A process of tests that holds more forgets its compiled programs, which are most of it."""


@pytest.fixture(autouse=True, scope="module")
def room() -> Iterator[None]:
    """Room for the next file's programs."""
    yield
    if resident() > MOST_BYTES:
        import jax

        jax.clear_caches()
        gc.collect()


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
