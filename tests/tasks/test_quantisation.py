"""Vector quantisation as a task: the paper's losses, perplexity, and learning with either kind of table."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.stats import entropy

from fdl import data
from fdl.models import MLP
from fdl.models.autoencoder import StridedConvs, TransposedConvs
from fdl.models.vq import VQVAE, Quantised, VectorQuantiser
from fdl.tasks.quantisation import CodeUse, code_counts, code_perplexity, codebook_losses, vector_quantisation
from tests.tasks.test_supervised import batch_of, evaluated, trained

pytestmark = pytest.mark.slow  # minutes of compiling

DIGITS = data.digit_images()
PREPARE: Any = DIGITS.prepare
RANDOM = np.random.default_rng(0)


def quantised(latents, table):
    return VectorQuantiser(len(table)).apply({"params": {"table": table}}, latents)


def test_losses_pull_codes_and_latents_apart_from_each_other():
    latents, table = RANDOM.normal(size=(4, 3, 2)), RANDOM.normal(size=(5, 2))
    weights = RANDOM.normal(size=(2, 4))
    with jax.enable_x64(True):

        def total(latents, table):
            found = quantised(latents, table)
            assert isinstance(found, Quantised)
            to_codes, to_latents = codebook_losses(found)
            return jnp.sum(weights[0] * to_codes + weights[1] * to_latents)

        of_latents, of_table = jax.grad(total, argnums=(0, 1))(jnp.asarray(latents), jnp.asarray(table))
    indices = ((latents[:, :, None] - table) ** 2).sum(-1).argmin(-1)
    gap = latents - table[indices]
    np.testing.assert_allclose(of_latents, 2 * weights[1][:, None, None] * gap, rtol=1e-9, atol=1e-12)
    expected = np.zeros_like(table)
    np.add.at(expected, indices, -2 * weights[0][:, None, None] * gap)
    np.testing.assert_allclose(of_table, expected, rtol=1e-9, atol=1e-12)


def test_perplexity_is_of_the_weighted_use():
    indices = np.array([[0, 1], [1, 1], [3, 3]], np.int32)
    found = Quantised(jnp.zeros((3, 2, 1)), jnp.zeros((3, 2, 1)), jnp.asarray(indices), jnp.zeros((5, 1)))
    np.testing.assert_allclose(
        code_perplexity(found, jnp.array([1.0, 1.0, 0.0])), np.exp(entropy([1, 3])), rtol=1e-6
    )
    np.testing.assert_allclose(code_perplexity(found, jnp.ones(3)), np.exp(entropy([1, 3, 2])), rtol=1e-6)


def test_the_perplexity_of_a_split_is_not_the_mean_of_its_batches():
    def used(*codes):
        column = jnp.asarray(codes, jnp.int32)[:, None]
        vectors = jnp.zeros((len(codes), 1, 1))
        return code_counts(Quantised(vectors, vectors, column, jnp.zeros((5, 1))), jnp.ones(len(codes)))

    first, second = CodeUse(used(0, 0)), CodeUse(used(3, 3))
    assert first.value == second.value == 1.0
    whole = jax.tree.map(jnp.add, first, second)
    np.testing.assert_allclose(whole.value, 2.0, rtol=1e-6)


@pytest.mark.parametrize("decay", [None, 0.95])
def test_it_learns_digits(decay):
    table = VectorQuantiser(32, decay)
    model, steps = VQVAE(StridedConvs((16,)), table, TransposedConvs((1,)), width=8), 600
    experiment = vector_quantisation(model, DIGITS, optax.adam(3e-3), steps=steps, batch_size=32)
    metrics = evaluated(experiment, trained(experiment, steps), "test")
    train, test = (np.asarray(PREPARE(dict(part))["x"]) for part in (DIGITS.train, DIGITS.test))
    assert metrics["squared_error"] < 0.6 * np.mean((test - train.mean(0)) ** 2)
    assert 4 < metrics["perplexity"] <= 32


def test_a_step_minimises_the_papers_loss():
    splits, lr, commitment = data.wine(), 0.01, 0.3
    model: Any = VQVAE(MLP((), 4), VectorQuantiser(6), MLP((), 13), width=2)
    experiment = vector_quantisation(
        model, splits, optax.sgd(lr), steps=1, batch_size=8, commitment=commitment
    )
    state, batch = jax.jit(experiment.learner.init)(jax.random.key(0)), batch_of(experiment.train)
    fixed = jax.lax.stop_gradient

    def objective(params):
        found = model.apply({"params": params}, batch["x"], method="encode")
        z, e = found.latents, found.vectors
        passed = z + fixed(e - z)
        outputs = model.apply({"params": params}, passed, method="decode")
        rows = 0.5 * jnp.sum((outputs - batch["x"]) ** 2, axis=-1)
        rows += jnp.sum((fixed(z) - e) ** 2 + commitment * (z - fixed(e)) ** 2, axis=-1)
        return jnp.mean(rows)

    after, metrics = jax.jit(experiment.learner.step)(state, batch, jax.random.key(1))
    expected = jax.tree.map(lambda p, g: p - lr * g, state.params, jax.jit(jax.grad(objective))(state.params))
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    jax.tree.map(close, after.params, expected)
    assert set(metrics) == {"loss", "squared_error", "commitment", "perplexity", "update_norm"}
