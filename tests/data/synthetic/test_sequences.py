"""Long-memory tasks: each row against its written specification, computed again in NumPy."""

import functools
import hashlib

import jax
import numpy as np
import pytest

from fdl.data.generated import stream
from fdl.data.synthetic.sequences import adding, copy_memory

SAMPLES = [
    functools.partial(adding, length=9),
    functools.partial(copy_memory, delay=30),
]
IDS = ["adding", "copy_memory"]


@functools.cache
def rows(sample):
    """20,000 rows as NumPy arrays `[20000, ...]`; one compilation serves several tests."""
    keys = jax.vmap(jax.random.key)(np.arange(20000))
    return {name: np.asarray(array) for name, array in jax.jit(jax.vmap(sample))(keys).items()}


def digest(row, *names):
    return hashlib.sha256(b"".join(np.asarray(row[name], "<i4").tobytes() for name in names)).hexdigest()


@pytest.mark.parametrize("length", [2, 3, 101])
def test_adding_is_as_written(length):
    for seed in range(3):
        values, first, second = jax.random.split(jax.random.key(seed), 3)
        v = np.asarray(jax.random.uniform(values, (length,)))
        i = int(jax.random.randint(first, (), 0, length // 2))
        j = int(jax.random.randint(second, (), length // 2, length))
        x = [[value, 1.0 if place in (i, j) else 0.0] for place, value in enumerate(v)]
        row = adding(jax.random.key(seed), length=length)
        np.testing.assert_array_equal(row["x"], np.array(x, np.float32))
        np.testing.assert_array_equal(row["y"], v[i] + v[j])
        assert row["x"].dtype == row["y"].dtype == np.float32 and row["y"].shape == ()


def test_adding_marks_every_place_of_each_half_alike():
    x = rows(SAMPLES[0])["x"]
    count = x[:, :, 1].sum(axis=0)
    assert count.sum() == 40000 and set(np.unique(x[:, :, 1])) == {0.0, 1.0}
    assert (x[:, :4, 1].sum(axis=1) == 1).all()
    np.testing.assert_allclose(count, [5000] * 4 + [4000] * 5, atol=5 * np.sqrt(5000))


def test_adding_baseline():
    y = rows(SAMPLES[0])["y"]
    error = np.square(y.astype(np.float64) - 1)
    # (v + w - 1)**2 has mean 1/6 and, as E(v + w - 1)**4 = 1/15, variance 1/15 - 1/36.
    assert abs(error.mean() - 1 / 6) < 4 * np.sqrt((1 / 15 - 1 / 36) / len(y))


@pytest.mark.parametrize("sizes", [(1, 1, 1), (1, 8, 10), (20, 8, 10), (5, 3, 2)])
def test_copy_memory_is_as_written(sizes):
    delay, symbols, memory = sizes
    key = jax.random.key(5)
    said = jax.random.randint(key, (memory,), 0, symbols).tolist()
    blank, delimiter = symbols, symbols + 1
    row = copy_memory(key, delay=delay, symbols=symbols, memory=memory)
    assert row["x"].tolist() == [*said, *[blank] * (delay - 1), delimiter, *[blank] * memory]
    assert row["y"].tolist() == [*[blank] * (delay + memory), *said]
    assert row["x"].dtype == row["y"].dtype == np.int32


def test_copy_memory_without_memory():
    """The loss of the documented strategy, measured on rows: 10 log 8 / (T + 20)."""
    y = rows(SAMPLES[1])["y"][:50]
    probability = np.zeros((50, 10))
    probability[:40, 8] = 1
    probability[40:, :8] = 1 / 8
    loss = -np.log(probability[np.arange(50), y])
    np.testing.assert_allclose(loss.mean(), 10 * np.log(8) / (30 + 20), rtol=1e-12)


def test_copy_memory_draws_symbols_uniformly():
    said = rows(SAMPLES[1])["x"][:1000, :10]
    np.testing.assert_allclose(np.bincount(said.ravel(), minlength=8), [1250] * 8, atol=5 * np.sqrt(1250))


@pytest.mark.parametrize("sample", SAMPLES, ids=IDS)
def test_jit_and_vmap_change_nothing(sample):
    together = rows(sample)
    for seed in range(3):
        row = sample(jax.random.key(seed))
        assert set(row) == set(together)
        for name, array in row.items():
            np.testing.assert_array_equal(together[name][seed], array)
            assert together[name].dtype == array.dtype


@pytest.mark.parametrize("sample", SAMPLES, ids=IDS)
def test_batches_are_rows_of_their_own(sample):
    source = stream(sample, batch_size=64)
    batch = jax.jit(lambda step, key: source.batch((), step, key))(3, jax.random.key(0))
    assert all(len(array) == 64 for array in batch.values())
    assert len(np.unique(batch["x"].reshape(64, -1), axis=0)) > 32


def test_never_changes():
    marks = np.stack([adding(jax.random.key(seed), length=50)["x"][:, 1] for seed in range(4)])
    assert (
        digest({"marks": marks}, "marks")
        == "06544674ea02a34e361a1e2ebf704bb1a313b371bf86470e4edab449c492b8c9"
    )
    assert (
        digest(copy_memory(jax.random.key(0)), "x", "y")
        == "bf35c53a43034fb81ad663b232ac70eb78377fe8e38f36f239e9706cea0f79ae"
    )


@pytest.mark.parametrize(
    "call, message",
    [
        (functools.partial(adding, length=1), "length is 1; expected at least 2"),
        (functools.partial(copy_memory, delay=0), "delay is 0; expected at least 1"),
        (functools.partial(copy_memory, symbols=0), "symbols is 0; expected at least 1"),
        (functools.partial(copy_memory, memory=-1), "memory is -1; expected at least 1"),
    ],
)
def test_sizes_out_of_range(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call(jax.random.key(0))
    assert "\n" not in str(error.value)
