"""The McCulloch-Pitts unit and the single neuron."""

import itertools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core.meta import unbox

from fdl.data.synthetic import truth_table
from fdl.models.neurons import Neuron, heaviside, mcculloch_pitts

BITS = np.array(list(itertools.product((0, 1), repeat=3)))


@pytest.mark.parametrize(
    ("signs", "threshold", "truth"),
    [
        ([1, 1, 1], 3, lambda a, b, c: a and b and c),
        ([1, 1, 1], 1, lambda a, b, c: a or b or c),
        ([1, 1, 1], 2, lambda a, b, c: a + b + c >= 2),
        ([-1, 0, 0], 0, lambda a, b, c: not a),
        ([1, 1, -1], 1, lambda a, b, c: (a or b) and not c),  # two excitatory inputs do not outvote a veto
        ([0, 0, 0], 0, lambda a, b, c: True),
    ],
)
def test_units_compute_their_logical_functions(signs, threshold, truth):
    fired = mcculloch_pitts(jnp.asarray(BITS), jnp.array(signs), threshold=threshold)
    assert fired.tolist() == [int(truth(*map(bool, row))) for row in BITS]


@pytest.mark.parametrize("number", [0, 6, 9, 0b10010110, 255])
def test_two_layers_compute_any_truth_table(number):
    inputs = 3 if number > 9 else 2
    table = truth_table(number, inputs=inputs)
    x, y = (table["x"] > 0).astype(int), (table["y"] > 0).astype(int)
    # One unit for each true row: fires for that row alone; then their disjunction.
    true = x[y.reshape(len(x)) == 1]
    units = [mcculloch_pitts(jnp.asarray(x), jnp.where(row, 1, -1), threshold=int(row.sum())) for row in true]
    hidden = jnp.stack(units, axis=-1) if units else jnp.zeros((len(x), 1), int)
    output = mcculloch_pitts(hidden, jnp.ones(hidden.shape[-1], int), threshold=1)
    np.testing.assert_array_equal(output, y.reshape(len(x)))


@pytest.mark.parametrize("activation", [heaviside, lambda x: x])
def test_a_neuron_is_its_weighted_sum(activation):
    model: Any = Neuron(activation=activation, initializer=nn.initializers.lecun_normal)
    x = jax.random.normal(jax.random.key(0), (5, 2, 3))
    params = unbox(jax.jit(model.init)(jax.random.key(1), x))["params"]
    w, b = (np.asarray(params["Dense_0"][name]) for name in ("kernel", "bias"))
    sums = np.asarray(x).reshape(5, 6) @ w + b
    expected = sums if activation is not heaviside else (sums > 0).astype(np.float32)
    np.testing.assert_allclose(model.apply({"params": params}, x), expected, rtol=1e-5, atol=1e-6)
