"""Each run's own few rows: how many, which by seed, the labels that are wrong, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl import data

PART = {"x": np.arange(60, dtype=np.float32), "y": (np.arange(60) % 5).astype(np.int32)}


def drawn(rows, mislabelled=0.0, seed=0):
    """The label of each row that comes, by row, of 1,200 draws in two batches."""
    source = data.subsample(PART, rows, batch_size=600, mislabelled=mislabelled)
    found: dict[int, set[int]] = {}
    for step in range(2):
        batch = source.batch(source.arrays, jnp.int32(step), jax.random.key(seed))
        for x, y in zip(np.asarray(batch["x"]).astype(int), np.asarray(batch["y"]), strict=True):
            found.setdefault(int(x), set()).add(int(y))
    return found


def test_a_run_has_so_many_rows_of_its_own():
    few, more, other = drawn(7), drawn(20), drawn(7, seed=1)
    assert len(few) == 7 and len(more) == 20 and set(few) < set(more)
    assert set(few) != set(other) and len(other) == 7
    assert all(labels == {row % 5} for row, labels in more.items())
    assert len(drawn(60)) == len(drawn(1000)) == 60


def test_a_label_that_is_wrong_stays_the_same_wrong_one():
    some, all_wrong = drawn(60, 0.4), drawn(60, 1.0)
    assert all(len(labels) == 1 for labels in (*some.values(), *all_wrong.values()))
    wrong = {row for row, labels in some.items() if labels != {row % 5}}
    assert 12 <= len(wrong) <= 36  # of 60 at 0.4, four standard deviations
    assert all(labels != {row % 5} and labels < set(range(5)) for row, labels in all_wrong.items())
    assert all(some[row] == all_wrong[row] for row in wrong)
    assert len({(next(iter(labels)) - row) % 5 for row, labels in all_wrong.items()}) == 4


@pytest.mark.parametrize("labels, said", [(np.zeros(4, np.int32), "one class")])
def test_labels_of_one_class_cannot_be_wrong(labels, said):
    with pytest.raises(ValueError, match=said):
        data.subsample({"y": labels}, 2, batch_size=2)
