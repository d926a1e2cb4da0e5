"""Benchmarks do run; what they say is not judged."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCALING = Path(__file__).parents[1] / "experiments" / "benchmarks" / "scaling.py"


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "kinds"), [("population", set()), ("data jit", {"all-reduce"})])
def test_scaling_compiles_a_step(strategy, kinds):
    command = [sys.executable, str(SCALING), "--one", strategy, "4"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found) == {"weak", "strong"}
    for one in found.values():
        assert {each["kind"] for each in one["collectives"]["each"]} == kinds
        assert one["cost"]["matrix"] > 1e9
