"""How a token is chosen: exact supports, frequencies, and what leaves nothing to choose from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl.tasks.filters import greedy, sampling, temperature, top_k, top_p

LOGITS = jnp.log(jnp.array([[0.1, 0.4, 0.05, 0.3, 0.15], [0.2, 0.2, 0.2, 0.2, 0.2]]))


def support(filtered):
    return [set(np.flatnonzero(np.isfinite(row))) for row in np.asarray(filtered)]


@pytest.mark.parametrize(
    ("count", "expected"), [(1, [{1}, {0}]), (3, [{1, 3, 4}, {0, 1, 2}]), (9, [set(range(5))] * 2)]
)
def test_top_k_keeps_exactly_k(count, expected):
    kept = top_k(count)(LOGITS)
    assert support(kept) == expected
    np.testing.assert_array_equal(kept[jnp.isfinite(kept)], LOGITS[jnp.isfinite(kept)])


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.0, [{1}, {0}]),
        (0.39, [{1}, {0, 1}]),
        (0.41, [{1, 3}, {0, 1, 2}]),
        (0.69, [{1, 3}, {0, 1, 2, 3}]),
        (0.84, [{1, 3, 4}, set(range(5))]),
        (1.0, [set(range(5))] * 2),
    ],
)
def test_top_p_keeps_the_fewest_that_have_the_share(share, expected):
    assert support(jax.jit(lambda p: top_p(p)(LOGITS))(share)) == expected


def test_samples_follow_the_filtered_distribution():
    keys = jax.random.split(jax.random.key(0), 4000)
    for filters, expected in (
        ((), [0.1, 0.4, 0.05, 0.3, 0.15]),
        ((temperature(0.5),), np.square([0.1, 0.4, 0.05, 0.3, 0.15])),
        ((top_k(3),), [0, 0.4, 0, 0.3, 0.15]),
        ((top_p(0.6),), [0, 0.4, 0, 0.3, 0]),
    ):
        drawn = jax.jit(jax.vmap(lambda key, f=filters: sampling(*f)(LOGITS[:1], key)))(keys)
        expected = np.asarray(expected) / np.sum(expected)
        found = np.bincount(np.ravel(drawn), minlength=5) / len(keys)
        assert (found[expected == 0] == 0).all()
        np.testing.assert_allclose(found, expected, atol=5 * 0.5 / np.sqrt(len(keys)))


NAN = float("nan")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: temperature(-1.0), "value is -1.0; expected 0 or more"),
        (lambda: temperature(NAN), r"value is nan \(float\); expected a number"),
        (lambda: temperature(float("inf")), "value is inf; expected a finite number"),
        (lambda: top_k(0), "count is 0; expected at least 1"),
        (lambda: top_p(0.0), "share is 0.0; expected above 0, up to 1"),
        (lambda: top_p(1.5), "share is 1.5"),
        (lambda: top_p(NAN), "share is nan"),
    ],
)
def test_numbers_that_leave_no_distribution_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("traced", [False, True])
def test_at_temperature_zero_the_likeliest_is_drawn(traced):
    def draw(value, key):
        return sampling(temperature(value))(LOGITS, key)

    keys = jax.random.split(jax.random.key(0), 50)
    drawn = jax.vmap(lambda key: jax.jit(draw)(0.0, key) if traced else draw(0.0, key))(keys)
    np.testing.assert_array_equal(drawn, np.tile([1, 0], (50, 1)))
    near = jax.vmap(lambda key: jax.jit(draw)(1e-30, key))(keys)  # no quotient overflows
    np.testing.assert_array_equal(near[:, 0], drawn[:, 0])


@pytest.mark.parametrize(
    "filters", [lambda v: temperature(-v), lambda v: temperature(v * NAN), lambda v: top_p(v * NAN)]
)
def test_a_traced_number_that_leaves_no_distribution_draws_no_token(filters):
    drawn = jax.jit(lambda v, key: sampling(filters(v))(LOGITS, key))(1.0, jax.random.key(0))
    np.testing.assert_array_equal(drawn, [-1, -1])


@pytest.mark.parametrize("choose", [greedy, sampling(temperature(0.0), top_k(2), top_p(0.5)), sampling()])
@pytest.mark.parametrize("value", [NAN, -np.inf])
def test_logits_without_a_distribution_give_no_token(choose, value):
    logits = LOGITS.at[0].set(value)
    assert np.asarray(choose(logits, jax.random.key(0))).tolist()[0] == -1
    assert np.asarray(choose(logits, jax.random.key(0)))[1] >= 0


def test_a_class_that_is_ruled_out_is_never_drawn():
    logits = LOGITS.at[:, :4].set(-jnp.inf)
    for choose in (greedy, sampling(), sampling(temperature(0.0)), sampling(temperature(3.0), top_p(1.0))):
        np.testing.assert_array_equal(choose(logits, jax.random.key(1)), [4, 4])
