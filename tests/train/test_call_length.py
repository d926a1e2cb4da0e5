"""How many steps a call takes."""

import jax.numpy as jnp
import pytest

from fdl.train.call_length import SECONDS, call_seconds, wanted_steps


def test_a_large_state_on_a_cpu_makes_calls_longer_up_to_a_limit():
    small, large, huge = (call_seconds({"buffer": jnp.zeros(size)}) for size in (10, 12_500_000, 10**8))
    assert small == pytest.approx(SECONDS, rel=1e-3)
    assert large == pytest.approx(SECONDS + 2, rel=1e-3)
    assert huge == 4


@pytest.mark.parametrize(
    "steps, seconds, longest, wanted",
    [(1, 0.05, 1, 5), (1, 1e-9, 1, 8), (100, 0.5, 100, 50), (1, 60.0, 8, 1), (8, 0.01, 64, 200)],
)
def test_calls_come_to_last_as_long_as_they_should(steps, seconds, longest, wanted):
    assert wanted_steps(steps, seconds, longest=longest, call=0.25) == wanted
