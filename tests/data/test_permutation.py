"""The computed order: a bijection, uniform, and a pure function of its arguments."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from fdl.data import permute

SIZES = [1, 2, 3, 4, 5, 7, 8, 63, 64, 65, 1077, 65535, 65536, 65537]
# Fixed keys make a p-value one fixed number: the bound is what a right shuffle fails once in 10**4.
SMALLEST_P = 1e-4

compiled = jax.jit(permute, static_argnames="size")


@functools.partial(jax.jit, static_argnames="size")
def side_by_side(keys, epochs, *, size):
    return jax.vmap(lambda key, epoch: permute(jnp.arange(size), key, epoch, size=size))(keys, epochs)


def orders(keys, epochs, size):
    """The whole order under each of `keys` and `epochs`: `[len(keys), size]`."""
    return np.asarray(side_by_side(keys, jnp.asarray(epochs, jnp.uint32), size=size)).astype(np.int32)


def many(mode, count, size):
    """`count` orders, that differ by consecutive seeds or by consecutive epochs."""
    if mode == "seeds":
        return orders(jax.vmap(jax.random.key)(jnp.arange(count)), jnp.zeros(count, jnp.uint32), size)
    keys = jnp.broadcast_to(jax.random.key(7), (count,))
    return orders(keys, jnp.arange(count), size)


@pytest.mark.parametrize("size", SIZES)
def test_bijection(size):
    keys = jax.vmap(jax.random.key)(jnp.array([0, 1, 5, 2]))
    for order in orders(keys, jnp.array([0, 0, 3, 2**32 - 1], jnp.uint32), size):
        np.testing.assert_array_equal(np.sort(order), np.arange(size))


@pytest.mark.parametrize("size", [2**31 - 1, 2**31 - 2, 2**30, 2**30 + 1])
def test_large_sizes_stay_in_range_and_apart(size):
    index = jnp.concatenate([jnp.arange(50_000), size - 1 - jnp.arange(50_000)])
    order = np.asarray(compiled(index, jax.random.key(0), size=size))
    assert order.dtype == np.uint32
    assert order.max() < size
    assert np.unique(order).size == order.size
    assert scipy.stats.kstest(order / size, "uniform").pvalue > SMALLEST_P


@pytest.mark.medium
@pytest.mark.parametrize("implementation", ["threefry2x32", "rbg"])
def test_other_key_or_epoch_is_another_order(implementation):
    keys = jnp.stack([jax.random.key(seed, impl=implementation) for seed in (0, 1, 2, 2**31)])
    epochs = np.array([0, 1, 2, 2**16, 2**31, 2**32 - 1], np.uint32)
    found = np.concatenate([orders(keys, jnp.full(len(keys), epoch), 1077) for epoch in epochs])
    assert len(np.unique(found, axis=0)) == len(keys) * len(epochs)
    same_place = (found[:, None] == found).sum(axis=-1)[~np.eye(len(found), dtype=bool)]
    assert same_place.max() < 10  # 1 is expected


@pytest.mark.parametrize("size", [1, 5, 1077])
def test_epoch_of_each_element(size):
    """Mixed epochs in one call are the same as one call an epoch."""
    key, epochs = jax.random.key(3), np.array([4, 0, 9])
    mixed = compiled(jnp.arange(size), key, epochs[:, None], size=size)
    alone = np.stack([compiled(jnp.arange(size), key, epoch, size=size) for epoch in epochs])
    np.testing.assert_array_equal(mixed, alone)


def test_scalar_index_and_any_shape():
    key = jax.random.key(0)
    whole = compiled(jnp.arange(12).reshape(3, 4), key, 2, size=12)
    assert whole.shape == (3, 4)
    assert int(compiled(jnp.int32(7), key, 2, size=12)) == int(whole[1, 3])


def test_jit_equals_eager():
    key, index = jax.random.key(1), jnp.arange(65)
    np.testing.assert_array_equal(compiled(index, key, 5, size=65), permute(index, key, 5, size=65))


def test_vmap_over_keys():
    keys = jax.random.split(jax.random.key(1), 5)
    together = orders(keys, jnp.full(5, 2), 1077)
    np.testing.assert_array_equal(together, [compiled(np.arange(1077), key, 2, size=1077) for key in keys])


@pytest.mark.parametrize("mode", ["seeds", "epochs"])
@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_every_order_is_equally_likely(mode, size):
    found = many(mode, 100_000, size)
    counts = np.unique(found @ size ** np.arange(size), return_counts=True)[1]
    assert len(counts) == math.factorial(size)
    assert scipy.stats.chisquare(counts).pvalue > SMALLEST_P


@pytest.mark.parametrize("mode", ["seeds", "epochs"])
@pytest.mark.parametrize("size, count", [(12, 50_000), (64, 20_000)])
def test_every_position_is_equally_likely_for_every_index(mode, size, count):
    found = many(mode, count, size)
    counts = np.stack([np.bincount(column, minlength=size) for column in found.T])
    expected = count / size
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert scipy.stats.chi2.sf(statistic, (size - 1) ** 2) > SMALLEST_P


@pytest.mark.parametrize("mode", ["seeds", "epochs"])
@pytest.mark.parametrize("size, count", [(5, 100_000), (64, 20_000), (1077, 500)])
def test_neighbours_go_anywhere(mode, size, count):
    found = many(mode, count, size)
    apart = np.bincount((np.diff(found, axis=1) % size).ravel(), minlength=size)[1:]
    assert scipy.stats.chisquare(apart).pvalue > SMALLEST_P


@pytest.mark.parametrize("mode", ["seeds", "epochs"])
@pytest.mark.parametrize("size, count", [(63, 10_000), (257, 1_000)])
def test_no_distance_survives(mode, size, count):
    """Pairs at each distance keep it as often as in a uniform order, two times in size - 1."""
    found = many(mode, count, size)
    distances = range(1, size // 2 + 1)
    kept = np.array([_kept(found, distance, size) for distance in distances])
    expected = count * size * 2 / (size - 1)
    statistic = ((kept - expected) ** 2 / expected).sum()
    assert scipy.stats.chi2.sf(statistic, len(kept)) > SMALLEST_P


def _kept(found, distance, size):
    apart = (np.roll(found, -distance, axis=1) - found) % size
    return np.sum((apart == distance) | (apart == size - distance))


def test_consecutive_epochs_are_unrelated():
    found = many("epochs", 3_000, 257)
    moved = np.bincount((np.diff(found, axis=0) % 257).ravel(), minlength=257)
    assert scipy.stats.chisquare(moved).pvalue > SMALLEST_P


@pytest.mark.parametrize("size", [5, 1077, 2**31 - 1])
def test_fixed_work_and_32_bits(size):
    jaxpr = jax.make_jaxpr(lambda i, key, epoch: permute(i, key, epoch, size=size))(
        jnp.zeros(64, jnp.uint32), jax.random.key(0), jnp.zeros(64, jnp.uint32)
    )
    text = str(jaxpr)
    assert not any(word in text for word in ("while", "scan", "cond", "u64", "i64", "f32", "f64"))


@pytest.mark.parametrize("size", [0, -1, 2**31])
def test_size_out_of_range(size):
    with pytest.raises(ValueError, match=rf"size is {size}; expected (1 to 2\*\*31 - 1|at least 1)"):
        permute(jnp.arange(3), jax.random.key(0), size=size)
