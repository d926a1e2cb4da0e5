"""Several processes that run fdl's command line, played by the driver."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parallel.hosts_driver import Ended

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Ended]]:
    """Plays a scenario of the driver."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("XLA_FLAGS", "JAX_", "SLURM_"))}
    env["FDL_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    command = [sys.executable, "-m", "tests.parallel.hosts_driver"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=env
    ) as driver:
        assert driver.stdin and driver.stdout
        stdin, stdout = driver.stdin, driver.stdout

        def one(words: list[str], workdir: Path, **scenario: Any) -> Ended:
            words = [*words, "--workdir", str(workdir)]
            folder = str(tmp_path_factory.mktemp("folder"))
            print(json.dumps({"words": words, "folder": folder, **scenario}), file=stdin, flush=True)
            return Ended(**json.loads(stdout.readline()))

        yield one
        stdin.close()
