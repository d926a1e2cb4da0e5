"""Diffusion: schedules, posteriors and samplers against closed forms; a trained model against baselines."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.integrate import quad

from fdl.data import Splits, sampled
from fdl.data.synthetic.points import gaussian_ring
from fdl.models.diffusion import DiffusionMLP
from fdl.tasks.diffusion import diffusion, flow_matching
from fdl.tasks.noise import (
    Denoised,
    cosine,
    cosine_betas,
    denoised,
    from_betas,
    linear,
    linear_betas,
    noisy,
    predict_data,
    predict_noise,
    predict_v,
    predict_velocity,
    straight,
    target,
)
from fdl.tasks.samplers import ancestral, ddim, denoiser, euler, flow, guided, heun, posterior
from tests.tasks.test_supervised import batch_of, evaluated, trained

pytestmark = pytest.mark.slow  # minutes of compiling

SCHEDULES = {
    "linear": linear,
    "cosine": cosine,
    "straight": straight,
    "ddpm": lambda time: from_betas(linear_betas(1000))(time),
}
PREDICTIONS = (predict_noise, predict_data, predict_v, predict_velocity)
TIMES = np.linspace(0.05, 0.95, 7)


def test_discrete_schedules_are_products_of_betas():
    with jax.enable_x64(True):
        for steps, betas in ((1000, linear_betas(1000)), (50, cosine_betas(50))):
            signal, noise = from_betas(betas)(jnp.arange(steps + 1) / steps)
            product = np.concatenate([[1.0], np.cumprod(1 - np.asarray(betas))])
            np.testing.assert_allclose(signal**2, product, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(noise**2, 1 - product, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(linear_betas(3), [1e-4, 0.01005, 0.02], rtol=1e-6)
    place = np.cos((np.arange(51) / 50 + 0.008) / 1.008 * np.pi / 2) ** 2
    np.testing.assert_allclose(cosine_betas(50)[:-1], 1 - place[1:-1] / place[:-2], rtol=1e-3)
    assert cosine_betas(50)[-1] == np.float32(0.999)


def test_linear_is_the_integral_of_its_rate():
    with jax.enable_x64(True):
        for time in TIMES:
            added = quad(lambda t: 0.1 + t * (20 - 0.1), 0, time)[0]
            signal, noise = linear(jnp.asarray(time))
            np.testing.assert_allclose([signal, signal**2 + noise**2], [np.exp(-added / 2), 1], rtol=1e-9)
        # Many small steps come close to it.
        times = jnp.asarray(TIMES)
        close = from_betas(linear_betas(10_000, first=1e-5, last=2e-3))(times)
        np.testing.assert_allclose(close, linear(times), rtol=0.005)


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_predictions_are_converted_exactly(schedule, prediction):
    with jax.enable_x64(True):
        random = np.random.default_rng(0)
        data, epsilon = random.normal(size=(2, len(TIMES), 3, 2))
        time = jnp.asarray(TIMES)
        x = noisy(data, epsilon, time, schedule)
        signal, noise = (np.asarray(value)[:, None, None] for value in schedule(time))
        np.testing.assert_allclose(x, signal * data + noise * epsilon, rtol=1e-12)
        wanted = target(data, epsilon, time, schedule, prediction)
        expected = {
            predict_noise: epsilon,
            predict_data: data,
            predict_v: signal * epsilon - noise * data,
            predict_velocity: epsilon - data,
        }
        np.testing.assert_allclose(wanted, expected[prediction], rtol=1e-12)
        found = denoised(x, wanted, time, schedule, prediction)
        np.testing.assert_allclose(found.data, data, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(found.noise, epsilon, rtol=1e-8, atol=1e-9)


def test_the_posterior_is_ddpms():
    steps, i = 100, 40  # Ho et al. 2020, eq. 7
    with jax.enable_x64(True):
        betas = linear_betas(steps)
        beta, alpha = np.asarray(betas), 1 - np.asarray(betas)
        bar = np.cumprod(alpha)
        x, data = np.random.default_rng(0).normal(size=(2, 5))
        mean, variance = posterior(
            x, data, jnp.asarray(i / steps), jnp.asarray((i - 1) / steps), from_betas(betas)
        )
        a, b = bar[i - 1], bar[i - 2]  # of steps i and i - 1, which the paper counts from 1
        expected = np.sqrt(b) * beta[i - 1] * data + np.sqrt(alpha[i - 1]) * (1 - b) * x
        np.testing.assert_allclose(mean, expected / (1 - a), rtol=1e-9)
        np.testing.assert_allclose(variance, (1 - b) / (1 - a) * beta[i - 1], rtol=1e-9)


@pytest.mark.parametrize("widest", [False, True])
def test_ancestral_steps_have_ddpms_variances(widest):
    """From x = 0 with x_0 estimated as 0 a step of two adds only its noise; the last adds none."""
    start, schedule = jnp.zeros((20_000, 1)), from_betas(jnp.array([0.1, 0.3]))
    seen = []

    def denoise(x, time):
        jax.debug.callback(lambda x: seen.append(np.var(x)), x)
        return Denoised(jnp.zeros_like(x), jnp.zeros_like(x))

    found = ancestral(denoise, start, jax.random.key(0), schedule=schedule, steps=2, widest=widest)
    jax.effects_barrier()
    np.testing.assert_allclose(found, 0, atol=1e-6)
    bar = 0.9 * 0.7
    wanted = 0.3 if widest else 0.3 * (1 - 0.9) / (1 - bar)  # β_2, or its posterior's
    np.testing.assert_allclose(max(seen), wanted, rtol=0.05)


def test_times_are_those_that_were_asked_for():
    seen = []

    class Watching(nn.Module):
        @nn.compact
        def __call__(self, x, time, label=None, train=False):
            jax.debug.callback(lambda time: seen.append(np.asarray(time)), time)
            return x * self.param("scale", nn.initializers.ones, ())

    experiment = diffusion(Watching(), SPLITS, optax.sgd(0.1), steps=1, batch_size=512, times=4)
    learner = experiment.learner
    state = jax.jit(learner.init)(jax.random.key(0))
    jax.block_until_ready(learner.step(state, batch_of(experiment.train), jax.random.key(1)))
    jax.effects_barrier()
    values, counts = np.unique(seen[-1], return_counts=True)
    np.testing.assert_array_equal(values, [0.25, 0.5, 0.75, 1.0])
    assert counts.min() > 80  # of 128 each
    with pytest.raises(ValueError, match="times is 0; expected at least 1"):
        diffusion(DiffusionMLP((4,)), SPLITS, optax.sgd(0.1), steps=1, times=0)


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_the_posterior_is_bayes_rule(schedule):
    """The joint of x_s and x_t given x_0 is the same from either end, for times far apart too."""
    with jax.enable_x64(True):
        time, earlier, data = jnp.asarray(0.8), jnp.asarray(0.3), 1.7
        (signal, noise), (signal_s, noise_s) = schedule(time), schedule(earlier)
        mean_at = lambda x: posterior(jnp.asarray(x), jnp.asarray(data), time, earlier, schedule)  # noqa: E731
        slope = mean_at(1.0)[0] - mean_at(0.0)[0]
        np.testing.assert_allclose(mean_at(signal * data)[0], signal_s * data, rtol=1e-9)
        np.testing.assert_allclose(slope**2 * noise**2 + mean_at(0.0)[1], noise_s**2, rtol=1e-9)
        np.testing.assert_allclose(slope * noise**2, signal / signal_s * noise_s**2, rtol=1e-9)


def exact(schedule, means, scale):
    """The denoiser of an even mixture of round Gaussians, means `[K, D]`, in closed form."""

    def denoise(x, time):
        signal, noise = schedule(time)
        variance = (signal * scale) ** 2 + noise**2
        offset = x[:, None] - signal * means  # [B, K, D]
        share = jax.nn.softmax(-0.5 * jnp.sum(offset**2, axis=-1) / variance)[..., None]
        data = jnp.sum(share * (means + signal * scale**2 / variance * offset), axis=1)
        return Denoised(data, jnp.sum(share * noise / variance * offset, axis=1))

    return denoise


MEAN, SCALE = np.array([[0.5, -1.0]], np.float32), 0.6


def starts(size, seed=0):
    return jax.random.normal(jax.random.key(seed), (size, 2))


@pytest.mark.parametrize("name", ["cosine", "straight"])
def test_the_flow_of_a_gaussian_is_a_line_and_solvers_have_their_order(name):
    schedule, start = SCHEDULES[name], starts(64)
    with jax.enable_x64(True):
        start, means = jnp.asarray(start, jnp.float64), jnp.asarray(MEAN, jnp.float64)
        velocity = flow(exact(schedule, means, SCALE), schedule=schedule)
        wanted = means + SCALE * start  # the flow keeps quantiles
        error = lambda solve, steps: np.abs(solve(velocity, start, steps=steps) - wanted).max()  # noqa: E731
        assert 1.9 < error(euler, 100) / error(euler, 200) < 2.1
        assert 3.7 < error(heun, 50) / error(heun, 100) < 4.3
        assert error(heun, 100) < 1e-3


@pytest.mark.parametrize("name", SCHEDULES)
def test_ddim_follows_the_flow(name):
    schedule, start = SCHEDULES[name], starts(64)
    errors = []
    for steps in (100, 400):
        samples = jax.jit(
            functools.partial(ddim, exact(schedule, MEAN, SCALE), schedule=schedule, steps=steps)
        )
        errors.append(np.abs(samples(start) - (MEAN + SCALE * start)).max())
    # On `linear` and `ddpm`, noise at time 1 is the data's share of 0.0066 away from standard normal.
    assert errors[1] < 0.02 and errors[1] < 0.6 * errors[0]


RING = 2 * np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], -1)


def solved(way, denoise, schedule, start):
    if way == "ancestral":
        return ancestral(denoise, start, jax.random.key(1), schedule=schedule, steps=1000)
    if way == "ddim":
        return ddim(denoise, start, schedule=schedule, steps=300)
    return heun(flow(denoise, schedule=schedule), start, steps=150)


@pytest.mark.parametrize(
    ("way", "name"),
    [("ancestral", "ddpm"), ("ancestral", "cosine"), ("ddim", "linear"), ("heun", "straight")],
)
def test_samplers_reach_a_mixture(way, name):
    schedule, scale, size = SCHEDULES[name], 0.2, 4000
    run = jax.jit(lambda start: solved(way, exact(schedule, jnp.float32(RING), scale), schedule, start))
    samples = np.asarray(run(starts(size)))
    offset = samples[:, None] - RING
    mode = np.linalg.norm(offset, axis=-1).argmin(-1)
    # Five standard errors of shares, of means and of standard deviations.
    share = np.bincount(mode, minlength=8) / size
    np.testing.assert_allclose(share, 1 / 8, atol=5 * np.sqrt(1 / 8 * 7 / 8 / size))
    within = offset[np.arange(size), mode]
    np.testing.assert_allclose(within.mean(0), 0, atol=5 * scale / np.sqrt(size))
    # Finite steps, too, add or take a little of the width.
    np.testing.assert_allclose(within.std(0), scale, rtol=0.04)


def test_guidance():
    random = np.random.default_rng(0)
    with_label, without = random.normal(size=(2, 4, 2)).astype(np.float32)
    np.testing.assert_array_equal(guided(with_label, without, 0.0), with_label)
    np.testing.assert_allclose(guided(with_label, without, -1.0), without, rtol=1e-6)
    np.testing.assert_allclose(guided(with_label, without, 2.0), 3 * with_label - 2 * without, rtol=1e-6)
    model, x, label = DiffusionMLP((8,), classes=3), starts(4), jnp.array([0, 1, 2, -1])
    variables = jax.jit(model.init)(jax.random.key(0), x, jnp.zeros(4))
    draw = lambda leaf: leaf + 0.3 * jax.random.normal(jax.random.key(leaf.size), leaf.shape)  # noqa: E731
    variables, time = jax.tree.map(draw, variables), jnp.asarray(0.4)
    ask = functools.partial(denoiser, model, variables, schedule=linear, prediction=predict_v)
    plain, labelled, strong = ask(), ask(label=label), ask(label=label, guidance=2.0)
    # Estimates are affine in predictions, so guidance of the ones is guidance of the others.
    a, b, c = jax.jit(lambda x: [denoise(x, time) for denoise in (plain, labelled, strong)])(x)
    for index in range(2):
        np.testing.assert_allclose(c[index], 3 * b[index] - 2 * a[index], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(c.data[3], a.data[3], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="guidance is given without a label"):
        ask(guidance=1.0)


SAMPLE = functools.partial(gaussian_ring, scale=0.1)
SPLITS = sampled(SAMPLE, train=4096, validation=64, test=2048)


def energy_distance(a, b):
    """2 E|a - b| - E|a - a'| - E|b - b'| (Székely & Rizzo 2013), of samples `[N, D]`."""
    gap = lambda x, y: np.linalg.norm(x[:, None] - y, axis=-1)  # noqa: E731
    same = lambda x: gap(x, x).sum() / (len(x) * (len(x) - 1))  # noqa: E731
    return 2 * gap(a, b).mean() - same(a) - same(b)


def judged(samples):
    """Energy distance over that of a Gaussian with the data's moments; and the share of each mode."""
    random, test, samples = np.random.default_rng(0), SPLITS.test["x"], np.asarray(samples)
    train = SPLITS.train["x"]
    gaussian = random.multivariate_normal(train.mean(0), np.cov(train.T), len(samples))
    distance = np.linalg.norm(samples[:, None] - RING, axis=-1)
    near = distance.min(-1) < 0.4  # four standard deviations
    share = np.bincount(distance.argmin(-1)[near], minlength=8) / len(samples)
    return energy_distance(samples, test) / energy_distance(gaussian, test), share


