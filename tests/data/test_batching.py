"""Sources over arrays: exact epochs, exact means, batches that depend on nothing but the step."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl.data import permute, sequential, shuffled
from fdl.data.batching import _divide_product
from fdl.metrics import mean

LAST_STEP = 2**31 - 1
SIZES = [(10, 5), (10, 3), (10, 10), (7, 64), (1, 1), (1, 4), (13, 8), (97, 32), (5, 6)]


def table(size):
    """Rows that say which they are, in three shapes and kinds."""
    rows = np.arange(size)
    return {
        "x": np.stack([rows, rows**2], axis=1).astype(np.float32),
        "y": rows.astype(np.int32),
        "image": np.broadcast_to(rows[:, None, None] % 256, (size, 2, 3)).astype(np.uint8),
    }


def stream(source, key, steps):
    """The rows of consecutive batches, end to end."""
    batch = jax.jit(source.batch)
    return np.concatenate([batch(source.arrays, step, key)["y"] for step in range(steps)])


@pytest.mark.parametrize("size, batch_size", SIZES)
def test_every_epoch_visits_every_row_once(size, batch_size):
    source = shuffled(table(size), batch_size=batch_size)
    epochs = 6
    rows = stream(source, jax.random.key(0), -(-epochs * size // batch_size))[: epochs * size]
    for epoch in rows.reshape(epochs, size):
        np.testing.assert_array_equal(np.sort(epoch), np.arange(size))


def test_reshuffled_every_epoch_and_by_key():
    source = shuffled(table(97), batch_size=32)
    rows = [stream(source, jax.random.key(seed), 10)[: 3 * 97].reshape(3, 97) for seed in (0, 1)]
    assert len(np.unique(np.concatenate(rows), axis=0)) == 6


@pytest.mark.parametrize("make", [shuffled, sequential])
def test_rows_stay_together(make):
    source = make(table(97), batch_size=32)
    batch = source.batch(source.arrays, jnp.int32(2), jax.random.key(1))
    rows = np.asarray(batch["y"])
    for name, array in table(97).items():
        np.testing.assert_array_equal(batch[name], array[rows])
        assert batch[name].dtype == array.dtype


@pytest.mark.parametrize(
    "size, batch_size",
    [
        (1, 1),
        (2, 64),  # epochs beyond 2**32
        (1077, 64),
        (1077, 5000),
        (50_000, 128),
        (65_537, 65_536),  # step * batch_size beyond 2**32, remainders too
        (100_003, 99_991),
    ],
)
def test_batch_equals_arbitrary_precision_reference(size, batch_size):
    source = shuffled({"y": np.arange(size, dtype=np.int32)}, batch_size=batch_size)
    batch, order = jax.jit(source.batch), jax.jit(permute, static_argnames="size")
    key = jax.random.key(4)
    for step in (0, 1, 1_000_000, 2**24 + 1, LAST_STEP - 1, LAST_STEP):
        places = [divmod(step * batch_size + row, size) for row in range(batch_size)]
        epochs = np.array([epoch % 2**32 for epoch, _ in places], np.uint32)
        expected = order(np.array([index for _, index in places]), key, epochs, size=size)
        np.testing.assert_array_equal(batch(source.arrays, jnp.int32(step), key)["y"], expected)


NUMBERS = [1, 64, 1077, 65_537, 2**24 - 3, 2**30, 2**31 - 2, 2**31 - 1]


@pytest.mark.parametrize("size", NUMBERS)
@pytest.mark.parametrize("factor", NUMBERS)
def test_division_is_exact(size, factor):
    steps = np.array([0, 1, 2, 999_999, 2**24 + 1, 2**30 - 1, 1_999_999_973, LAST_STEP - 1, LAST_STEP])
    quotient, remainder = jax.jit(lambda step: _divide_product(step, factor, size))(steps.astype(np.int32))
    exact = [divmod(int(step) * factor, size) for step in steps]
    np.testing.assert_array_equal(quotient, np.array([q % 2**32 for q, _ in exact], np.uint32))
    np.testing.assert_array_equal(remainder, np.array([r for _, r in exact], np.uint32))


@pytest.mark.parametrize("make", [shuffled, sequential])
def test_batch_is_pure(make):
    """Any order of calls gives the same batches: a resumed run needs no state of the source."""
    source, key = make(table(97), batch_size=32), jax.random.key(2)
    batch = jax.jit(source.batch)
    forward = [batch(source.arrays, jnp.int32(step), key) for step in range(4)]
    again = make(table(97), batch_size=32)
    for step in (2, 0, 3, 1):
        other = again.batch(again.arrays, jnp.int32(step), key)
        jax.tree.map(np.testing.assert_array_equal, other, forward[step])


def test_vmap_over_keys():
    source, keys = shuffled(table(97), batch_size=32), jax.random.split(jax.random.key(0), 3)
    together = jax.jit(jax.vmap(source.batch, (None, None, 0)))(source.arrays, jnp.int32(5), keys)
    alone = [jax.jit(source.batch)(source.arrays, jnp.int32(5), key) for key in keys]
    for name in together:
        np.testing.assert_array_equal(together[name], [batch[name] for batch in alone])


@pytest.mark.parametrize("make", [shuffled, sequential])
def test_work_is_fixed_and_arrays_are_arguments(make):
    source = make(table(1077), batch_size=64)
    jaxprs = [
        jax.make_jaxpr(source.batch)(source.arrays, jnp.int32(s), jax.random.key(0)) for s in (0, 10**9)
    ]
    assert str(jaxprs[0]) == str(jaxprs[1])
    assert not any(loop in str(jaxprs[0]) for loop in ("while", "scan"))
    assert sum(np.size(constant) for constant in jaxprs[0].consts) < 64


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="other compilers fuse by other rules")
@pytest.mark.parametrize("members", [None, 3])
def test_order_is_computed_once_a_row(members):
    """The compiled gather reads the order; it does not compute it again for each element."""
    source, keys = shuffled(table(1077), batch_size=64), jax.random.key(0)
    batch = source.batch
    if members:
        batch, keys = jax.vmap(batch, (None, None, 0)), jax.random.split(keys, members)
    compiled = jax.jit(batch).lower(source.arrays, jnp.int32(0), keys).compile().as_text() or ""
    computations = re.split(r"\n(?=%|ENTRY)", compiled)
    gathers = [text for text in computations if " gather(" in text]
    assert gathers
    assert not any(" xor(" in text or " shift-" in text for text in gathers)


@pytest.mark.parametrize("size, batch_size", SIZES)
@pytest.mark.parametrize("make", [shuffled, sequential])
def test_batches_make_one_pass(make, size, batch_size):
    source = make(table(size), batch_size=batch_size)
    assert (source.batches - 1) * batch_size < size <= source.batches * batch_size


@pytest.mark.parametrize("size, batch_size", [*SIZES, (360, 128), (1077, 256)])
def test_evaluation_mean_is_exact(size, batch_size):
    values = np.random.default_rng(0).normal(3.0, 2.0, size).astype(np.float32)
    source = sequential({"value": values}, batch_size=batch_size)
    parts = [
        mean(batch["value"], batch["weight"])
        for step in range(source.batches)
        for batch in [jax.jit(source.batch)(source.arrays, jnp.int32(step), jax.random.key(step))]
    ]
    whole = jax.tree.map(lambda *leaves: sum(leaves), *parts)
    assert float(whole.weight) == size
    np.testing.assert_allclose(float(whole.value), values.astype(np.float64).mean(), rtol=1e-6)


@pytest.mark.parametrize("size, batch_size", SIZES)
def test_evaluation_reads_every_row_once_in_order(size, batch_size):
    source = sequential(table(size), batch_size=batch_size)
    batches = [source.batch(source.arrays, jnp.int32(s), jax.random.key(0)) for s in range(source.batches)]
    rows, weight = (np.concatenate([batch[name] for batch in batches]) for name in ("y", "weight"))
    assert weight.dtype == np.float32
    np.testing.assert_array_equal(weight, (np.arange(len(weight)) < size).astype(np.float32))
    np.testing.assert_array_equal(rows, np.minimum(np.arange(len(rows)), size - 1))


def test_arrays_travel_as_given():
    arrays = table(10)
    source = shuffled(arrays, batch_size=4)
    assert all(source.arrays[name] is array for name, array in arrays.items())
    other = {name: array + 1 for name, array in arrays.items()}
    before, after = (source.batch(data, jnp.int32(1), jax.random.key(0)) for data in (arrays, other))
    np.testing.assert_array_equal(after["y"], np.asarray(before["y"]) + 1)


X = np.zeros((4, 2))


@pytest.mark.parametrize(
    "arrays, batch_size, message",
    [
        ({}, 2, "arrays is empty; give at least one array"),
        ({"x": X[:0]}, 2, r"'x' has shape \(0, 2\); expected \[N, ...\] with N from 1"),
        ({"x": np.float32(1)}, 2, r"'x' has shape \(\); expected"),
        ({"x": X, "y": X[:3]}, 2, "'x' has 4 rows but 'y' has 3; expected as many in each"),
        ({"x": X}, 0, "batch_size is 0; expected at least 1"),
        ({"x": X}, -3, "batch_size is -3; expected at least 1"),
        ({"x": X}, 2**31, "batch_size is 2147483648; expected at least 1 and below"),
    ],
)
@pytest.mark.parametrize("make", [shuffled, sequential])
def test_errors(make, arrays, batch_size, message):
    with pytest.raises(ValueError, match=message) as error:
        make(arrays, batch_size=batch_size)
    assert "\n" not in str(error.value)


def test_weight_is_reserved_in_evaluation_only():
    arrays = {"x": X, "weight": X[:, 0]}
    with pytest.raises(ValueError, match=r"an array is called 'weight'.*rename it"):
        sequential(arrays, batch_size=2)
    assert "weight" in shuffled(arrays, batch_size=2).arrays
