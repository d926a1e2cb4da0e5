"""Data made of keys: every row is the sample of its own key, at any step, and parts share none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl.data.generated import sampled, stream

KEY = jax.random.key(11)
PARTS = ["train", "validation", "test"]


def words(key):
    """The key itself and numbers drawn from it: rows are equal only if their keys are."""
    return {"key": jax.random.key_data(key), "x": jax.random.uniform(key, (3,)), "y": jax.random.bits(key)}


def batch_of(source, step, key=KEY):
    batch = jax.jit(source.batch)(source.arrays, step, key)
    return {name: np.asarray(array) for name, array in batch.items()}


def assert_equal(batch, other):
    assert set(batch) == set(other)
    for name, array in batch.items():
        np.testing.assert_array_equal(array, other[name])
        assert array.dtype == other[name].dtype


@pytest.mark.parametrize("step", [0, 1, 7, 1_000_000, 2**31 - 1])
def test_each_row_is_the_sample_of_its_own_key(step):
    batch = batch_of(stream(words, batch_size=4), step)
    for row in range(4):
        own = words(jax.random.fold_in(jax.random.fold_in(KEY, step), row))
        assert_equal({name: array[row] for name, array in batch.items()}, own)


def test_steps_and_keys_have_rows_of_their_own():
    source = stream(words, batch_size=50)
    batches = [batch_of(source, step) for step in range(20)]
    batches += [batch_of(source, step, jax.random.key(12)) for step in range(20)]
    rows = np.concatenate([batch["key"] for batch in batches])
    assert len(np.unique(rows, axis=0)) == len(rows) == 2000


def test_a_jump_gives_what_walking_there_gives():
    source = stream(words, batch_size=3)

    def walk(step, _):
        return step + 1, source.batch((), step, KEY)

    _, walked = jax.lax.scan(walk, jnp.int32(999_990), None, length=11)
    assert_equal(batch_of(source, 1_000_000), {name: array[10] for name, array in walked.items()})


def test_a_batch_does_not_depend_on_its_size():
    small, large = (batch_of(stream(words, batch_size=size), 5) for size in (2, 9))
    assert_equal(small, {name: array[:2] for name, array in large.items()})


def test_a_stream_has_no_arrays_and_no_end():
    source = stream(words, batch_size=2)
    assert source.arrays == () and source.batches == 1


def test_each_sampled_row_is_the_sample_of_its_own_key():
    splits = sampled(words, train=5, validation=3, test=2, seed=4)
    for number, (name, size) in enumerate(zip(PARTS, (5, 3, 2), strict=True)):
        part = getattr(splits, name)
        assert all(isinstance(array, np.ndarray) and len(array) == size for array in part.values())
        for row in range(size):
            own = words(jax.random.fold_in(jax.random.fold_in(jax.random.key(4), number), row))
            assert_equal({name: array[row] for name, array in part.items()}, own)
    assert splits.prepare is None and splits.classes == ()


def test_sampled_parts_share_no_row():
    sets = [sampled(words, train=400, validation=200, test=200, seed=seed) for seed in (0, 1)]
    rows = np.concatenate([getattr(splits, name)["key"] for splits in sets for name in PARTS])
    assert len(np.unique(rows, axis=0)) == len(rows) == 1600


def test_sampled_twice_is_the_same():
    first, second = (sampled(words, train=4, validation=2, test=2, seed=3) for _ in range(2))
    for name in PARTS:
        assert_equal(getattr(first, name), getattr(second, name))


def test_a_longer_part_begins_with_the_shorter_and_leaves_the_others():
    short, long = (sampled(words, train=train, validation=2, test=2) for train in (3, 8))
    for name, size in zip(PARTS, (3, 2, 2), strict=True):
        first = {key: array[:size] for key, array in getattr(long, name).items()}
        assert_equal(getattr(short, name), first)


@pytest.mark.parametrize("batch_size", [0, -3])
def test_a_stream_without_rows(batch_size):
    with pytest.raises(ValueError, match=f"batch_size is {batch_size}; expected at least 1"):
        stream(words, batch_size=batch_size)


@pytest.mark.parametrize("sizes", [(0, 1, 1), (1, 0, 1), (1, 1, -1)])
def test_a_part_without_rows(sizes):
    (wrong,) = [(name, size) for name, size in zip(PARTS, sizes, strict=True) if size < 1]
    with pytest.raises(ValueError, match=r"{} is {}; expected at least 1".format(*wrong)):
        sampled(words, **dict(zip(PARTS, sizes, strict=True)))