def test_a_flow_learns_a_ring_with_and_without_labels():
    model, steps = DiffusionMLP((96, 96, 96), classes=8), 2000
    optimizer = optax.adam(optax.cosine_decay_schedule(3e-3, steps))
    experiment = flow_matching(model, SPLITS, optimizer, steps=steps, batch_size=256, label_dropout=0.2)
    state = trained(experiment, steps)
    ask = functools.partial(
        denoiser, model, {"params": state.params}, schedule=straight, prediction=predict_velocity
    )

    @jax.jit
    def draw(start, label, guidance):
        asked = (ask(), ask(label=label, guidance=guidance))
        return [heun(flow(denoise, schedule=straight), start, steps=40) for denoise in asked]

    label = jnp.arange(2048) % 8
    samples, labelled = draw(starts(2048), label, 0.0)
    ratio, share = judged(samples)
    assert ratio < 0.1
    assert share.min() > 0.06 and share.sum() > 0.85  # 0.125 and 1 for the data
    mode = np.linalg.norm(np.asarray(labelled)[:, None] - RING, axis=-1)
    assert (mode.argmin(-1) == label).mean() > 0.95 and (mode.min(-1) < 0.4).mean() > 0.9


def test_diffusion_learns_a_ring():
    model, steps = DiffusionMLP((96, 96, 96)), 1500
    optimizer = optax.adam(optax.cosine_decay_schedule(3e-3, steps))
    experiment = diffusion(model, SPLITS, optimizer, steps=steps, batch_size=256)
    state = trained(experiment, steps)
    denoise = denoiser(model, {"params": state.params}, schedule=linear, prediction=predict_noise)
    for way in ("ddim", "ancestral"):
        ratio, share = judged(jax.jit(functools.partial(solved, way, denoise, linear))(starts(2048)))
        assert ratio < 0.1, way
        assert share.min() > 0.06 and share.sum() > 0.85, way
    # The best that can be said without looking at x is 0, with a mean squared error of 1.
    assert evaluated(experiment, state, "test")["loss"] < 0.6


