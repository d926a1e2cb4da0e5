"""Kill -9 a search at any instant, give the same command again: no finished trial is lost, none repeated."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
KILLS = 4


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["", "asha"])
def test_a_killed_search_asks_and_finds_what_the_undisturbed_one_does(scheduler, tmp_path):
    command = [sys.executable, "-m", "tests.search_kill_driver", str(tmp_path), str(KILLS), scheduler]
    environment = {**os.environ, "FDL_CACHE": str(tmp_path / "cache")}
    out = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert out.returncode == 0, out.stderr
    seen = json.loads(out.stdout.splitlines()[-1])
    assert len(seen["done"]) == KILLS and any(seen["done"]) and seen["kept"], seen
    for states in seen["states"]:
        assert states == seen["states"][0] and len(states) > 12  # some were not allowed
        assert set(states) == {"COMPLETE", "PRUNED"}
    told = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    undisturbed = told.pop("undisturbed")
    assert told.pop("first") == undisturbed
    assert len(told) == len(seen["states"])
    stopped = [trial.get("stopped at") for trial in undisturbed["trials"]]
    assert any(stopped) == bool(scheduler)
    for name, one in told.items():
        assert one == undisturbed
        members = [
            (
                member["config"]["lr"],
                member["config"]["noise"],
                member["seed"],
                unit.get("segment", {}).get("start"),
            )
            for path in (tmp_path / name).glob("**/units/*/unit.json")
            for unit in [json.loads(path.read_text())]
            for member in unit["members"]
        ]
        assert len(members) == len(set(members))
