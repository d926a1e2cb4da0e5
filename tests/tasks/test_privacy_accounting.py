"""Epsilon against closed forms that the package does not use, and what is not promised."""

import functools
import math
import sys

import numpy as np
import pytest
from scipy import integrate, optimize, stats

from fdl import tasks
from fdl.tasks.privacy_accounting import capacity, overflow

pytest.importorskip("dp_accounting", reason="the accounting: the extra 'privacy'")
DELTA = 1e-5
SIZES = {"rows": 1000, "batch_size": 100, "steps": 200, "delta": DELTA}


def of_all_rows(epsilon: float, noise: float) -> float:
    """Delta of the Gaussian mechanism (Balle & Wang 2018, Improving the Gaussian Mechanism, theorem 8)."""
    a, b = 1 / (2 * noise), epsilon * noise
    return stats.norm.cdf(a - b) - math.exp(epsilon) * stats.norm.cdf(-a - b)


def of_a_sample(epsilon: float, noise: float, chance: float) -> float:
    """Delta of one step on a Poisson sample: the greater hockey-stick divergence of two normal mixtures."""
    without = functools.partial(stats.norm.pdf, scale=noise)

    def with_row(at):
        return (1 - chance) * without(at) + chance * stats.norm.pdf(at, 1, noise)

    def divergence(p, q):
        over = lambda at: max(p(at) - math.exp(epsilon) * q(at), 0)  # noqa: E731
        return integrate.quad(over, -20 * noise, 20 * noise, limit=2000, points=[0, 1])[0]

    return max(divergence(with_row, without), divergence(without, with_row))


@pytest.mark.parametrize(("noise", "steps"), [(4.0, 1), (8.0, 1), (20.0, 25)])
def test_steps_on_all_rows_compose_as_one_with_less_noise(noise, steps):
    found = tasks.privacy_spent(rows=50, batch_size=50, steps=steps, noise_multiplier=noise, delta=DELTA)
    exact = optimize.brentq(lambda e: of_all_rows(e, noise / math.sqrt(steps)) - DELTA, 0, 20)
    assert exact <= found <= 1.01 * exact + 1e-3


@pytest.mark.medium
@pytest.mark.parametrize(("noise", "chance"), [(1.0, 0.1), (0.7, 0.5)])
def test_one_step_on_a_sample(noise, chance):
    rows = 1000
    found = tasks.privacy_spent(
        rows=rows, batch_size=int(chance * rows), steps=1, noise_multiplier=noise, delta=DELTA
    )
    exact = optimize.brentq(lambda e: of_a_sample(e, noise, chance) - DELTA, 0, 12, xtol=1e-6)
    assert exact <= found <= 1.01 * exact + 1e-3


def test_many_steps_are_below_the_bound_by_moments():
    """Another accountant of the package, by Rényi divergences: an upper bound, about a tenth above."""
    import dp_accounting
    from dp_accounting import rdp

    accountant = rdp.RdpAccountant()
    event = dp_accounting.PoissonSampledDpEvent(0.1, dp_accounting.GaussianDpEvent(2.0))
    accountant.compose(dp_accounting.SelfComposedDpEvent(event, 200))
    bound = accountant.get_epsilon(DELTA)
    assert 0.8 * bound < tasks.privacy_spent(noise_multiplier=2.0, **SIZES) < bound


@pytest.mark.medium
def test_the_noise_for_an_epsilon_spends_it():
    noise = tasks.noise_multiplier_for(epsilon=1.0, **SIZES)
    assert 0.995 < tasks.privacy_spent(noise_multiplier=noise, **SIZES) <= 1.0
    assert tasks.privacy_spent(noise_multiplier=noise - 0.01, **SIZES) > 1.0


def test_batches_hold_what_they_draw():
    held = capacity(1000, 100, 200)
    assert overflow(1000, 100, 200, held) <= 1e-13 < overflow(1000, 100, 200, held - 1)
    assert capacity(1000, 100, 200, multiple=32) % 32 == 0
    assert capacity(50, 50, 10) == 50 and overflow(50, 50, 10, 50) == 0


@pytest.mark.medium
def test_what_full_batches_hide_no_longer_pays_for_is_not_promised():
    assert tasks.privacy_spent(noise_multiplier=0.6, **SIZES) == math.inf
    # Where a batch holds all rows nothing is left out.
    whole = {**SIZES, "batch_size": 1000, "steps": 1}
    assert np.isfinite(tasks.privacy_spent(noise_multiplier=0.5, **whole))


def test_errors_are_one_line(monkeypatch):
    with pytest.raises(ValueError, match="epsilon is 13; expected at most 12"):
        tasks.noise_multiplier_for(epsilon=13.0, **SIZES)
    with pytest.raises(ValueError, match="batch_size is 2000; expected at most the 1000 rows"):
        tasks.privacy_spent(noise_multiplier=1.0, **{**SIZES, "batch_size": 2000})
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(ValueError, match=r"needs the extra 'privacy': pip install fdl\[privacy\]"):
        tasks.privacy_spent(noise_multiplier=1.0, **SIZES)
