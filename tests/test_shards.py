"""What a shard asks of the others: here shards are rows of an axis that `vmap` names, on one device."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl import shards

ROWS = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
WEIGHTS = np.random.default_rng(1).normal(size=(3, 2)).astype(np.float32)
KEY = jax.random.key(0)


def on_shards(function, *arrays, count=4):
    """Results of all shards, `[count, ...]`, each of which has its part of the rows."""
    split = (array.reshape(count, -1, *array.shape[1:]) for array in arrays)
    return jax.vmap(function, axis_name=shards.AXIS)(*split)


def test_one_shard_asks_nobody():
    tree = {"x": jnp.asarray(ROWS)}
    for function in (shards.mean, shards.total, shards.own_rows, shards.gathered):
        assert function(tree) is tree
    assert shards.count() == 1
    np.testing.assert_array_equal(
        shards.draw(jax.random.normal, KEY, (2, 3), axis=1), jax.random.normal(KEY, (2, 3))
    )


@pytest.mark.parametrize("count", [1, 2, 8])
def test_means_and_totals(count):
    own = lambda x: (shards.mean(x.mean(0)), shards.total(x.sum(0)), shards.count())  # noqa: E731
    mean, total, counted = on_shards(own, ROWS, count=count)
    np.testing.assert_allclose(mean, np.tile(ROWS.mean(0), (count, 1)), rtol=1e-5)
    np.testing.assert_allclose(total, np.tile(ROWS.sum(0), (count, 1)), rtol=1e-5)
    assert (counted == count).all()


def test_gathered_rows_are_all_in_order_and_own_rows_take_them_back():
    whole = on_shards(shards.gathered, ROWS)
    np.testing.assert_array_equal(whole, np.tile(ROWS, (4, 1, 1)))
    back = on_shards(lambda x: shards.own_rows(shards.gathered(x)), ROWS)
    np.testing.assert_array_equal(back.reshape(ROWS.shape), ROWS)


@pytest.mark.parametrize("axis", [0, 1])
def test_draws_are_those_of_the_whole_batch(axis):
    own = lambda x: shards.draw(jax.random.normal, KEY, (2, 2), axis=axis)  # noqa: E731
    drawn = on_shards(own, ROWS)
    whole = jax.random.normal(KEY, (8, 2) if axis == 0 else (2, 8))
    np.testing.assert_array_equal(jnp.concatenate(drawn, axis=axis), whole)


def of_all_rows(weights, x):
    """Compares each row with all others."""
    z = shards.gathered(x @ weights)
    return jnp.mean(jax.nn.logsumexp(z @ z.T, axis=1))


def of_a_product_of_means(weights, x):
    """The product of two means, of which one has a gradient."""
    z = x @ weights
    return jnp.sum(jax.lax.stop_gradient(shards.mean(jnp.mean(z, axis=0))) * jnp.mean(z**2, axis=0))


def of_a_weighted_mean(weights, x):
    counts = (x[:, 0] > 0).astype(x.dtype)  # on some shards none
    return jnp.sum(counts[:, None] * (x @ weights) ** 2) / shards.mean(jnp.sum(counts))


def of_a_variance(weights, x):
    z = x @ weights
    return jnp.mean(jnp.square(z - shards.mean(jnp.mean(z, axis=0)))) + jnp.sum(
        shards.total(jnp.sum(z, axis=0)) ** 2
    )


@pytest.mark.parametrize("loss", [of_all_rows, of_a_product_of_means, of_a_weighted_mean, of_a_variance])
def test_the_mean_of_the_gradients_is_the_gradient(loss):
    value, gradient = jax.value_and_grad(loss)(WEIGHTS, jnp.asarray(ROWS))
    step = lambda x: shards.mean(jax.value_and_grad(loss)(WEIGHTS, x))  # noqa: E731
    values, gradients = on_shards(step, ROWS)
    np.testing.assert_allclose(values, np.full(4, value), rtol=1e-5)
    np.testing.assert_allclose(gradients, np.tile(gradient, (4, 1, 1)), rtol=1e-4, atol=1e-5)
