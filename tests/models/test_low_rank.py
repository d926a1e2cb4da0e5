"""Low-rank kernels against NumPy's singular values, and the bytes of what is stored, counted by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl.models import full_rank, low_rank, stored_bytes

RNG = np.random.default_rng(0)
PARAMS = {
    "Conv_0": {"kernel": RNG.normal(size=(3, 3, 4, 12)).astype(np.float32)},
    "Dense_0": {"kernel": RNG.normal(size=(30, 20)).astype(np.float32), "bias": np.ones(20, np.float32)},
    "Dense_1": {"kernel": RNG.normal(size=(20, 3)).astype(np.float32)},
}


@pytest.mark.parametrize("rank", [1, 5])
def test_it_is_the_nearest_of_its_rank(rank):
    small = low_rank(PARAMS, rank=rank)
    got, compiled = full_rank(small), jax.jit(lambda tree: full_rank(low_rank(tree, rank=rank)))(PARAMS)
    for name in ("Conv_0", "Dense_0"):
        matrix = PARAMS[name]["kernel"].reshape(-1, PARAMS[name]["kernel"].shape[-1])
        found = np.asarray(got[name]["kernel"]).reshape(matrix.shape)
        rest = np.linalg.svd(matrix, compute_uv=False)[rank:]
        np.testing.assert_allclose(np.sum((found - matrix) ** 2), np.sum(rest**2), rtol=1e-4)
        assert np.linalg.matrix_rank(found, tol=1e-3) == rank
        np.testing.assert_allclose(compiled[name]["kernel"], got[name]["kernel"], atol=1e-5)
    np.testing.assert_array_equal(got["Dense_0"]["bias"], PARAMS["Dense_0"]["bias"])
    assert stored_bytes({"params": small}) < stored_bytes({"params": PARAMS})


def test_what_would_not_become_fewer_numbers_stays():
    got = low_rank(PARAMS, rank=3)
    np.testing.assert_array_equal(got["Dense_1"]["kernel"], PARAMS["Dense_1"]["kernel"])
    assert low_rank(PARAMS, rank=2)["Dense_1"]["kernel"].a.shape == (20, 2)
    with pytest.raises(ValueError, match="rank is 0; expected at least 1"):
        low_rank(PARAMS, rank=0)


def sparse(kept: int) -> dict:
    """A kernel of 1,000 weights of 10 units, of which so many are not zero, and biases."""
    kernel = np.zeros(1000, np.float32)
    kernel[:kept] = 1.0
    return {
        "params": {"Dense_0": {"kernel": kernel.reshape(10, 100).T.copy(), "bias": np.zeros(10, np.float32)}}
    }


SCATTERED = sparse(1000)
SCATTERED["params"]["Dense_0"]["kernel"][::2] = 0  # half of each unit's weights
RANGES = {"ranges": {"Dense_0": {"input": {"low": 0.0, "high": 1.0, "count": 3}}}}


@pytest.mark.parametrize(
    ("variables", "bits", "wanted"),
    [
        (sparse(1000), 32, 40 + 4000),
        (sparse(1000), 8, 40 + 1000 + 40),
        (sparse(1000), 4, 40 + 500 + 40),
        (sparse(300), 32, 40 + 3 * 400 + 2),  # three whole units and a bit for each of ten
        (sparse(300), 8, 40 + 3 * 100 + 2 + 3 * 4),
        (SCATTERED, 32, 40 + 500 * 4 + 125),  # a bit for each of a thousand places
        (SCATTERED, 8, 40 + 500 + 125 + 40),
        ({**sparse(1000), **RANGES}, 8, 40 + 1000 + 40 + 8),
        ({"params": {}, "batch_stats": {"mean": np.zeros(6, np.float32)}}, 8, 24),
    ],
)
def test_bytes_are_those_counted_by_hand(variables, bits, wanted):
    assert stored_bytes(jax.tree.map(jnp.asarray, variables), bits=bits) == wanted
    assert jax.jit(lambda tree: stored_bytes(tree, bits=bits))(variables) == wanted


def test_other_bits_are_refused():
    with pytest.raises(ValueError, match="bits is 33; expected 2 to 32"):
        stored_bytes(sparse(1), bits=33)
