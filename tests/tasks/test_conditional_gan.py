"""Conditional adversarial learning: both players are told the labels, and rows come out as asked for."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl import rng
from fdl.data import sampled
from fdl.data.splits import Splits
from fdl.data.synthetic.points import gaussian_ring
from fdl.models.gan import Conditional, DCGANDiscriminator, MLPDiscriminator, MLPGenerator
from fdl.tasks.adversarial import adversarial, generate_rows
from fdl.tasks.gan_losses import wasserstein
from tests.models.parameters import drawn
from tests.tasks.test_supervised import batch_of, close, evaluated

MODES = 8
RING = sampled(gaussian_ring, train=1024, validation=8, test=256)
GENERATOR: Any = Conditional(MLPGenerator((32, 32), (2,)), MODES)
DISCRIMINATOR: Any = Conditional(MLPDiscriminator((32, 32)), MODES)


def game(optimizer, splits=RING, generator=GENERATOR, **options: Any):
    options = {"steps": 10, "latent": 3, "batch_size": 8, "conditional": True} | options
    return adversarial(generator, DISCRIMINATOR, splits, optimizer, optimizer, **options)


def test_labels_are_entries_of_noise_and_channels_of_images():
    z, y = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32), np.array([0, 7, 2, 2, 1])
    params = drawn(GENERATOR, z, y)
    told = np.concatenate([z, np.eye(MODES, dtype=np.float32)[y]], axis=1)
    expected = GENERATOR.model.apply({"params": params["model"]}, told)
    close(GENERATOR.apply({"params": params}, z, y), expected)
    judge: Any = Conditional(DCGANDiscriminator((2,), norm=None), 4)
    images, y = np.random.default_rng(1).normal(size=(3, 8, 8, 1)).astype(np.float32), np.array([3, 0, 3])
    channels = np.zeros((3, 8, 8, 4), np.float32)
    for row, label in enumerate(y):
        channels[row, :, :, label] = 1
    params = drawn(judge, images, y)
    expected = judge.model.apply({"params": params["model"]}, np.concatenate([images, channels], axis=-1))
    close(judge.apply({"params": params}, images, y), expected)


@pytest.mark.slow
def test_a_step_tells_both_players_the_labels_of_the_rows_they_get():
    lr, key = 0.1, jax.random.key(5)
    experiment = game(optax.sgd(lr), loss=wasserstein, critic_steps=2)
    start, batch = jax.jit(experiment.learner.init)(jax.random.key(0)), batch_of(experiment.train)
    made, judge = start.generator.params, start.discriminator.params
    score = lambda judge, x, y: jnp.mean(DISCRIMINATOR.apply({"params": judge}, x, y))  # noqa: E731
    fakes = lambda made, y, key: GENERATOR.apply(  # noqa: E731
        {"params": made}, jax.random.normal(rng.stream(key, "noise"), (8, 3)), y
    )

    @jax.jit
    @jax.grad
    def judging(judge, x, y, key):
        return score(judge, fakes(made, y, key), y) - score(judge, x, y)

    for i, own in enumerate(jax.random.split(rng.stream(key, "critic"), 2)):
        x, y = batch["x"][i::2], batch["y"][i::2]
        judge = jax.tree.map(lambda p, g: p - lr * g, judge, judging(judge, x, y, own))
    y, own = batch["y"][1::2], rng.stream(key, "generator")
    slope = jax.jit(jax.grad(lambda made: -score(judge, fakes(made, y, own), y)))(made)
    after, _ = jax.jit(experiment.learner.step)(start, batch, key)
    close(after.discriminator.params, judge)
    close(after.generator.params, jax.tree.map(lambda p, g: p - lr * g, made, slope))


@pytest.mark.slow
def test_it_generates_the_mode_that_is_asked_for():
    experiment = game(optax.adam(2e-3, b1=0.5), latent=4, batch_size=128)
    learner, source = experiment.learner, experiment.train

    @jax.jit
    def run(arrays, key):
        def step(i, state):
            return learner.step(state, source.batch(arrays, i, key), jax.random.fold_in(key, i))[0]

        return jax.lax.fori_loop(0, 400, step, learner.init(key))

    y = jnp.arange(400) % MODES
    angle = 2 * np.pi * np.asarray(y) / MODES
    centres = 2 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    for seed in range(2):
        state = run(source.arrays, jax.random.key(seed))
        x = np.asarray(generate_rows(GENERATOR, state, jax.random.normal(jax.random.key(7), (400, 4)), y))
        nearest = np.argmin(np.linalg.norm(x[:, None] - centres[None, :MODES], axis=-1), axis=1)
        assert np.mean(nearest == np.asarray(y)) > 0.9, seed  # 1 / 8 by chance
        assert np.isfinite(evaluated(experiment, state, "test")["energy_distance"])


@pytest.mark.parametrize(
    "y",
    [None, np.zeros(4, np.float32), np.zeros((4, 1), np.int32)],
    ids=["none", "floats", "one-hot"],
)
def test_rows_without_labels_are_refused(y):
    part = {"x": np.zeros((4, 2), np.float32)} | ({} if y is None else {"y": y})
    with pytest.raises(ValueError, match=r"expected integer labels y \[N\], or conditional=False"):
        game(optax.sgd(0.1), Splits(part, part, part))


def test_a_generator_of_other_rows_is_refused():
    with pytest.raises(ValueError, match=r"makes rows of shape \[3\]; expected \[2\]"):
        game(optax.sgd(0.1), generator=Conditional(MLPGenerator((4,), (3,)), MODES))
