"""Convolutional nets whose places have kernels of their own."""

import jax
import jax.numpy as jnp
import pytest

from fdl.models.convnets import ConvNet, Stage


@pytest.mark.parametrize(("shared", "parameters"), [(True, 72 + 292 + 210), (False, 10 * 72 + 5 * 292 + 210)])
def test_places_share_a_kernel_or_have_their_own(shared, parameters):
    model = ConvNet((Stage(12, 5, 2, shared=shared), Stage(4, 6, 2, shared=shared)), (), 10)
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 20, 1)))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == parameters


def test_kernels_that_are_not_shared_have_no_groups():
    model = ConvNet((Stage(4, groups=2, shared=False),), (), 2)
    with pytest.raises(ValueError, match="2 groups of kernels that are not shared; expected groups=1"):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 20, 2)))
