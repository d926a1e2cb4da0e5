"""What in the tests needs a process of its own."""

import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fdl.train.folder import held
from tests.flags import LEAST


def environment() -> dict[str, str]:
    """This process's, but for its devices, and little is optimised."""
    ours = {name: value for name, value in os.environ.items() if name != "JAX_PLATFORMS"}
    return ours | {"XLA_FLAGS": LEAST}


def printed(module: str, *words: str, **more: str) -> list[Any]:
    """The lines of JSON that a program prints; `more` is added to its environment."""
    command = [sys.executable, "-m", module, *words]
    env = environment() | more
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@contextlib.contextmanager
def in_use(directory: Path, identity: dict[str, Any]) -> Iterator[None]:
    """While it lasts, another process holds a directory; then it is killed."""
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(directory, identity, ready), daemon=True)
    holder.start()
    try:
        assert ready.wait(60)
        yield
    finally:
        holder.kill()
        holder.join()


def _hold(directory: Path, identity: dict[str, Any], ready: Any) -> None:
    with held(directory, identity):
        ready.set()
        threading.Event().wait()
