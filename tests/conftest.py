"""Tests keep compiled programs and measured plans in a folder of their own."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# Compiling is most of what tests do. `.ci/run` also compiles some as users' programs are: XLA_FLAGS is empty.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # as fdl does, for tests that import JAX first
os.environ.setdefault("FDL_CACHE", tempfile.mkdtemp(prefix="fdl-cache-"))
os.environ.setdefault("NPROC", "32")  # threads for eight simulated devices: see `fdl.train.runtime.make_room`


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
