"""The chaotic series against what is known exactly of it, and against a finer integration."""

import numpy as np
import pytest

from fdl.data.synthetic import mackey_glass


def test_up_to_the_delay_it_is_the_solution_of_a_linear_equation():
    time = np.arange(18.0)
    level = 0.2 * 1.2 / (1 + 1.2**10) / 0.1
    exact = level + (1.2 - level) * np.exp(-0.1 * time)
    np.testing.assert_allclose(mackey_glass(18, spacing=1.0, warmup=0.0), exact, atol=2e-5)


def test_later_it_is_that_of_euler_s_method_with_steps_a_hundredth_as_long():
    step, lag = 1e-3, 17_000
    x = np.full(lag + 60_001, 1.2)
    for now in range(lag, len(x) - 1):
        past = x[now - lag]
        x[now + 1] = x[now] + step * (0.2 * past / (1 + past**10) - 0.1 * x[now])
    np.testing.assert_allclose(mackey_glass(11, warmup=0.0), x[lag::6000], atol=1e-3)


def test_the_warmup_is_what_comes_before():
    late, whole = mackey_glass(4, spacing=3.0, warmup=30.0), mackey_glass(14, spacing=3.0, warmup=0.0)
    np.testing.assert_array_equal(late, whole[10:])
    values = mackey_glass(500)
    assert 0.2 < values.min() < 0.5 and 1.2 < values.max() < 1.4


@pytest.mark.parametrize("options", [{"spacing": 0.0}, {"delay": 0.04}, {"warmup": 0.25}])
def test_times_that_are_no_steps_are_refused(options):
    with pytest.raises(ValueError, match="expected a multiple of"):
        mackey_glass(3, **options)
