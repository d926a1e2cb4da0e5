"""Orthogonal kernels are those of Flax, made without LAPACK."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl import models
from fdl.models.initializers import delta_orthogonal, orthogonal

KEY = jax.random.key(3)


@pytest.mark.parametrize("shape", [(8, 8), (5, 9), (9, 5), (3, 3, 4, 16), (1, 7), (200, 200)])
def test_orthogonal_kernels_are_flaxs(shape):
    ours = orthogonal(1.5)(KEY, shape)
    np.testing.assert_allclose(ours, nn.initializers.orthogonal(1.5)(KEY, shape), atol=1e-5)
    kernel = np.asarray(ours, np.float64).reshape(-1, shape[-1]) / 1.5
    kernel = kernel if kernel.shape[0] >= kernel.shape[1] else kernel.T
    np.testing.assert_allclose(kernel.T @ kernel, np.eye(kernel.shape[1]), atol=2e-6)


@pytest.mark.parametrize("shape", [(3, 3, 4, 4), (3, 2, 4, 7), (5, 2, 3)])
def test_delta_orthogonal_kernels_are_flaxs(shape):
    expected = nn.initializers.delta_orthogonal(2.0)(KEY, shape)
    np.testing.assert_allclose(delta_orthogonal(2.0)(KEY, shape), expected, atol=1e-5)


def test_more_inputs_than_outputs_are_refused():
    with pytest.raises(ValueError, match="more inputs than outputs"):
        delta_orthogonal()(KEY, (3, 3, 5, 4))


@pytest.mark.parametrize("cell", [models.LSTMCell, models.GRUCell, models.RNNCell])
def test_recurrent_nets_start_without_lapack(cell):
    # Its kernels wait for each other in XLA's threads: two at once on two cores were seen to hang.
    net = models.RecurrentNet((8, 8), 3, cell=cell, bidirectional=True)
    start = jax.jit(jax.vmap(lambda key: net.init(key, jnp.zeros((2, 5, 4)))))
    assert "lapack" not in start.lower(jax.random.split(KEY, 3)).as_text()
    flaxs = jax.jit(lambda key: nn.initializers.orthogonal()(key, (8, 8)))
    assert "lapack" in flaxs.lower(KEY).as_text(), "or the test above shows nothing"
