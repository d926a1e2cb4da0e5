"""Programs of the tests that need a process of their own, as they simulate devices."""

import json
import os
import subprocess
import sys
from typing import Any


def environment() -> dict[str, str]:
    """This process's, but for its devices. Little is optimised: compiling is most of what drivers do."""
    ours = {name: value for name, value in os.environ.items() if name != "JAX_PLATFORMS"}
    return ours | {"XLA_FLAGS": "--xla_backend_optimization_level=0"}


def printed(module: str, *words: str, **more: str) -> list[Any]:
    """The lines of JSON that a program prints; `more` is added to its environment."""
    command = [sys.executable, "-m", module, *words]
    env = environment() | more
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]
