"""Every task takes the same step by hand, on two devices, as on one."""

import pytest

from tests.driver import printed
from tests.parallel.task_driver import CASES, STRATEGIES

pytestmark = pytest.mark.slow  # a minute of compiling


@pytest.fixture(scope="module")
def found() -> dict[tuple[str, str], dict[str, float]]:
    """What the driver measured, by case and strategy, in a process with 2 simulated devices."""
    lines = printed("tests.parallel.task_driver")
    return {(line.pop("case"), line.pop("strategy")): line for line in lines}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("case", CASES)
def test_a_step_is_that_of_one_device(found, case, strategy):
    measured = found[case, strategy]
    assert measured["apart"] <= 1.0, "in units of 1e-5 absolute plus 1e-5 relative"
    assert measured["moved"] >= 1000, "in the same units: a step that changes little shows little"
