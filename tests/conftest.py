"""Tests keep compiled programs and measured plans in a folder of their own."""

import os
import tempfile
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


def pytest_configure() -> None:
    from fdl.train.runtime import prepare

    prepare()
