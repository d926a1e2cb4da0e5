"""Vector quantisation against brute force, and its moving averages against the paper's."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl.models import MLP
from fdl.models.autoencoder import StridedConvs, TransposedConvs
from fdl.models.vq import VQVAE, Quantised, VectorQuantiser, nearest

pytestmark = pytest.mark.slow  # minutes of compiling

RANDOM = np.random.default_rng(0)
TABLE = RANDOM.normal(size=(7, 3)).astype(np.float32)
LATENTS = RANDOM.normal(size=(4, 2, 5, 3)).astype(np.float32)


def test_codes_are_the_nearest():
    distances = np.linalg.norm(LATENTS[..., None, :].astype(np.float64) - TABLE, axis=-1)
    indices = nearest(jnp.asarray(LATENTS), jnp.asarray(TABLE))
    assert indices.dtype == jnp.int32
    np.testing.assert_array_equal(indices, distances.argmin(-1))
    found = VectorQuantiser(7).apply({"params": {"table": TABLE}}, LATENTS)
    assert isinstance(found, Quantised)
    np.testing.assert_array_equal(found.vectors, TABLE[distances.argmin(-1)])


def test_straight_through_is_exact_forward_and_backward():
    weights = RANDOM.normal(size=LATENTS.shape).astype(np.float32)

    def outputs(latents, table):
        model: Any = VectorQuantiser(7)
        passed = model.apply({"params": {"table": table}}, latents).passed
        return jnp.sum(jnp.sin(passed) * weights), passed

    (to_latents, to_table), passed = jax.grad(outputs, argnums=(0, 1), has_aux=True)(LATENTS, TABLE)
    vectors = TABLE[nearest(jnp.asarray(LATENTS), jnp.asarray(TABLE))]
    np.testing.assert_array_equal(passed, vectors)
    np.testing.assert_allclose(to_latents, np.cos(vectors) * weights, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(to_table, 0)


def test_moving_averages_are_the_papers():
    decay = 0.9
    model: Any = VectorQuantiser(7, decay)
    variables: Any = {"codebook": {"table": TABLE, "counts": np.ones(7, np.float32)}}
    table, number, sums = TABLE.astype(np.float64), np.ones(7), TABLE.astype(np.float64)
    for step in range(5):
        latents = np.random.default_rng(step).normal(size=(6, 3)).astype(np.float32)
        indices = ((latents[:, None] - table) ** 2).sum(-1).argmin(-1)
        member = np.eye(7)[indices]
        number = decay * number + (1 - decay) * member.sum(0)
        sums = decay * sums + (1 - decay) * member.T @ latents
        table = sums / number[:, None]
        found, variables = model.apply(variables, latents, train=True, mutable=["codebook"])
        np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(variables["codebook"]["table"], table, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(variables["codebook"]["counts"], number, rtol=1e-5)


def test_an_unused_code_stays_finite_and_where_it_is():
    model, table = VectorQuantiser(2, decay=0.5), np.array([[0.0], [9.0]], np.float32)
    variables = {"codebook": {"table": table, "counts": np.ones(2, np.float32)}}
    latents = np.ones((4, 1), np.float32)
    step = jax.jit(lambda variables: model.apply(variables, latents, train=True, mutable=["codebook"])[1])
    for _ in range(200):
        variables = step(variables)
    np.testing.assert_allclose(variables["codebook"]["table"], [[1.0], [9.0]], rtol=1e-5)


@pytest.mark.parametrize("decay", [None, 0.99])
def test_an_evaluation_moves_nothing(decay):
    x = RANDOM.normal(size=(2, 8, 8, 1)).astype(np.float32)
    model: Any = VQVAE(StridedConvs((4, 4)), VectorQuantiser(6, decay), TransposedConvs((4, 1)), width=3)
    variables = jax.jit(model.init)(jax.random.key(0), x)
    out, after = jax.jit(lambda x: model.apply(variables, x, mutable=["codebook"]))(x)
    assert out.shape == x.shape
    found = jax.eval_shape(lambda x: model.apply(variables, x, method="encode"), x)
    assert found.indices.shape == (2, 2, 2)
    jax.tree.map(np.testing.assert_array_equal, after.get("codebook", {}), variables.get("codebook", {}))


def test_vectors_are_quantised_too():
    model: Any = VQVAE(MLP((8,), 8), VectorQuantiser(4), MLP((8,), 5), width=2)
    x = RANDOM.normal(size=(3, 5)).astype(np.float32)
    variables = jax.jit(model.init)(jax.random.key(0), x)
    assert model.apply(variables, x).shape == (3, 5)
