"""Kill -9 at any instant, give the same command again: not a bit differs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp

from tests.kill_driver import ROWS

ROOT = Path(__file__).parents[1]
KILLS = 20


def outcome(directory: Path, members: int) -> tuple[list[str], list[np.ndarray]]:
    """The rows and the final states of the one unit in a directory; not of what a plan pads its members
    with, whose state means nothing."""
    (unit,) = (directory / "units").iterdir()
    newest = max(int(p.name) for p in (unit / "checkpoints").iterdir() if p.name.isdigit())
    carry = ocp.load(unit / "checkpoints" / str(newest), checkpointable_name="state")["carry"]
    return (unit / "metrics.jsonl").read_text().splitlines(), [
        np.asarray(leaf)[:members] for leaf in jax.tree.leaves(carry)
    ]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Sharding info not provided")
@pytest.mark.parametrize("members", [1, 3], ids=["single run", "population"])
def test_killed_runs_end_bit_for_bit_as_the_undisturbed_one(tmp_path, members):
    command = [sys.executable, "-m", "tests.kill_driver", str(tmp_path), str(members), str(KILLS)]
    environment = {**os.environ, "FDL_CACHE": str(tmp_path / "cache")}
    out = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert out.returncode == 0, out.stderr
    instants = json.loads(out.stdout.splitlines()[-1])
    assert len(instants) >= KILLS and len(set(instants)) >= 2, instants
    rows, leaves = outcome(tmp_path / "undisturbed", members)
    assert len(rows) == ROWS * members
    killed = sorted(tmp_path.glob("killed-*"))
    assert killed
    for directory in killed:
        again, state = outcome(directory, members)
        assert again == rows
        for one, other in zip(state, leaves, strict=True):
            np.testing.assert_array_equal(one, other)
