"""The check before training by hand: a right learner passes, a wrong one is named and refused."""

import pytest

from fdl.experiment import Source
from fdl.parallel.plan import Plan
from fdl.parallel.sharding import on_mesh
from tests.driver import printed
from tests.train.strategy_check_driver import CASES

WRONG = ("no mean", "same draws")


def said(strategy: str, *cases: str) -> dict[str, str]:
    """What is said of the cases, in a process with 2 simulated devices."""
    return dict(printed("tests.train.strategy_check_driver", strategy, *cases))


def check(found: dict[str, str], strategy: str) -> None:
    for case, message in found.items():
        assert bool(message) == (case in WRONG), case
        if case in WRONG:
            for part in (f"step by {strategy} changes weights", "fdl.shards", "--strategy jit"):
                assert part in message
            assert "\n" not in message


@pytest.mark.medium
def test_right_gradients_pass_and_those_of_one_device_do_not():
    found = said("shard_map", "right", "no mean")
    assert len(found) == 2
    check(found, "shard_map")


@pytest.mark.slow  # half a minute of compiling
@pytest.mark.parametrize("strategy", ["shard_map", "pmap"])
def test_rounding_passes_and_repeated_draws_do_not(strategy):
    found = said(strategy, *CASES)
    assert set(found) == set(CASES)
    check(found, strategy)


def test_a_task_that_makes_its_own_data_is_refused():
    without_rows = CASES["right"]()._replace(train=Source((), lambda arrays, step, key: {}, 1))
    with pytest.raises(ValueError, match="self-play"):
        on_mesh(without_rows, Plan(1, "map", "calls", data=2, strategy="shard_map"))
