"""Mixture densities against SciPy and torch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from fdl.models.mixture_density import Mixture, MixtureDensity, log_likelihood, mean, sample
from fdl.models.mlp import MLP


def mixture(rows=4, components=3, targets=2, seed=0) -> Mixture:
    keys = jax.random.split(jax.random.key(seed), 3)
    shape = (rows, components, targets)
    logits = jax.random.normal(keys[0], (rows, components))
    return Mixture(logits, 2 * jax.random.normal(keys[1], shape), 0.5 * jax.random.normal(keys[2], shape))


M, Y = mixture(), jax.random.normal(jax.random.key(9), (4, 2))


def test_the_log_likelihood_is_scipys():
    logits, means, log_scales = (np.asarray(leaf, np.float64) for leaf in M)
    weights = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    density = stats.norm.pdf(np.asarray(Y)[:, None], means, np.exp(log_scales)).prod(-1)
    np.testing.assert_allclose(log_likelihood(M, Y), np.log((weights * density).sum(-1)), rtol=1e-5)


def test_the_log_likelihood_and_its_gradients_are_torchs():
    torch = pytest.importorskip("torch", reason="the reference is PyTorch")
    logits, means, log_scales = (torch.tensor(np.array(leaf), requires_grad=True) for leaf in M)
    d = torch.distributions
    parts = d.Independent(d.Normal(means, log_scales.exp()), 1)
    value = d.MixtureSameFamily(d.Categorical(logits=logits), parts).log_prob(torch.tensor(np.array(Y)))
    value.sum().backward()
    np.testing.assert_allclose(log_likelihood(M, Y), value.detach(), rtol=1e-5)
    ours = jax.grad(lambda m: log_likelihood(m, Y).sum())(M)
    for mine, theirs in zip(ours, (logits, means, log_scales), strict=True):
        assert theirs.grad is not None
        np.testing.assert_allclose(mine, theirs.grad.numpy(), rtol=1e-4, atol=1e-5)


def test_far_targets_have_a_finite_likelihood():
    value, gradient = jax.value_and_grad(lambda m: log_likelihood(m, Y + 1e4).sum())(M)
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in gradient)


def test_the_density_integrates_to_one():
    one = mixture(rows=1, targets=1)
    grid = jnp.linspace(-20, 20, 4001)
    rows = Mixture(*(jnp.broadcast_to(leaf, (4001, *leaf.shape[1:])) for leaf in one))
    density = np.exp(log_likelihood(rows, grid[:, None]))
    np.testing.assert_allclose(integrate.simpson(density, x=np.asarray(grid)), 1, rtol=1e-4)


def test_samples_follow_the_mixture():
    count, one = 20_000, mixture(rows=1, targets=1, seed=1)
    rows = Mixture(*(jnp.broadcast_to(leaf, (count, *leaf.shape[1:])) for leaf in one))
    drawn = np.asarray(sample(rows, jax.random.key(0)))[:, 0]
    weights = np.asarray(jax.nn.softmax(one.logits))[0]

    def cdf(y):
        parts = stats.norm.cdf(np.asarray(y)[:, None], one.means[0, :, 0], np.exp(one.log_scales[0, :, 0]))
        return parts @ weights / weights.sum()

    assert stats.kstest(drawn, cdf).pvalue > 0.01
    spread = drawn.std() / np.sqrt(count)
    assert abs(drawn.mean() - mean(one)[0, 0]) < 4 * spread


def test_the_head_gives_components_of_their_own():
    model, x = MixtureDensity(MLP((8,), 6), targets=2, components=3), jnp.ones((5, 4))
    made = model.apply(jax.jit(model.init)(jax.random.key(0), x), x)
    assert isinstance(made, Mixture)
    assert [leaf.shape for leaf in made] == [(5, 3), (5, 3, 2), (5, 3, 2)]
    assert np.ptp(np.asarray(made.means)[0, :, 0]) > 0.1
