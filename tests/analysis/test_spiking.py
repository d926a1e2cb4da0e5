"""Events of a spiking net, counted by hand, and the energy of its arithmetic."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fdl import models
from fdl.analysis import spiking_energy


def test_a_net_counted_by_hand():
    # Decay 0.5, threshold 1, weight 1 to both units: membranes are 1, 1.5, 0.25 and the units fire once.
    model = models.SpikingNet(widths=(2,), outputs=3, decay=0.5)
    x = jnp.asarray([[[1.0], [1.0], [0.5], [0.0]], [[0.0], [0.0], [0.0], [0.0]]])
    ones = jax.tree.map(jnp.ones_like, model.init(jax.random.key(0), x))
    _, found = jax.jit(lambda v: model.apply(v, x, mutable="intermediates"))(ones)
    (spikes,) = found["intermediates"]["spikes"]
    np.testing.assert_array_equal(spikes[0], [[0, 0], [1, 1], [0, 0], [0, 0]])
    energy = spiking_energy([x, spikes], model.outputs)
    np.testing.assert_array_equal(energy.events, [3 + 2, 0])
    # 3 inputs to 2 units, 2 spikes to 3, 2 resets, 4 times 3 outputs averaged.
    np.testing.assert_array_equal(energy.additions, [3 * 2 + 2 * 3 + 2 + 12, 12])
    # The input of 0.5 to 2 units; 4 times 5 membranes decay; 3 means.
    np.testing.assert_array_equal(energy.multiplications, [2 + 20 + 3, 20 + 3])
    np.testing.assert_allclose(energy.picojoules, [26 * 0.9 + 25 * 3.7, 12 * 0.9 + 23 * 3.7], rtol=1e-6)
    np.testing.assert_allclose(energy.artificial_picojoules, (1 * 2 + 2 * 3) * 4.6, rtol=1e-6)


def test_nothing_is_kept_of_spikes_that_nobody_asks_for():
    model, x = models.SpikingNet(widths=(4, 3), outputs=2), jnp.ones((1, 5, 3))
    outputs, variables = jax.jit(model.init_with_output)(jax.random.key(0), x)
    assert set(variables) == {"params"}
    kept: Any
    again, kept = model.apply(variables, x, mutable="intermediates")
    np.testing.assert_array_equal(again, outputs)
    assert [one.shape for one in kept["intermediates"]["spikes"]] == [(1, 5, 4), (1, 5, 3)]