def test_the_loss_is_the_squared_error_at_hidden_labels_too():
    model = DiffusionMLP((8,), classes=8)
    experiment = diffusion(model, SPLITS, optax.sgd(0.1), steps=1, batch_size=16, label_dropout=0.5)
    learner, batch = experiment.learner, batch_of(experiment.train)
    state = jax.jit(learner.init)(jax.random.key(0))
    step = jax.jit(lambda key: learner.step(state, batch, key)[1])
    metrics = step(jax.random.key(3))
    # A new model predicts zero, so the loss is the mean square of the noise: 32 numbers about 1.
    assert 0.3 < metrics["loss"].value < 2.5
    test = evaluated(experiment, state, "test")["loss"]
    np.testing.assert_allclose(test, 1, atol=5 * np.sqrt(2 / 4096))
    again, other = (step(jax.random.key(seed))["loss"].value for seed in (3, 4))
    assert again == metrics["loss"].value != other


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"x": SPLITS.train["x"] * 100}, {}, "train x has a root mean square of .*; expected about 1"),
        ({"x": np.float32(np.nan) * SPLITS.train["x"]}, {}, "train x is not finite"),
        ({"x": SPLITS.train["x"].astype(np.uint8)}, {}, r"validation has rows .* expected those of train"),
        ({"y": SPLITS.train["y"] - 1}, {"label_dropout": 0.1}, "train labels go from -1 to"),
        ({}, {"steps": 0}, "steps is 0"),
    ],
)
def test_bad_input_is_refused_in_one_line(changes, options, message):
    splits = SPLITS._replace(train={**SPLITS.train, **changes})
    with pytest.raises(ValueError, match=message) as error:
        diffusion(DiffusionMLP((8,)), splits, optax.sgd(0.1), **{"steps": 1} | options)
    assert "\n" not in str(error.value)


def test_labels_are_needed_for_label_dropout():
    rows = {"x": SPLITS.train["x"]}
    unlabelled = Splits(rows, rows, rows)
    with pytest.raises(ValueError, match="expected integer labels y"):
        flow_matching(DiffusionMLP((8,)), unlabelled, optax.sgd(0.1), steps=1, label_dropout=0.1)
