"""Max-norm against projections computed column by column."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl.models.conv import Conv
from fdl.optim.max_norm import max_norm

RNG = np.random.default_rng(0)
PARAMS = {
    "Dense_0": {"kernel": RNG.normal(size=(5, 4)).astype(np.float32), "bias": np.full(4, 9.0, np.float32)},
    "Conv_0": {"kernel": RNG.normal(size=(3, 3, 2, 6)).astype(np.float32)},
}
UPDATES = jax.tree.map(lambda leaf: RNG.normal(size=leaf.shape).astype(np.float32), PARAMS)


def projected(kernel, limit):
    columns = kernel.reshape(-1, kernel.shape[-1]).astype(np.float64).copy()
    for column in columns.T:
        length = np.linalg.norm(column)
        if length > limit:
            column *= limit / length
    return columns.reshape(kernel.shape)


def applied(limit, params=PARAMS, updates=UPDATES):
    changed, _ = max_norm(limit).update(updates, optax.EmptyState(), params)
    return optax.apply_updates(params, changed)


@pytest.mark.parametrize("limit", [0.5, 2.5, 100.0])
def test_is_the_projection_of_every_column(limit):
    got = jax.jit(applied)(limit)
    moved = jax.tree.map(np.add, PARAMS, UPDATES)
    for layer in PARAMS:
        wanted = projected(moved[layer]["kernel"], limit)
        np.testing.assert_allclose(got[layer]["kernel"], wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(got["Dense_0"]["bias"], moved["Dense_0"]["bias"])


def test_short_columns_keep_their_updates_exactly():
    changed, _ = max_norm(100.0).update(UPDATES, optax.EmptyState(), PARAMS)
    jax.tree.map(np.testing.assert_array_equal, changed, UPDATES)


def test_columns_of_zeros_stay_without_nan():
    zeros = jax.tree.map(np.zeros_like, PARAMS)
    jax.tree.map(np.testing.assert_array_equal, applied(0.0, zeros, zeros), zeros)


def test_boxes_with_names_of_axes_are_looked_into():
    params = jax.jit(Conv(3).init)(jax.random.key(0), jnp.zeros((1, 4, 4, 2)))["params"]
    optimizer = optax.chain(optax.sgd(0.0), max_norm(0.1))
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    kernel = jax.tree.leaves(optax.apply_updates(params, updates))[1]
    np.testing.assert_allclose(np.sqrt(np.sum(np.square(kernel), axis=(0, 1, 2))), np.full(3, 0.1), rtol=1e-5)


def test_without_parameters_it_says_so():
    with pytest.raises(ValueError, match="max_norm got no parameters"):
        max_norm(1.0).update(UPDATES, optax.EmptyState())
