"""Deep Sets: order, masks, learning."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.core.meta import unbox

from fdl import tasks
from fdl.data import sampled
from fdl.models.mlp import MLP
from fdl.models.sets import DeepSets, max_pool_set, mean_pool, sum_pool
from tests.tasks.test_supervised import evaluated, trained

POOLS = {
    "sum": (sum_pool, lambda rows: rows.sum(0)),
    "mean": (mean_pool, lambda rows: rows.mean(0) if len(rows) else np.zeros(rows.shape[1])),
    "max": (max_pool_set, lambda rows: rows.max(0) if len(rows) else np.zeros(rows.shape[1])),
}
X = jax.random.normal(jax.random.key(0), (4, 6, 3))
MASK = jnp.arange(6) < jnp.array([6, 3, 1, 0])[:, None]


def model(pool: Any) -> Any:
    return DeepSets(MLP((8,), 5), MLP((), 2), pool)


@pytest.mark.parametrize("name", POOLS)
def test_sets_with_masks_against_a_loop(name):
    pool, reference = POOLS[name]
    variables = unbox(jax.jit(model(pool).init)(jax.random.key(1), X))
    apply = lambda net, part, x: net.apply({"params": variables["params"][part]}, x)  # noqa: E731
    output = model(pool).apply(variables, X, mask=MASK)
    for row, mask, out in zip(X, MASK, np.asarray(output), strict=True):
        elements = np.asarray(apply(MLP((8,), 5), "each", row))[np.asarray(mask)]
        expected = apply(MLP((), 2), "whole", jnp.asarray(reference(elements), jnp.float32)[None])[0]
        np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", POOLS)
def test_the_order_of_elements_makes_no_difference(name):
    net = model(POOLS[name][0])
    variables, order = jax.jit(net.init)(jax.random.key(1), X), jnp.array([4, 0, 5, 2, 1, 3])
    first = net.apply(variables, X, mask=MASK)
    second = net.apply(variables, X[:, order], mask=MASK[:, order])
    np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", POOLS)
def test_what_is_masked_has_no_influence_and_no_gradient(name):
    net = model(POOLS[name][0])
    variables = jax.jit(net.init)(jax.random.key(1), X)
    total = lambda x: jnp.sum(jnp.asarray(net.apply(variables, x, mask=MASK)) ** 2)  # noqa: E731
    gradient = jax.grad(total)(X)
    assert np.all(np.isfinite(gradient))
    np.testing.assert_array_equal(np.asarray(gradient)[~np.asarray(MASK)], 0)
    assert total(X) == total(jnp.where(MASK[..., None], X, 99.0))


class Padded(nn.Module):
    """Sets whose last feature says which elements there are."""

    body: DeepSets

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        return self.body(x[..., :-1], train, mask=x[..., -1] > 0)


def row(key):
    """Up to eight numbers and their sum; what is no element holds a number too."""
    size, numbers = jax.random.split(key)
    there = jnp.arange(8) < jax.random.randint(size, (), 1, 9)
    x = jax.random.uniform(numbers, (8,), minval=-1)
    return {"x": jnp.stack([x, there], axis=-1), "y": jnp.sum(jnp.where(there, x, 0))[None]}


@pytest.mark.medium
def test_deep_sets_learn_sums():
    splits = sampled(row, train=1000, validation=8, test=200)
    variance = splits.test["y"].var()  # pyright: ignore[reportIndexIssue]
    sets, flat = Padded(DeepSets(MLP((16,), 8), MLP((), 1))), MLP((64,), 1)
    errors = []
    for net in (sets, flat):
        experiment = tasks.regression(net, splits, optax.adam(1e-2), steps=300, batch_size=32)
        errors.append(evaluated(experiment, trained(experiment, 300), "test")["loss"] / variance)
    assert errors[0] < 0.01
    assert errors[0] < errors[1] / 3  # the honest baseline sees the same numbers and masks
