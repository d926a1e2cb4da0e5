"""Autoencoders: the linear one against principal components, penalties against definitions, and learning."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.stats import entropy
from sklearn.decomposition import PCA

from fdl import data
from fdl.data import Splits
from fdl.models import MLP
from fdl.models.autoencoder import Autoencoder, k_sparse
from fdl.tasks.likelihoods import bernoulli, gaussian
from fdl.tasks.reconstruction import l1_penalty, masking_noise, rate_penalty, reconstruction
from tests.tasks.test_supervised import batch_of, evaluated, trained

pytestmark = pytest.mark.slow  # minutes of compiling

DIGITS, WINE = data.digits(), data.wine()


def pca_error(train, x, components):
    """Mean over entries of the squared error of x by principal components of train."""
    pca = PCA(components).fit(train)
    return np.mean((pca.inverse_transform(pca.transform(x)) - x) ** 2)


def error_of(model, state, x):
    return np.mean((np.asarray(model.apply({"params": state.params}, x)) - x) ** 2)


def test_the_linear_optimum_is_principal_components():
    model, steps, x = Autoencoder(MLP((), 3), MLP((), 13)), 3000, WINE.train["x"]
    optimizer = optax.adam(optax.exponential_decay(0.02, 500, 0.3))
    experiment = reconstruction(model, WINE, optimizer, steps=steps, batch_size=len(x))
    state = trained(experiment, steps)
    np.testing.assert_allclose(error_of(model, state, x), pca_error(x, x, 3), rtol=1e-4)
    # The optimum is unique but for the code's basis, so that other rows come out the same.
    test = evaluated(experiment, state, "test")["squared_error"]
    np.testing.assert_allclose(test, pca_error(x, WINE.test["x"], 3), rtol=1e-2)


def test_it_beats_components_of_the_same_number():
    model, steps, codes = Autoencoder(MLP((128,), 8), MLP((128,), 64)), 1500, 8
    optimizer = optax.adam(optax.cosine_decay_schedule(2e-3, steps))
    experiment = reconstruction(model, DIGITS, optimizer, steps=steps, batch_size=64)
    error = evaluated(experiment, trained(experiment, steps), "test")["squared_error"]
    x, test = DIGITS.train["x"], DIGITS.test["x"]
    assert error < 0.95 * pca_error(x, test, codes)
    assert error < 0.6 * np.mean((test - x.mean(0)) ** 2)


def test_it_learns_to_remove_noise():
    model, steps = Autoencoder(MLP((128,), 24), MLP((128,), 64)), 800
    make = functools.partial(
        reconstruction, model, DIGITS, optax.adam(2e-3), steps=steps, corrupt=data.gaussian_noise(scale=1.0)
    )
    experiment = make()
    state = trained(experiment, steps)
    error = evaluated(experiment, state, "test")["squared_error"]
    # The identity's error is the noise's variance, 1; the mean's is the data's.
    mean_error = np.mean((DIGITS.test["x"] - DIGITS.train["x"].mean(0)) ** 2)
    assert error < 0.7 * min(1.0, mean_error)
    # A twin that has seen no noise is worse at it.
    clean = trained(reconstruction(model, DIGITS, optax.adam(2e-3), steps=steps), steps)
    assert error < 0.9 * evaluated(experiment, clean, "test")["squared_error"]


def test_an_l1_penalty_makes_codes_sparse():
    model, steps = Autoencoder(MLP((), 32), MLP((), 64), activation=nn.relu), 500
    active = []
    for penalty in (None, functools.partial(l1_penalty, factor=1.0)):
        experiment = reconstruction(model, DIGITS, optax.adam(3e-3), steps=steps, penalty=penalty)
        variables = {"params": trained(experiment, steps).params}
        active.append(np.mean(np.asarray(model.apply(variables, DIGITS.test["x"], method="encode")) > 1e-3))
    assert active[1] < 0.6 * active[0]


def test_penalties():
    codes = np.random.default_rng(0).uniform(0.1, 0.9, (6, 4))
    with jax.enable_x64(True):
        x = jnp.asarray(codes)
        np.testing.assert_allclose(l1_penalty(-x, factor=2.0), 2 * codes.sum(1), rtol=1e-9)
        expected = sum(entropy([0.2, 0.8], [m, 1 - m]) for m in codes.mean(0))
        np.testing.assert_allclose(rate_penalty(x, factor=3.0, rate=0.2), 3 * expected, rtol=1e-9)
    assert np.isfinite(rate_penalty(jnp.zeros((2, 3)), factor=1.0, rate=0.1))


def test_likelihoods_are_scipys():
    from scipy import stats

    random = np.random.default_rng(0)
    outputs, x = random.normal(size=(3, 2, 4)), random.normal(size=(3, 2, 4))
    bits = (x > 0).astype(np.float64)
    with jax.enable_x64(True):
        log_prob = gaussian(scale=0.3).log_prob(jnp.asarray(outputs), jnp.asarray(x))
        np.testing.assert_allclose(log_prob, stats.norm.logpdf(x, outputs, 0.3).sum((1, 2)), rtol=1e-9)
        log_prob = bernoulli().log_prob(jnp.asarray(outputs), jnp.asarray(bits))
        share = 1 / (1 + np.exp(-outputs))
        np.testing.assert_allclose(log_prob, stats.bernoulli.logpmf(bits, share).sum((1, 2)), rtol=1e-9)
        np.testing.assert_allclose(bernoulli().mean(jnp.asarray(outputs)), share, rtol=1e-9)


def test_a_step_minimises_loss_and_penalty_of_corrupted_inputs():
    model: Any = Autoencoder(MLP((), 4), MLP((), 64))
    lr = 0.01
    penalty = functools.partial(l1_penalty, factor=0.5)
    corrupt = masking_noise(rate=1.0)  # all inputs become 0, whatever the key
    experiment = reconstruction(
        model, DIGITS, optax.sgd(lr), steps=1, batch_size=8, corrupt=corrupt, penalty=penalty
    )
    state, batch = jax.jit(experiment.learner.init)(jax.random.key(0)), batch_of(experiment.train)

    def objective(params):
        zeros = jnp.zeros_like(batch["x"])
        code = model.apply({"params": params}, zeros, method="encode")
        outputs = model.apply({"params": params}, zeros)
        nats = 0.5 * jnp.sum((outputs - batch["x"]) ** 2, axis=-1) + 32 * np.log(2 * np.pi)
        return jnp.mean(nats) + 0.5 * jnp.mean(jnp.sum(jnp.abs(code), axis=-1)), jnp.mean(nats)

    (_, nats), gradient = jax.jit(jax.value_and_grad(objective, has_aux=True))(state.params)
    after, metrics = jax.jit(experiment.learner.step)(state, batch, jax.random.key(1))
    np.testing.assert_allclose(metrics["loss"].value, nats, rtol=1e-5)
    expected = jax.tree.map(lambda p, g: p - lr * g, state.params, gradient)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    jax.tree.map(close, after.params, expected)


def test_masking_noise_hides_a_share():
    x = np.ones((50, 40), np.float32)
    hidden = np.asarray(masking_noise(rate=0.3)({"x": x}, jax.random.key(0))["x"])
    assert set(np.unique(hidden)) == {0.0, 1.0}
    np.testing.assert_allclose(1 - hidden.mean(), 0.3, atol=5 * np.sqrt(0.3 * 0.7 / 2000))


def changed(**changes):
    return DIGITS._replace(train={**DIGITS.train, **changes})


def only(make):
    """The digits with nothing but what `make` makes of x."""
    return Splits(make(DIGITS.train["x"]), make(DIGITS.validation["x"]), make(DIGITS.test["x"]))


AUTO = Autoencoder(MLP((), 4), MLP((), 64), activation=functools.partial(k_sparse, active=2))


@pytest.mark.parametrize(
    ("splits", "model", "options", "message"),
    [
        (DIGITS, AUTO, {"likelihood": bernoulli()}, "train x goes from .* expected 0 to 1"),
        (
            DIGITS,
            MLP((), 63),
            {},
            r"one row have shape \[1, 63\]; expected as many numbers as x has, \[1, 64\]",
        ),
        (changed(y=DIGITS.train["y"][1:]), AUTO, {}, r"train has \[1077, 1076\] rows"),
        (changed(x=DIGITS.train["x"][:, 1:]), AUTO, {}, "validation has rows .* expected those of train"),
        (
            only(lambda x: {"x": x.astype(np.int8)}),
            AUTO,
            {},
            "train x is int8; expected floats",
        ),
        (only(lambda x: {"z": x}), AUTO, {}, r"train has \['z'\]; expected x among them"),
        (changed(x=np.full_like(DIGITS.train["x"], np.inf)), AUTO, {}, "train x is not finite"),
        (DIGITS, AUTO, {"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_bad_input_is_refused_in_one_line(splits, model, options, message):
    with pytest.raises(ValueError, match=message) as error:
        reconstruction(model, splits, optax.sgd(0.1), **{"steps": 1} | options)
    assert "\n" not in str(error.value)
