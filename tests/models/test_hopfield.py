"""Hopfield nets: energies fall, patterns are kept up to capacity, the modern one is attention."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl.models.hopfield import (
    asynchronous,
    energy,
    hebbian,
    modern_energy,
    modern_update,
    recall,
    synchronous,
)


def patterns(count, units, seed=0):
    return jax.random.rademacher(jax.random.key(seed), (count, units), jnp.float32)


def test_hebbian_weights_and_energy_against_double_loops():
    stored = np.asarray(patterns(3, 7))
    weights = np.zeros((7, 7))
    for i in range(7):
        for j in range(7):
            weights[i, j] = 0 if i == j else sum(p[i] * p[j] for p in stored) / 7
    np.testing.assert_allclose(hebbian(jnp.asarray(stored)), weights, atol=1e-6)
    state = np.asarray(patterns(1, 7, seed=1))[0]
    expected = -sum(weights[i, j] * state[i] * state[j] for i in range(7) for j in range(7)) / 2
    np.testing.assert_allclose(energy(jnp.asarray(weights), jnp.asarray(state)), expected, atol=1e-6)


def test_an_asynchronous_sweep_is_one_unit_after_another():
    raw = jax.random.normal(jax.random.key(1), (20, 20))  # no ties, which rounding would decide
    weights, start, key = raw + raw.T, np.array(patterns(1, 20, seed=5)[0]), jax.random.key(3)
    state = start.copy()
    for unit in np.asarray(jax.random.permutation(key, 20)):
        state[unit] = np.sign(np.asarray(weights)[unit] @ state)
    np.testing.assert_array_equal(asynchronous(weights, jnp.asarray(start), key), state)
    assert not np.array_equal(state, start)


@pytest.mark.parametrize("seed", range(3))
def test_energy_never_rises_under_asynchronous_updates(seed):
    # Any symmetric weights without a diagonal, not only stored patterns.
    raw = jax.random.normal(jax.random.key(seed), (40, 40))
    weights = (raw + raw.T) * (1 - jnp.eye(40))
    state, energies = patterns(1, 40, seed=seed)[0], []
    for sweep in range(8):
        energies.append(float(energy(weights, state)))
        state = asynchronous(weights, state, jax.random.key(sweep))
    assert np.all(np.diff(energies) <= 1e-4)
    assert energies[-1] < energies[0]


def test_synchronous_updates_may_cycle():
    weights, state = jnp.array([[0.0, -1.0], [-1.0, 0.0]]), jnp.array([1.0, 1.0])
    once = synchronous(weights, state)
    np.testing.assert_array_equal(once, -state)
    np.testing.assert_array_equal(synchronous(weights, once), state)
    settled = recall(weights, state, jax.random.key(0), sweeps=3)
    np.testing.assert_array_equal(synchronous(weights, settled), settled)


def test_units_that_receive_nothing_stay():
    state = patterns(1, 5)[0]
    np.testing.assert_array_equal(synchronous(jnp.zeros((5, 5)), state), state)
    np.testing.assert_array_equal(asynchronous(jnp.zeros((5, 5)), state, jax.random.key(0)), state)


@pytest.mark.medium
def test_patterns_are_recalled_below_capacity_and_lost_above():
    # Amit et al. 1985, Storing Infinite Numbers of Patterns in a Spin-Glass Model: about 0.138 N.
    units, probes, overlaps = 200, 20, {}
    keys = jax.random.split(jax.random.key(2), probes)
    run = jax.jit(jax.vmap(lambda w, s, k: recall(w, s, k, sweeps=3), (None, 0, 0)))
    for share in (0.1, 0.4):
        stored = patterns(int(share * units), units)
        asked = stored[:probes]
        damage = jax.random.bernoulli(jax.random.key(1), 0.1, asked.shape)
        recalled = run(hebbian(stored), jnp.where(damage, -asked, asked), keys)
        overlaps[share] = float(jnp.mean(recalled * asked))
    assert overlaps[0.1] > 0.95
    assert overlaps[0.4] < 0.6


def test_a_modern_update_is_attention_to_the_patterns():
    stored, state = (jax.random.normal(jax.random.key(i), (n, 8)) for i, n in enumerate((5, 3)))
    ours = modern_update(stored, state, beta=8**-0.5)
    attention = nn.dot_product_attention(state[:, None], stored[:, None], stored[:, None])[:, 0]
    np.testing.assert_allclose(ours, attention, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("beta", [0.5, 2.0, 10.0])
def test_modern_updates_never_raise_their_energy(beta):
    stored, state = (jax.random.normal(jax.random.key(i), (n, 8)) for i, n in enumerate((5, 3)))
    energies = []
    for _ in range(6):
        energies.append(np.asarray(modern_energy(stored, state, beta=beta)))
        state = modern_update(stored, state, beta=beta)
    assert np.all(np.diff(energies, axis=0) <= 1e-5)
    # At a fixed point the gradient of the energy vanishes; an update is a step of length 1 down it.
    gradient = jax.grad(lambda s: modern_energy(stored, s, beta=beta).sum())(state)
    np.testing.assert_allclose(state - gradient, modern_update(stored, state, beta=beta), atol=1e-5)


def test_the_modern_net_keeps_more_patterns_than_units():
    stored = patterns(200, 32)
    probe = stored.at[:, :3].multiply(-1)
    found = jnp.sign(modern_update(stored, probe, beta=2.0))
    assert jnp.mean(jnp.all(found == stored, axis=-1)) > 0.95
