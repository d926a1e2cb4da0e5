"""The acoustic model reads each row to its own end."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl.models.acoustic import AcousticModel

pytestmark = pytest.mark.slow  # minutes of compiling

LENGTHS = np.array([13, 12, 5, 1])


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_a_row_does_not_see_its_padding(stride):
    model = AcousticModel(4, channels=6, widths=(5, 5), stride=stride)
    x = jax.random.normal(jax.random.key(0), (4, 13, 3))
    variables = jax.jit(model.init)(jax.random.key(1), x)
    apply = jax.jit(model.apply)
    logits = apply(variables, x, mask=jnp.arange(13) < LENGTHS[:, None])
    assert logits.shape == (4, -(-13 // stride), 4)
    for row, length in enumerate(LENGTHS):
        alone = apply(variables, x[row : row + 1, :length])[0]
        assert len(alone) == -(-length // stride)
        np.testing.assert_allclose(logits[row, : len(alone)], alone, rtol=1e-5, atol=1e-6)
