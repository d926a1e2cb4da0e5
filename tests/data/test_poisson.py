"""Rows that join a batch by a draw of their own: the chances, full batches, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from fdl import data

N, STEPS = 100, 2000
PART = {"x": np.arange(N)}


def drawn(batch_size: int, capacity: int) -> np.ndarray:
    """Whether each row joined each batch, `[STEPS, N]`."""
    source = data.poisson_sampled(PART, batch_size=batch_size, capacity=capacity)
    made = jax.jit(jax.vmap(lambda step: source.batch(source.arrays, step, jax.random.key(3))))
    batch = jax.device_get(made(jnp.arange(STEPS)))
    joined = np.zeros((STEPS, N))
    np.add.at(joined, (np.arange(STEPS)[:, None], batch["x"]), batch["weight"])
    return joined


def test_each_row_joins_by_its_own_chance():
    joined = drawn(20, N)
    assert set(np.unique(joined)) == {0, 1}
    assert stats.kstest((joined.mean(axis=0) - 0.2) / np.sqrt(0.16 / STEPS), "norm").pvalue > 1e-3
    sizes = joined.sum(axis=1)  # binomial, as of draws that know nothing of each other
    expected = STEPS * np.diff(stats.binom.cdf([-1, 14, 17, 20, 23, N], N, 0.2))
    counts = np.histogram(sizes, [0, 15, 18, 21, 24, N + 1])[0]
    assert stats.chisquare(counts, expected).pvalue > 1e-3
    assert abs(np.corrcoef(joined[:, 0], joined[:, 1])[0, 1]) < 5 / np.sqrt(STEPS)
    assert abs(np.corrcoef(joined[1:, 0], joined[:-1, 0])[0, 1]) < 5 / np.sqrt(STEPS)


def test_a_batch_that_drew_too_many_leaves_out_the_last():
    whole, cut = drawn(20, N), drawn(20, 20)
    rank = np.cumsum(whole, axis=1)
    np.testing.assert_array_equal(cut, whole * (rank <= 20))
    assert (whole.sum(axis=1) > 20).any()


def test_a_batch_of_all_rows_has_them_all():
    assert drawn(N, N + 4).min() == 1


def test_other_keys_draw_other_rows():
    source = data.poisson_sampled(PART, batch_size=20, capacity=N)
    first, again, other, later = (
        source.batch(source.arrays, jnp.int32(step), jax.random.key(key))["weight"].sum()
        + source.batch(source.arrays, jnp.int32(step), jax.random.key(key))["x"].sum()
        for step, key in ((1, 0), (1, 0), (1, 1), (2, 0))
    )
    assert first == again and len({float(first), float(other), float(later)}) == 3


@pytest.mark.parametrize(
    ("part", "batch_size", "said"),
    [
        (data.on_host(PART), 5, "the rows stay on the host; expected arrays in memory"),
        (PART, 101, "batch_size is 101; expected at most the 100 rows that there are"),
        ({**PART, "weight": np.ones(N)}, 5, "an array is called 'weight'"),
    ],
)
def test_what_cannot_be_sampled_is_refused(part, batch_size, said):
    with pytest.raises(ValueError, match=said) as error:
        data.poisson_sampled(part, batch_size=batch_size, capacity=20)
    assert "\n" not in str(error.value)
