"""Products with an uneven table of 16-bit numbers, against Flax's."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl.models.embedding import Embed


def products(kind, rows, dtype):
    """Products of 2 * 3 queries of 4 numbers, as a function of queries and table; and these."""
    query, table = (
        jax.random.normal(jax.random.key(i), shape, dtype) for i, shape in enumerate([(2, 3, 4), (rows, 4)])
    )
    model: Any = kind(rows, 4)
    run = lambda *given: model.apply({"params": {"embedding": given[1]}}, given[0], method="attend")  # noqa: E731
    return run, (query, table)


def test_an_uneven_table_gives_the_same_products():
    run, given = products(Embed, 13, jnp.bfloat16)
    theirs, _ = products(nn.Embed, 13, jnp.bfloat16)
    weight = jax.random.normal(jax.random.key(2), (2, 3, 13), jnp.bfloat16)
    for one, other in zip(*(jax.vjp(f, *given)[1](weight) for f in (run, theirs)), strict=True):
        np.testing.assert_allclose(np.float32(one), np.float32(other), rtol=1e-2, atol=1e-2)
    out, expected = run(*given), theirs(*given)
    assert out.dtype == expected.dtype == jnp.bfloat16
    np.testing.assert_array_equal(np.float32(out), np.float32(expected))


UNEVEN = [(13, jnp.bfloat16, True), (16, jnp.bfloat16, False), (13, jnp.float32, False)]


@pytest.mark.parametrize(("rows", "dtype", "padded"), UNEVEN)
def test_only_an_uneven_table_of_16_bits_is_padded(rows, dtype, padded):
    run, given = products(Embed, rows, dtype)
    assert ("stablehlo.pad" in jax.jit(run).lower(*given).as_text()) == padded


def test_members_side_by_side_have_it():
    run, (query, table) = products(Embed, 13, jnp.bfloat16)
    many = jax.vmap(jax.grad(lambda query, table: jnp.sum(run(query, table))), in_axes=(0, None))
    assert many(query, table).shape == query.shape
