"""Variational autoencoders: bounds against the exact evidence, divergence against PyTorch's, and learning."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl import data
from fdl.data import sampled
from fdl.data.synthetic.points import (
    linear_gaussian,
    linear_gaussian_log_evidence,
    linear_gaussian_posterior,
)
from fdl.models import MLP
from fdl.models.vae import VAE
from fdl.tasks.gradient import State
from fdl.tasks.likelihoods import bernoulli, gaussian
from fdl.tasks.variational import importance_bound, kl_standard_normal, log_weights, variational
from tests.tasks.test_supervised import evaluated, trained

pytestmark = pytest.mark.slow  # minutes of compiling

# Orthogonal columns make the posterior's covariance diagonal, so that the encoder can be exact.
WEIGHTS = np.array([[1.0, 0.5], [1.0, -0.5], [0.5, 1.0], [-0.5, 1.0]]) * np.array([1.0, 1.3])
NOISE = 0.7
LINEAR = sampled(
    functools.partial(linear_gaussian, weights=WEIGHTS, noise=NOISE), train=8, validation=8, test=500
)


def exact_variables(shift=0.0, widen=0.0):
    """Parameters of a linear VAE with the exact decoder, and posterior but for a shift and log-variance."""
    zero = jnp.zeros((1, 4))
    _, covariance = linear_gaussian_posterior(zero, weights=WEIGHTS, noise=NOISE)
    means, _ = linear_gaussian_posterior(jnp.eye(4), weights=WEIGHTS, noise=NOISE)
    log_variance = jnp.log(jnp.diagonal(covariance)) + widen
    encoder = {
        "kernel": jnp.concatenate([means, jnp.zeros((4, 2))], axis=1),
        "bias": jnp.concatenate([jnp.full(2, shift), log_variance]),
    }
    decoder = {"kernel": jnp.asarray(WEIGHTS.T), "bias": jnp.zeros(4)}
    return {"encoder": {"Dense_0": encoder}, "decoder": {"Dense_0": decoder}}


def bounds(params, samples):
    """The evidence lower bound and the importance-weighted one of the test rows, means."""
    model = VAE(MLP((), 4), MLP((), 4))
    experiment = variational(
        model, LINEAR, optax.sgd(0.1), steps=1, likelihood=gaussian(scale=NOISE), samples=samples
    )
    metrics = evaluated(experiment, State(params, {}, ()), "test")
    return -metrics["loss"], -metrics["importance_loss"]


def test_with_the_exact_posterior_each_weight_is_the_evidence():
    model: Any = VAE(MLP((), 4), MLP((), 4))
    x = LINEAR.test["x"]
    evidence = linear_gaussian_log_evidence(x, weights=WEIGHTS, noise=NOISE)
    variables = {"params": exact_variables()}
    mean, log_variance = model.apply(variables, x, method="encode")
    z = mean + jnp.exp(0.5 * log_variance) * jax.random.normal(jax.random.key(0), (3, *mean.shape))
    log_prob = jnp.stack(
        [gaussian(scale=NOISE).log_prob(model.apply(variables, one, method="decode"), x) for one in z]
    )
    weights = log_weights(log_prob, z, mean, log_variance)
    np.testing.assert_allclose(weights, jnp.broadcast_to(evidence, weights.shape), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(importance_bound(weights), evidence, rtol=1e-4, atol=1e-4)


def test_bounds_are_ordered_and_exact_at_the_posterior():
    evidence = float(linear_gaussian_log_evidence(LINEAR.test["x"], weights=WEIGHTS, noise=NOISE).mean())
    bound, weighted = bounds(exact_variables(), 200)
    np.testing.assert_allclose(weighted, evidence, rtol=1e-5)
    np.testing.assert_allclose(bound, evidence, atol=0.02)  # 100,000 draws of deviation about 1.4
    wrong = exact_variables(shift=0.4, widen=0.7)
    bound, weighted = bounds(wrong, 200)
    few = bounds(wrong, 5)[1]
    # The gap of the lower bound is the divergence of q from the posterior.
    variance = np.exp(np.asarray(exact_variables()["encoder"]["Dense_0"]["bias"])[2:])
    gap = np.sum(0.4**2 / variance + math.exp(0.7) - 1 - 0.7) / 2
    np.testing.assert_allclose(bound, evidence - gap, atol=0.05)
    assert bound + 0.05 < few < weighted - 0.01 < evidence
    np.testing.assert_allclose(weighted, evidence, atol=0.02)


def test_the_divergence_is_torchs():
    torch = pytest.importorskip("torch", reason="PyTorch is the reference")
    mean, log_variance = np.random.default_rng(0).normal(size=(2, 5, 3)) * 2
    normal = torch.distributions.Normal
    q = normal(torch.tensor(mean), torch.tensor(np.exp(log_variance / 2)))
    prior = normal(torch.zeros(5, 3, dtype=torch.float64), torch.ones(5, 3, dtype=torch.float64))
    expected = torch.distributions.kl_divergence(q, prior).sum(-1)
    with jax.enable_x64(True):
        value = kl_standard_normal(jnp.asarray(mean), jnp.asarray(log_variance))
        np.testing.assert_allclose(value, expected.numpy(), rtol=1e-12)
    # Near the prior, where exp(v) - 1 - v would cancel.
    small = kl_standard_normal(jnp.zeros(1), jnp.full(1, 1e-2))
    np.testing.assert_allclose(small, (math.expm1(1e-2) - 1e-2) / 2, rtol=1e-4)


DIGITS = data.digit_images()
DIGITS = DIGITS._replace(prepare=lambda batch: {**batch, "x": batch["x"].astype(jnp.float32) / 16})


def factorised_loss():
    """Nats a test row of independent Bernoullis with the train part's means."""
    train, test = (part["x"].reshape(-1, 64) / 16.0 for part in (DIGITS.train, DIGITS.test))
    mean = np.clip(train.mean(0), 1e-4, 1 - 1e-4)
    return -np.mean(np.sum(test * np.log(mean) + (1 - test) * np.log1p(-mean), axis=-1))


