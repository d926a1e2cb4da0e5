"""RandAugment: each row gets one of the operations a round, each as often as the others."""

import jax
import numpy as np
import pytest
from scipy import stats

from fdl.data.augment import by_row
from fdl.data.rand_augment import colour, geometry, rand_augment
from tests.data.test_augment import KEY, batch_of, x_of

ADD = [by_row(lambda x, key, n=n: x + 10.0**n) for n in range(3)]


@pytest.mark.parametrize("count", [1, 2])
def test_every_row_gets_count_operations_each_as_likely(count):
    batch = {"x": np.zeros((1500, 2), np.float32)}
    x = x_of(rand_augment(ADD, count=count), batch)[:, 0]
    digits = np.stack([x // 10**n % 10 for n in range(3)], axis=1)
    np.testing.assert_array_equal(digits.sum(axis=1), np.full(1500, count))
    outcomes = np.unique(x, return_counts=True)[1]
    if count == 1:
        assert stats.chisquare(digits.sum(axis=0)).pvalue > 1e-4
    else:  # twice the same one, or two of them in either order
        expected = np.where(np.isin(np.unique(x), [2, 20, 200]), 1 / 9, 2 / 9) * 1500
        assert stats.chisquare(outcomes, expected).pvalue > 1e-4


def test_a_row_is_what_its_operation_makes_of_it():
    batch = batch_of(size=40)
    mirrored = by_row(lambda x, key: x[:, ::-1])
    turned = by_row(lambda x, key: x[::-1])
    x = x_of(rand_augment([mirrored, turned], count=1), batch)
    either = (x == batch["x"][:, :, ::-1]).all(axis=(1, 2, 3)), (x == batch["x"][:, ::-1]).all(axis=(1, 2, 3))
    assert (either[0] ^ either[1]).all() and either[0].any() and either[1].any()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_ready_made_operations_keep_shape_dtype_and_labels(dtype):
    batch = batch_of(dtype=dtype)
    made = jax.jit(rand_augment(geometry(0.5) + colour(0.5)))(batch, KEY)
    assert made["x"].shape == batch["x"].shape and made["x"].dtype == dtype
    np.testing.assert_array_equal(made["y"], batch["y"])
    assert (made["x"] != batch["x"]).any()


def test_no_magnitude_changes_nothing_and_it_may_be_traced():
    batch = batch_of()

    def x_at(magnitude):
        return rand_augment(geometry(magnitude) + colour(magnitude))(batch, KEY)["x"]

    run = jax.jit(x_at)
    np.testing.assert_allclose(run(0.0), batch["x"], atol=1e-3)  # of 255
    changes = [np.abs(np.asarray(run(m)) - batch["x"]).mean() for m in (0.1, 0.9)]
    assert changes[1] > 2 * changes[0] > 0


def test_rows_do_not_depend_on_others():
    batch, other = batch_of(), batch_of(seed=5)
    some = {**batch, "x": np.concatenate([batch["x"][:3], other["x"][3:]])}
    run = rand_augment(geometry(0.5))
    np.testing.assert_array_equal(x_of(run, some)[:3], x_of(run, batch)[:3])


@pytest.mark.parametrize(("operations", "count"), [([], 2), (ADD, 0)])
def test_nothing_to_do_is_refused(operations, count):
    with pytest.raises(ValueError, match="expected at least 1 of each"):
        rand_augment(operations, count=count)
