"""Kill -9 in the midst of a rung, give the same command again: the same survivors or lineage and bits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp

ROOT = Path(__file__).parents[1]


def states(directory: Path) -> dict[str, list[np.ndarray]]:
    """The last state of each unit, by its name; not of what a plan pads its members with."""
    found = {}
    for unit in directory.glob("schedules/*/units/*"):
        members = len(json.loads((unit / "unit.json").read_text())["members"])
        newest = max(int(path.name) for path in (unit / "checkpoints").iterdir() if path.name.isdigit())
        carry = ocp.load(unit / "checkpoints" / str(newest), checkpointable_name="state")["carry"]
        found[unit.name] = [np.asarray(leaf)[:members] for leaf in jax.tree.leaves(carry)]
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Sharding info not provided")
@pytest.mark.parametrize(
    ("scheduler", "kills", "units", "stopped"),
    [("halving", 4, 4, 7), ("pbt", 1, 3, 0)],
    ids=["halving", "pbt"],
)
def test_killed_schedules_end_bit_for_bit_as_the_undisturbed_one(tmp_path, scheduler, kills, units, stopped):
    command = [sys.executable, "-m", "tests.schedule_kill_driver", str(tmp_path), str(kills), scheduler]
    environment = {**os.environ, "FDL_CACHE": str(tmp_path / "cache")}
    out = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert out.returncode == 0, out.stderr[-2000:]
    done = json.loads(out.stdout.splitlines()[-1])
    assert len(done) == kills and any(saved and 0 < ended < units for ended, saved in done), done
    expected, leaves = (tmp_path / "undisturbed.json").read_text(), states(tmp_path / "undisturbed")
    told = json.loads(expected)
    assert (len(told["stopped"]), len(leaves), bool(told["lineages"])) == (stopped, units, scheduler == "pbt")
    killed = sorted(path for path in tmp_path.glob("killed-*") if path.is_dir())
    assert killed
    for directory in killed:
        assert directory.with_suffix(".json").read_text() == expected
        again = states(directory)
        assert set(again) == set(leaves)
        for name, state in again.items():
            for one, other in zip(state, leaves[name], strict=True):
                np.testing.assert_array_equal(one, other)
