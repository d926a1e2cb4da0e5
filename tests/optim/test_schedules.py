import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl.optim import warmup_cosine


@pytest.mark.parametrize(("steps", "warmup"), [(100, 10), (100, 99), (100, 1), (7, 3), (100, 0), (1, 0)])
def test_is_optaxs_at_every_step(steps, warmup):
    ours = warmup_cosine(0.3, steps=steps, warmup=warmup)
    theirs = optax.warmup_cosine_decay_schedule(0.0, 0.3, warmup, steps)
    counts = jnp.arange(steps + 5)
    np.testing.assert_allclose(jax.vmap(ours)(counts), jax.vmap(theirs)(counts), rtol=1e-6, atol=1e-9)


def test_goes_from_zero_to_the_peak_to_zero():
    schedule = warmup_cosine(0.3, steps=100, warmup=10)
    np.testing.assert_allclose([schedule(s) for s in (0, 5, 10, 55, 100)], [0, 0.15, 0.3, 0.15, 0], atol=1e-7)


def test_the_peak_may_be_traced():
    peaks = jnp.array([0.0, 0.1, 1.0])
    rates = jax.jit(jax.vmap(lambda peak: warmup_cosine(peak, steps=50, warmup=5)(20)))(peaks)
    np.testing.assert_allclose(rates, peaks * warmup_cosine(1.0, steps=50, warmup=5)(20), rtol=1e-6)


@pytest.mark.parametrize(("steps", "warmup"), [(10, 10), (10, 11), (10, -1), (0, 0)])
def test_a_warmup_that_does_not_fit_is_refused(steps, warmup):
    with pytest.raises(ValueError, match=r"expected (0 <= warmup < steps|0 or more|at least 1)"):
        warmup_cosine(0.1, steps=steps, warmup=warmup)
