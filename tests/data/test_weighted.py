"""Rows drawn by weights: the chances, the same batch at the same step, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl import data, models, tasks

LABELS = np.repeat(np.arange(4), (2, 3, 15, 80)).astype(np.int32)
PART = {"x": np.arange(100, dtype=np.float32)[:, None], "y": LABELS}


def counts_of(source, steps):
    """How often each row comes."""
    if source.fetch is not None:
        words = np.asarray(jax.random.key_data(jax.random.key(1)))
        taken = [source.fetch(step, words, slice(0, 50))["x"] for step in range(steps)]
        return np.bincount(np.concatenate(taken).astype(int).ravel(), minlength=100)

    def one(step):
        return source.batch(source.arrays, step, jax.random.key(1))["x"][:, 0]

    return np.bincount(
        np.asarray(jax.jit(jax.vmap(one))(jnp.arange(steps))).astype(int).ravel(), minlength=100
    )


@pytest.mark.parametrize("place", ("device", "host"))
@pytest.mark.parametrize("kind", ("balanced", "some"))
def test_rows_come_as_their_weights_say(place, kind):
    weights = data.balanced(LABELS) if kind == "balanced" else np.arange(100) % 3 * 1.5
    part = PART if place == "device" else data.on_host(PART)
    counts = counts_of(data.weighted(part, weights, batch_size=50), 400)
    share = weights / weights.sum()
    assert counts.sum() == 20_000 and not counts[weights == 0].any()
    # The sum of squares of standardised counts is chi-squared of about as many degrees as rows may come.
    some = share > 0
    chi = ((counts[some] - 20_000 * share[some]) ** 2 / (20_000 * share[some])).sum()
    degrees = some.sum() - 1
    assert abs(chi - degrees) < 5 * np.sqrt(2 * degrees)
    if kind == "balanced":
        by_class = np.bincount(LABELS, counts)
        assert np.abs(by_class / 5000 - 1).max() < 0.06  # five standard deviations


def test_a_batch_is_a_function_of_the_step_and_of_its_rows():
    weights = data.balanced(LABELS)
    source = data.weighted(data.on_host(PART), weights, batch_size=6)
    words = np.array([3, 4], np.uint32)
    assert source.fetch is not None and source.batches == 17
    whole = source.fetch(5, words, slice(0, 6))
    halves = [source.fetch(5, words, slice(start, start + 3))["x"] for start in (0, 3)]
    np.testing.assert_array_equal(whole["x"], np.concatenate(halves))
    assert (source.fetch(6, words, slice(0, 6))["x"] != whole["x"]).any()
    source = data.weighted(PART, weights, batch_size=6)
    first, again, other = (
        source.batch(source.arrays, jnp.int32(k), jax.random.key(0))["x"] for k in (1, 1, 2)
    )
    assert (first == again).all() and (first != other).any()


def test_every_task_draws_train_by_its_sampling():
    splits = data.Splits(PART, PART, PART, sampling=(LABELS == 1).astype(float))
    task = tasks.classification(models.MLP((), 4), splits, optax.sgd(0.1), steps=1, batch_size=9)
    batch = task.train.batch(task.train.arrays, jnp.int32(0), jax.random.key(0))
    assert (np.asarray(batch["y"]) == 1).all()
    test = task.evaluation["test"]
    assert (
        np.asarray(test.batch(test.arrays, jnp.int32(0), jax.random.key(0))["y"]).tolist() == LABELS.tolist()
    )


@pytest.mark.parametrize(
    ("weights", "message"),
    (
        (np.ones(99), r"shape \[99\]; expected \[100\]"),
        (np.zeros(100), "not all 0"),
        (np.full(100, -1.0), "at least 0"),
        (np.full(100, np.inf), "finite"),
        (np.array([1e12] + [1.0] * 99), "so unequal"),
    ),
)
def test_weights_that_cannot_be_drawn_by(weights, message):
    with pytest.raises(ValueError, match=message):
        data.weighted(PART, weights, batch_size=4)


def test_reweighed_labels_say_nothing_of_groups():
    """Kamiran and Calders 2012: under the weights both are independent, and each as common as before."""
    rng = np.random.default_rng(0)
    group = rng.integers(0, 3, 500)
    labels = (rng.random(500) < 0.2 + 0.3 * group).astype(int)
    weights = data.reweighed(labels, np.array(["a", "b", "c"])[group])
    table = np.zeros((2, 3))
    np.add.at(table, (labels, group), weights / 500)
    margins = np.outer(np.bincount(labels) / 500, np.bincount(group) / 500)
    np.testing.assert_allclose(table, margins, rtol=1e-12)
    with pytest.raises(ValueError, match=r"shapes \[500\] and \[499\]; expected \[N\] of both"):
        data.reweighed(labels, group[1:])