def test_it_learns_digits():
    model, steps = VAE(MLP((128,), 2 * 8), MLP((128,), 64)), 1500
    experiment = variational(model, DIGITS, optax.adam(2e-3), steps=steps, samples=16)
    metrics = evaluated(experiment, trained(experiment, steps), "test")
    assert metrics["loss"] < factorised_loss() - 2
    assert metrics["importance_loss"] < metrics["loss"] - 0.1
    assert metrics["kl"] > 2  # the latents are used


def test_beta_weighs_the_divergence_and_may_be_traced():
    model = VAE(MLP((32,), 2 * 4), MLP((32,), 64))

    @jax.jit
    def run(beta):
        experiment = variational(model, DIGITS, optax.adam(3e-3), steps=300, beta=beta, samples=1)
        return trained(experiment, 300)

    experiment = variational(model, DIGITS, optax.adam(3e-3), steps=300, samples=1)
    divergences = [evaluated(experiment, run(beta), "test")["kl"] for beta in (0.1, 1.0, 10.0)]
    assert divergences[0] > 1.5 * divergences[1] > 3 * divergences[2]


def test_the_loss_leaves_beta_out():
    model = VAE(MLP((), 4), MLP((), 4))
    losses = []
    for beta in (1.0, 5.0):
        learner = variational(
            model, LINEAR, optax.sgd(0.1), steps=1, beta=beta, likelihood=gaussian()
        ).learner
        state = jax.jit(learner.init)(jax.random.key(0))
        losses.append(
            jax.jit(learner.step)(state, {"x": jnp.asarray(LINEAR.train["x"])}, jax.random.key(1))[1][
                "loss"
            ].value
        )
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 0, "likelihood": gaussian()}, "samples is 0; expected at least 1"),
        ({"likelihood": bernoulli()}, "train x goes from .*; expected 0 to 1"),
    ],
)
def test_bad_input_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        variational(VAE(MLP((), 4), MLP((), 4)), LINEAR, optax.sgd(0.1), **{"steps": 1} | options)


def test_latents_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="the model's outputs for one row have shape"):
        variational(VAE(MLP((), 4), MLP((), 5)), LINEAR, optax.sgd(0.1), steps=1, likelihood=gaussian())
