"""A mesh and a strategy, given from Python or by flag, change nothing but where a run computes."""

import pytest

from tests.driver import printed
from tests.parallel.mesh_driver import RUNS

pytestmark = pytest.mark.slow  # a process that compiles six programs


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> dict[str, dict[str, float]]:
    cache = str(tmp_path_factory.mktemp("cache"))
    return {line.pop("run"): line for line in printed("tests.parallel.mesh_driver", FDL_CACHE=cache)}


@pytest.mark.parametrize("run", [name for name in RUNS if name != "alone"])
def test_a_run_ends_where_that_of_one_device_does(rows, run):
    assert rows[run] == pytest.approx(rows["alone"], rel=1e-3)  # 40 steps: each may differ by rounding


def test_many_calls_in_a_row_end(rows):
    # Devices that wait for each other in several programs at once were seen to hang until XLA aborts.
    assert rows["long"]["step"] == 3000
