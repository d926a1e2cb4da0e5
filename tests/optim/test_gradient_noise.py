"""Gradient noise: normal, of the paper's variance, and of the step's own key."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from fdl.optim.gradient_noise import gradient_noise

ZEROS = {"a": jnp.zeros((40, 30)), "b": jnp.zeros(300)}


def noise(step, key, variance=0.3, decay=0.55):
    optimizer = gradient_noise(variance, decay=decay)
    state = optimizer.init(ZEROS)._replace(count=jnp.int32(step))
    return optimizer.update(ZEROS, state, key=key)[0]


@pytest.mark.parametrize(("step", "decay"), [(0, 0.55), (9, 0.55), (9, 0.0), (99, 1.0)])
def test_is_normal_with_the_papers_variance(step, decay):
    made = noise(step, jax.random.key(step), decay=decay)
    values = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(made)])
    deviation = np.sqrt(0.3 / (1 + step) ** decay)
    assert stats.kstest(values, stats.norm(scale=deviation).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(values[:300], values[-300:])[0, 1]) < 0.25  # leaves have their own


def test_the_key_decides():
    first, again, other = (noise(0, jax.random.key(seed))["a"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert abs(np.corrcoef(np.ravel(first), np.ravel(other))[0, 1]) < 0.15


def test_counts_its_steps_and_adds_to_the_gradient():
    optimizer = gradient_noise(0.3, decay=1.0)
    state, key = optimizer.init(ZEROS), jax.random.key(0)
    ones = jax.tree.map(jnp.ones_like, ZEROS)
    first, state = optimizer.update(ones, state, key=key)
    second, state = optimizer.update(ones, state, key=key)
    np.testing.assert_allclose(second["a"] - 1, (first["a"] - 1) / np.sqrt(2), rtol=1e-4, atol=1e-6)
    assert int(state.count) == 2


def test_variance_decay_and_key_may_be_traced_and_vmapped():
    keys = jax.random.split(jax.random.key(0), 2)
    values = jnp.array([0.1, 0.9])
    together = jax.jit(jax.vmap(lambda key, v: noise(3, key, v, v)))(keys, values)
    np.testing.assert_allclose(together["a"][1], noise(3, keys[1], 0.9, 0.9)["a"], rtol=1e-5, atol=1e-6)


def test_a_chain_hands_the_key_on_and_a_variance_of_zero_changes_nothing():
    optimizer = optax.chain(gradient_noise(0.0), optax.sgd(0.1))
    ones = jax.tree.map(jnp.ones_like, ZEROS)
    updates, _ = optimizer.update(ones, optimizer.init(ZEROS), ZEROS, key=jax.random.key(0))
    jax.tree.map(lambda leaf: np.testing.assert_allclose(leaf, np.full(leaf.shape, -0.1), rtol=1e-6), updates)


def test_without_a_key_it_says_so():
    optimizer = gradient_noise(0.1)
    with pytest.raises(ValueError, match="gradient_noise got no key"):
        optimizer.update(ZEROS, optimizer.init(ZEROS))
