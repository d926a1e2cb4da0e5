"""Attacks on linear losses, whose worst row in the ball is known, and the ball and the box on any loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl import analysis

EPSILON, LOW, HIGH = 0.1, 0.0, 1.0
ROWS = jax.random.uniform(jax.random.key(0), (6, 12))
IMAGES = jax.random.uniform(jax.random.key(0), (3, 6, 5, 2))
SLOPE = jax.random.normal(jax.random.key(1), (12,))


def linear(x, y):
    return y * (x.reshape(len(x), -1) @ jnp.resize(SLOPE, (x[0].size,)))


def curved(x, y):
    return jnp.sum(jnp.sin(40 * x.reshape(len(x), -1)), axis=1) * y


def attacked(name, loss, x, y, **more):
    key, box = jax.random.key(2), {"epsilon": EPSILON, "low": LOW, "high": HIGH, **more}
    if name == "fgsm":
        return analysis.fgsm(loss, x, y, **box)
    if name == "pgd":
        return analysis.pgd(loss, x, y, key, step=0.025, steps=20, **box)
    return analysis.square_attack(loss, x, y, key, queries=600, **box)


@pytest.mark.parametrize("x", [ROWS, IMAGES], ids=["rows", "images"])
@pytest.mark.parametrize("name", ["fgsm", "pgd", "square"])
def test_the_worst_row_of_a_linear_loss_is_found(name, x):
    y = jnp.resize(jnp.array([1.0, -1.0]), (len(x),))
    slope = jnp.resize(SLOPE, (x[0].size,)).reshape(x[0].shape)
    worst = np.clip(x + EPSILON * jnp.sign(slope) * y.reshape(-1, *[1] * (x.ndim - 1)), LOW, HIGH)
    found = attacked(name, linear, x, y)
    if name == "square":  # a random search comes close
        gained = (linear(found, y) - linear(x, y)) / (linear(worst, y) - linear(x, y))
        assert np.all(gained > 0.95)
    else:
        np.testing.assert_allclose(found, worst, atol=1e-6)


@pytest.mark.parametrize("name", ["fgsm", "pgd", "square"])
def test_no_row_leaves_the_ball_or_the_box(name):
    x = ROWS.at[0, :2].set(
        jnp.array([1.5, -0.5])
    )  # where a row came from outside of the box, this reaches as far
    found = attacked(name, curved, x, jnp.ones(6))
    assert np.all(np.abs(found - x) <= EPSILON + 1e-6)
    inside = np.delete(found, [0, 1], axis=1)
    assert np.all(inside >= LOW) and np.all(inside <= HIGH)
    assert found[0, 0] <= 1.5 and found[0, 1] >= -0.5
    assert np.max(np.abs(found - x)) > EPSILON / 2
    narrow = jnp.where(jnp.arange(12) < 6, 0.0, EPSILON)  # a ball of its own for each column
    found = attacked(name, curved, ROWS, jnp.ones(6), epsilon=narrow)
    np.testing.assert_array_equal(found[:, :6], ROWS[:, :6])


def test_queries_see_through_masked_gradients_and_never_lower_the_loss():
    stepped = lambda x, y: y * jnp.floor(1e3 * jnp.sum(x, axis=1))  # its gradient is 0 everywhere  # noqa: E731
    y = jnp.ones(6)
    np.testing.assert_array_equal(analysis.fgsm(stepped, ROWS, y, epsilon=EPSILON), ROWS)
    found = attacked("square", stepped, ROWS, y)
    assert np.all(stepped(found, y) > stepped(ROWS, y) + 100)
    few = analysis.square_attack(curved, ROWS, y, jax.random.key(0), epsilon=EPSILON, queries=1)
    assert np.all(curved(few, y) >= curved(ROWS, y))


def test_an_attack_is_one_program_for_many_keys():
    many = jax.jit(jax.vmap(lambda key: analysis.pgd(curved, ROWS, 1.0, key, epsilon=0.1, step=0.1, steps=2)))
    keys = jax.random.split(jax.random.key(5), 2)
    alone = analysis.pgd(curved, ROWS, 1.0, keys[1], epsilon=0.1, step=0.1, steps=2)
    found = many(keys)
    assert found.shape == (2, *ROWS.shape) and not np.array_equal(found[0], found[1])
    np.testing.assert_allclose(found[1], alone, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("fgsm", {"epsilon": -0.1}, "epsilon is -0.1; expected 0 or more"),
        ("pgd", {"steps": 0, "step": 0.1}, "steps is 0; expected at least 1"),
        ("square_attack", {"queries": 0}, "queries is 0; expected at least 1"),
    ],
)
def test_a_ball_or_a_count_that_is_none_is_refused(name, changed, message):
    key = [] if name == "fgsm" else [jax.random.key(0)]
    with pytest.raises(ValueError, match=message):
        getattr(analysis, name)(linear, ROWS, 1.0, *key, **{"epsilon": 0.1, **changed})
