"""Every task takes the same step by hand, on two devices, as on one."""

import json
import os
import subprocess
import sys

import pytest

from tests.parallel.task_driver import CASES, STRATEGIES

pytestmark = pytest.mark.slow  # a minute of compiling


@pytest.fixture(scope="module")
def found() -> dict[tuple[str, str], dict[str, float]]:
    """What the driver measured, by case and strategy, in a process with 2 simulated devices."""
    env = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_PLATFORMS")}
    command = [sys.executable, "-m", "tests.parallel.task_driver"]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = map(json.loads, done.stdout.splitlines())
    return {(line.pop("case"), line.pop("strategy")): line for line in lines}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("case", CASES)
def test_a_step_is_that_of_one_device(found, case, strategy):
    measured = found[case, strategy]
    assert measured["apart"] <= 1.0, "in units of 1e-5 absolute plus 1e-5 relative"
    assert measured["moved"] >= 1000, "in the same units: a step that changes little shows little"
