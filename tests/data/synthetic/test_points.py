"""Points: the published table, the documented formulae, and the densities against SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from fdl.data.synthetic import (
    gaussian_ring,
    gaussian_ring_log_prob,
    linear_gaussian,
    linear_gaussian_log_evidence,
    linear_gaussian_posterior,
    rings,
    spiral,
    two_spirals,
)

WEIGHTS = np.array([[1.0, 0.5], [-0.3, 2.0], [0.7, 0.1], [0.0, -1.2]], np.float32)
NOISE = 0.6


def many(sample, number=4096):
    return jax.device_get(jax.jit(jax.vmap(sample))(jax.random.split(jax.random.key(5), number)))


def test_two_spirals_is_the_published_table():
    table = two_spirals()
    assert table["x"].shape == (194, 2) and table["x"].dtype == np.float32
    assert table["y"].dtype == np.int32 and table["y"].sum() == 97
    # By hand: i = 0 at angle 0; i = 8 at a right angle, radius 6.5 * 96 / 104 = 6; i = 96 after 3 turns.
    np.testing.assert_allclose(table["x"][0], (0.0, 6.5), atol=1e-6)
    np.testing.assert_allclose(table["x"][16], (6.0, 0.0), atol=1e-6)
    np.testing.assert_allclose(table["x"][32], (0.0, -5.5), atol=1e-6)
    np.testing.assert_allclose(table["x"][192], (0.0, 0.5), atol=1e-6)
    np.testing.assert_array_equal(table["x"][1::2], -table["x"][::2])
    np.testing.assert_array_equal(table["y"][:4], (1, 0, 1, 0))


def test_spiral_is_the_formula_of_its_draws():
    for seed in range(4):
        key = jax.random.key(seed)
        place, label, offset = jax.random.split(key, 3)
        t, y = 96 * float(jax.random.uniform(place)), int(jax.random.randint(label, (), 0, 2))
        error = np.asarray(jax.random.normal(offset, (2,)), np.float64)
        radius, angle = 6.5 * (104 - t) / 104, np.pi * t / 16
        x = (1 if y else -1) * radius * np.array([np.sin(angle), np.cos(angle)]) + 0.3 * error
        row = spiral(key, noise=0.3)
        np.testing.assert_allclose(row["x"], x, atol=2e-5)
        assert int(row["y"]) == y


def test_spiral_without_noise_passes_near_every_point_of_the_table():
    table, rows = two_spirals(), many(lambda key: spiral(key, noise=0.0))
    for label in (0, 1):
        points, curve = table["x"][table["y"] == label], rows["x"][rows["y"] == label]
        gap = np.linalg.norm(points[:, None] - curve[None], axis=-1).min(axis=1)
        assert gap.max() < 0.15
    assert abs(rows["y"].mean() - 0.5) < 4 * 0.5 / 64


def test_rings_is_the_formula_of_its_draws():
    for seed in range(4):
        key = jax.random.key(seed)
        label, turn, offset = jax.random.split(key, 3)
        y = int(jax.random.randint(label, (), 0, 3))
        angle = 2 * np.pi * float(jax.random.uniform(turn))
        radius = 2.0 * (y + 1) + 0.1 * float(jax.random.normal(offset))
        row = rings(key, classes=3, spacing=2.0, noise=0.1)
        np.testing.assert_allclose(row["x"], radius * np.array([np.cos(angle), np.sin(angle)]), atol=1e-5)
        assert int(row["y"]) == y


def test_rings_have_their_radii_and_every_direction():
    rows = many(lambda key: rings(key, classes=3, spacing=2.0, noise=0.1))
    radius = np.linalg.norm(rows["x"], axis=-1)
    for label in range(3):
        mine = radius[rows["y"] == label]
        assert abs(mine.mean() - 2.0 * (label + 1)) < 4 * 0.1 / np.sqrt(len(mine))
        assert abs(mine.std() - 0.1) < 0.01
    turn = np.arctan2(rows["x"][:, 1], rows["x"][:, 0]) / (2 * np.pi) % 1
    assert stats.kstest(turn, "uniform").pvalue > 1e-3
    assert stats.chisquare(np.bincount(rows["y"])).pvalue > 1e-3


def test_gaussian_ring_has_its_means_and_scale():
    rows = many(lambda key: gaussian_ring(key, modes=5, radius=3.0, scale=0.2))
    assert stats.chisquare(np.bincount(rows["y"])).pvalue > 1e-3
    for mode in range(5):
        mine = rows["x"][rows["y"] == mode]
        mean = 3.0 * np.array([np.cos(2 * np.pi * mode / 5), np.sin(2 * np.pi * mode / 5)])
        np.testing.assert_allclose(mine.mean(axis=0), mean, atol=4.5 * 0.2 / np.sqrt(len(mine)))
        np.testing.assert_allclose(np.cov(mine.T), 0.04 * np.eye(2), atol=0.01)


def test_gaussian_ring_is_the_formula_of_its_draws():
    label, offset = jax.random.split(jax.random.key(2))
    y = int(jax.random.randint(label, (), 0, 8))
    mean = 2.0 * np.array([np.cos(np.pi * y / 4), np.sin(np.pi * y / 4)])
    x = mean + 0.02 * np.asarray(jax.random.normal(offset, (2,)))
    row = gaussian_ring(jax.random.key(2))
    np.testing.assert_allclose(row["x"], x, atol=1e-6)
    assert int(row["y"]) == y


def test_gaussian_ring_density_is_scipys():
    x = np.random.default_rng(0).normal(size=(3, 7, 2)).astype(np.float32)
    angle = 2 * np.pi * np.arange(5) / 5
    density = sum(
        stats.multivariate_normal.pdf(x, (3 * np.cos(a), 3 * np.sin(a)), 0.25 * np.eye(2)) / 5 for a in angle
    )
    log_prob = gaussian_ring_log_prob(jnp.asarray(x), modes=5, radius=3.0, scale=0.5)
    np.testing.assert_allclose(log_prob, np.log(density), rtol=1e-4)


def test_linear_gaussian_is_the_formula_of_its_draws():
    latent, offset = jax.random.split(jax.random.key(4))
    z = np.asarray(jax.random.normal(latent, (2,)))
    row = linear_gaussian(jax.random.key(4), weights=WEIGHTS, noise=NOISE)
    np.testing.assert_array_equal(row["z"], z)
    np.testing.assert_allclose(
        row["x"], WEIGHTS @ z + NOISE * np.asarray(jax.random.normal(offset, (4,))), atol=1e-6
    )


def test_linear_gaussian_has_the_covariance_of_its_evidence():
    x = many(lambda key: linear_gaussian(key, weights=WEIGHTS, noise=NOISE), 20_000)["x"]
    np.testing.assert_allclose(np.cov(x.T), WEIGHTS @ WEIGHTS.T + NOISE**2 * np.eye(4), atol=0.15)
    np.testing.assert_allclose(x.mean(axis=0), 0.0, atol=0.08)


def test_linear_gaussian_evidence_is_scipys():
    x = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    covariance = WEIGHTS.astype(np.float64) @ WEIGHTS.T + NOISE**2 * np.eye(4)
    np.testing.assert_allclose(
        linear_gaussian_log_evidence(jnp.asarray(x), weights=WEIGHTS, noise=NOISE),
        stats.multivariate_normal.logpdf(x, np.zeros(4), covariance),
        rtol=1e-5,
    )


def test_linear_gaussian_posterior_conditions_the_joint():
    """The Gaussian of (z, x) together, conditioned on x by its blocks, in float64."""
    x = np.random.default_rng(2).normal(size=(5, 4)).astype(np.float32)
    weights = WEIGHTS.astype(np.float64)
    gain = weights.T @ np.linalg.inv(weights @ weights.T + NOISE**2 * np.eye(4))
    mean, covariance = linear_gaussian_posterior(jnp.asarray(x), weights=WEIGHTS, noise=NOISE)
    np.testing.assert_allclose(mean, x @ gain.T, atol=1e-5)
    np.testing.assert_allclose(covariance, np.eye(2) - gain @ weights, atol=1e-5)


def test_bayes_rule_holds():
    """log p(z) + log p(x | z) - log p(z | x) is the evidence, whatever z is."""
    x = np.array([0.3, -1.0, 2.0, 0.5], np.float32)
    mean, covariance = linear_gaussian_posterior(jnp.asarray(x), weights=WEIGHTS, noise=NOISE)
    evidence = linear_gaussian_log_evidence(jnp.asarray(x), weights=WEIGHTS, noise=NOISE)
    for z in ((0.0, 0.0), (1.0, -2.0)):
        prior = stats.multivariate_normal.logpdf(z, np.zeros(2), np.eye(2))
        likelihood = stats.multivariate_normal.logpdf(x, WEIGHTS @ np.array(z), NOISE**2 * np.eye(4))
        posterior = stats.multivariate_normal.logpdf(z, np.asarray(mean), np.asarray(covariance))
        np.testing.assert_allclose(evidence, prior + likelihood - posterior, rtol=1e-4)


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (lambda key: rings(key, classes=0), "classes is 0; expected at least 1"),
        (lambda key: gaussian_ring(key, modes=0), "modes is 0; expected at least 1"),
        (
            lambda key: linear_gaussian(key, weights=np.ones(3), noise=1.0),
            r"weights has shape \(3,\); expected \[D, L\]",
        ),
    ],
)
def test_bad_arguments_are_refused(sample, message):
    with pytest.raises(ValueError, match=message):
        sample(jax.random.key(0))
