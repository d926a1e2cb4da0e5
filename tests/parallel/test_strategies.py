"""All strategies take the same step; sharded arrays are sharded."""

import pytest

from tests.driver import printed
from tests.parallel.strategy_driver import MODELS, PLANS, plans_of

pytestmark = pytest.mark.slow  # a minute of compiling for each model

CASES = [(model, plan) for model in MODELS for plan in plans_of(model)]


@pytest.fixture(scope="module")
def found() -> dict[tuple[str, str], dict[str, float]]:
    """What the driver measured, by model and plan; each model has a process with 8 simulated devices."""
    return {
        (model, line.pop("plan")): line
        for model in MODELS
        for line in printed("tests.parallel.strategy_driver", model)
    }


@pytest.mark.parametrize(("model", "plan"), CASES)
def test_a_step_is_that_of_one_device(found, model, plan):
    # Plain SGD: Adam would hide a gradient that is a multiple of the right one.
    measured = found[model, plan]
    assert measured["apart"] <= 1.0, "in units of 1e-5 absolute plus 1e-5 relative"
    assert measured["metrics"] <= 1e-5


@pytest.mark.parametrize(("model", "plan"), CASES)
def test_a_device_holds_its_share_of_parameters_and_moments(found, model, plan):
    measured, split = found[model, plan], PLANS[plan]
    share, least = measured["share"], 1 / (split.population * split.fsdp * split.tensor)
    assert measured["largest"] == least
    assert measured["moments"] == 1.0
    # What is small, or has no axis that divides, is whole on every device of a group.
    assert least <= share <= (least if split.fsdp * split.tensor == 1 else least + 0.05)
