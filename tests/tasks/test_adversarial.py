"""Adversarial learning: losses in closed form, penalty by PyTorch, distances by SciPy, steps by hand."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

from fdl import rng
from fdl.data import sampled
from fdl.data.splits import Splits
from fdl.data.synthetic.points import gaussian_ring
from fdl.models.gan import MLPDiscriminator, MLPGenerator
from fdl.models.norms import batch_norm
from fdl.models.spectral import spectral_norm
from fdl.tasks.adversarial import adversarial, generate_rows
from fdl.tasks.distances import energy_distance, sliced_wasserstein
from fdl.tasks.gan_losses import gradient_penalty, hinge, minimax, non_saturating, wasserstein
from tests.tasks.test_supervised import batch_of, close, evaluated

pytestmark = pytest.mark.slow  # minutes of compiling

RING = sampled(gaussian_ring, train=2048, validation=128, test=512)
SMALL = sampled(gaussian_ring, train=64, validation=8, test=8)
PART = {"x": np.zeros((4, 2), np.uint8)}
BYTES = Splits(PART, PART, PART)
LOSSES = [minimax, non_saturating, hinge, wasserstein]


def game(splits=SMALL, widths=(8,), lr=0.1, make=optax.sgd, weight=None, norm=None, **options: Any):
    options = {"steps": 10, "latent": 3, "batch_size": 8} | options
    generator, discriminator = MLPGenerator(widths, (2,), norm=norm), MLPDiscriminator(widths, weight=weight)
    return adversarial(generator, discriminator, splits, make(lr), make(lr), **options)


@pytest.mark.parametrize("loss", [minimax, non_saturating])
def test_at_the_best_discriminator_the_value_is_that_of_goodfellow(loss):
    # Two Gaussians of distance 2: the best logit is the log-ratio of densities, and the value of the
    # game is -log 4 + 2 JSD (Goodfellow et al. 2014, theorem 1); at equal densities it is -log 4.
    x = np.linspace(-12, 12, 20001)
    data, model = scipy.stats.norm.pdf(x, 1), scipy.stats.norm.pdf(x, -1)
    logit = jnp.asarray(2 * x)
    middle = (data + model) / 2
    jsd = sum(np.trapezoid(p * (np.log(p) - np.log(middle)), x) for p in (data, model)) / 2
    of_real = loss(logit, logit)[0] - nn.softplus(logit)
    of_fake = nn.softplus(logit)
    value = -np.trapezoid(data * of_real + model * of_fake, x)
    np.testing.assert_allclose(value, -np.log(4) + 2 * jsd, rtol=1e-5)
    np.testing.assert_allclose(-loss(jnp.zeros(1), jnp.zeros(1))[0][0], -np.log(4), rtol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_are_their_definitions(loss):
    real, fake = np.random.default_rng(0).normal(size=(2, 50)) * 3
    d = lambda logit: 1 / (1 + np.exp(-logit))  # noqa: E731
    expected = {
        minimax: (-np.log(d(real)) - np.log(1 - d(fake)), np.log(1 - d(fake))),
        non_saturating: (-np.log(d(real)) - np.log(1 - d(fake)), -np.log(d(fake))),
        hinge: (np.maximum(0, 1 - real) + np.maximum(0, 1 + fake), -fake),
        wasserstein: (fake - real, -fake),
    }[loss]
    close(loss(jnp.asarray(real), jnp.asarray(fake)), expected, rtol=1e-5)
    # Sure logits leave every loss finite.
    assert np.isfinite(loss(jnp.array([1e4, -1e4]), jnp.array([-1e4, 1e4]))).all()


def test_the_penalty_and_its_gradient_agree_with_torch():
    torch = pytest.importorskip("torch", reason="PyTorch is the reference")
    random = np.random.default_rng(0)
    real, fake = random.normal(size=(2, 6, 3)).astype(np.float32)
    w, v = random.normal(size=(3, 5)).astype(np.float32), random.normal(size=5).astype(np.float32)
    key = jax.random.key(3)
    score = lambda params, x: jnp.tanh(x @ params[0]) @ params[1]  # noqa: E731
    ours = lambda params: jnp.mean(gradient_penalty(lambda x: score(params, x), real, fake, key))  # noqa: E731
    value, grads = jax.value_and_grad(ours)((w, v))
    share = torch.tensor(np.array(jax.random.uniform(key, (6, 1))))
    between = (share * torch.tensor(real) + (1 - share) * torch.tensor(fake)).requires_grad_()
    params = [torch.tensor(p, requires_grad=True) for p in (w, v)]
    out = torch.tanh(between @ params[0]) @ params[1]
    (gradient,) = torch.autograd.grad(out.sum(), between, create_graph=True)
    expected = ((gradient.norm(dim=1) - 1) ** 2).mean()
    expected.backward()
    np.testing.assert_allclose(value, expected.item(), rtol=1e-5)
    for mine, theirs in zip(grads, params, strict=True):
        np.testing.assert_allclose(mine, theirs.grad, rtol=1e-5, atol=1e-6)


def test_the_penalty_of_a_linear_critic_is_exact_and_of_a_constant_one_finite():
    x, key, w = jnp.ones((4, 2, 3)), jax.random.key(0), jnp.full((2, 3), 2.0)
    penalty = lambda w: gradient_penalty(lambda x: jnp.einsum("bij,ij->b", x, w), x, -x, key)  # noqa: E731
    np.testing.assert_allclose(penalty(w), np.full(4, (np.sqrt(24) - 1) ** 2), rtol=1e-6)
    value, slope = jax.value_and_grad(lambda w: jnp.sum(penalty(w)))(jnp.zeros((2, 3)))
    assert value == 4
    np.testing.assert_array_equal(slope, np.zeros((2, 3)))


def test_distances_agree_with_scipy():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(40, 1)), random.normal(size=(40, 1)) + 0.5
    ones, key = jnp.ones(40), jax.random.key(0)
    ours = energy_distance(jnp.asarray(x), jnp.asarray(y), ones)
    np.testing.assert_allclose(ours, scipy.stats.energy_distance(x[:, 0], y[:, 0]) ** 2, rtol=1e-4)
    one = sliced_wasserstein(jnp.asarray(x), jnp.asarray(y), ones, key)
    np.testing.assert_allclose(one, scipy.stats.wasserstein_distance(x[:, 0], y[:, 0]), rtol=1e-5)
    x, y = random.normal(size=(2, 30, 2, 2))
    axes = np.array(jax.random.normal(key, (4, 64)), np.float64)
    axes /= np.linalg.norm(axes, axis=0)
    flat = [rows.reshape(30, 4) @ axes for rows in (x, y)]
    many = np.mean(
        [scipy.stats.wasserstein_distance(a, b) for a, b in zip(*(f.T for f in flat), strict=True)]
    )
    np.testing.assert_allclose(
        sliced_wasserstein(jnp.asarray(x), jnp.asarray(y), ones[:30], key), many, rtol=1e-5
    )
    length = lambda a, b: np.linalg.norm(a[:, None] - b[None], axis=-1).mean()  # noqa: E731
    a, b = x.reshape(30, 4), y.reshape(30, 4)
    expected = 2 * length(a, b) - length(a, a) - length(b, b)
    np.testing.assert_allclose(
        energy_distance(jnp.asarray(x), jnp.asarray(y), ones[:30]), expected, rtol=1e-4
    )


@pytest.mark.parametrize(
    "distance", [energy_distance, functools.partial(sliced_wasserstein, key=jax.random.key(0))]
)
def test_padding_changes_no_distance(distance):
    x, y = jax.random.normal(jax.random.key(1), (2, 20, 3))
    short = distance(x[:13], y[:13], jnp.ones(13))
    np.testing.assert_allclose(distance(x, y, jnp.arange(20) < 13), short, rtol=1e-5)
    np.testing.assert_allclose(distance(x, x[::-1], jnp.ones(20)), 0, atol=1e-5)


@pytest.mark.parametrize("loss", [non_saturating, wasserstein])
def test_a_step_is_the_critics_steps_and_then_the_generators(loss):
    lr, factor, critic_steps, key = 0.1, 0.5, 2, jax.random.key(5)
    experiment = game(lr=lr, loss=loss, penalty=factor, critic_steps=critic_steps, average=0.9)
    generator: Any = MLPGenerator((8,), (2,))
    discriminator: Any = MLPDiscriminator((8,))
    start, batch = jax.jit(experiment.learner.init)(jax.random.key(0)), batch_of(experiment.train)
    assert batch["x"].shape == (16, 2)
    made, judge = start.generator.params, start.discriminator.params
    score = lambda judge, x: discriminator.apply({"params": judge}, x)  # noqa: E731
    fakes = lambda made, key: generator.apply(  # noqa: E731
        {"params": made}, jax.random.normal(rng.stream(key, "noise"), (8, 3))
    )
    for i, own in enumerate(jax.random.split(rng.stream(key, "critic"), critic_steps)):
        real, fake = batch["x"][i::critic_steps], fakes(made, own)

        def value(judge, real=real, fake=fake, own=own):
            point, _ = jax.random.split(rng.stream(own, "penalty"))
            penalty = gradient_penalty(lambda x: score(judge, x), real, fake, point)
            return jnp.mean(loss(score(judge, real), score(judge, fake))[0] + factor * penalty)

        judge = jax.tree.map(lambda p, g: p - lr * g, judge, jax.jit(jax.grad(value))(judge))
    own = rng.stream(key, "generator")
    fooled = lambda made: jnp.mean(loss(jnp.zeros(8), score(judge, fakes(made, own)))[1])  # noqa: E731
    new = jax.tree.map(lambda p, g: p - lr * g, made, jax.jit(jax.grad(fooled))(made))
    after, metrics = jax.jit(experiment.learner.step)(start, batch, key)
    close(after.discriminator.params, judge)
    close(after.generator.params, new)
    close(after.average, {"params": jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, made, new)})
    assert set(metrics) == {*experiment.learner.required, "penalty"}
    moved = jax.tree.map(lambda old, new: np.sum((old - new) ** 2), made, new)
    close(metrics["generator_update_norm"], np.sqrt(sum(jax.tree.leaves(moved))))
    close(metrics["generator_loss"].value, fooled(made))


def test_only_a_players_own_update_moves_its_collections():
    experiment = game(norm=batch_norm, weight=spectral_norm, critic_steps=3, loss=hinge)
    start, batch = jax.jit(experiment.learner.init)(jax.random.key(0)), batch_of(experiment.train)
    after, metrics = jax.jit(experiment.learner.step)(start, batch, jax.random.key(1))
    assert set(metrics) == set(experiment.learner.required)
    mean = lambda players: players.generator.model_state["batch_stats"]["BatchNorm_0"]["mean"]  # noqa: E731
    noise = jax.random.normal(rng.stream(rng.stream(jax.random.key(1), "generator"), "noise"), (8, 3))
    dense = start.generator.params["_Dense_0"]
    hidden = noise @ nn.unbox(dense["kernel"]) + nn.unbox(dense["bias"])
    np.testing.assert_allclose(mean(after), 0.1 * hidden.mean(0), rtol=1e-5, atol=1e-6)
    vectors = lambda players: players.discriminator.model_state["spectral"]["_Dense_0"]["_Spectral_0"]  # noqa: E731
    assert not np.array_equal(vectors(start)["vectors"][0], vectors(after)["vectors"][0])


def test_functions_are_pure_and_vmappable_over_seeds_and_traced_hyper_parameters():
    traces = 0

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, 0, 0, None))
    def run(penalty, decay, key, batch):
        nonlocal traces
        traces += 1
        learner = game(penalty=penalty, average=decay, loss=wasserstein).learner
        state, metrics = learner.step(learner.init(key), batch, key)
        return state, metrics, learner.evaluate(state, batch | {"weight": jnp.ones(8)}, jax.random.key(0))

    batch, keys = batch_of(game().train), jax.random.split(jax.random.key(0), 3)
    penalties, decays = jnp.array([0.0, 1.0, 10.0]), jnp.array([0.5, 0.9, 0.99])
    together = run(penalties, decays, keys, batch)
    one = run(penalties[1:2], decays[1:2], keys[1:2], batch)
    close(jax.tree.map(lambda leaf: leaf[1:2], together), one)
    assert traces == 2
    plain = game(loss=wasserstein).learner
    state, _ = jax.jit(lambda key: plain.step(plain.init(key), batch, key))(keys[0])
    close(jax.tree.map(lambda leaf: leaf[0], together[0].discriminator), state.discriminator)


def test_an_evaluation_is_of_the_averaged_generator_and_its_padding_does_not_count():
    experiment = game(average=0.5)
    state = jax.jit(experiment.learner.init)(jax.random.key(0))
    state, _ = jax.jit(experiment.learner.step)(state, batch_of(experiment.train), jax.random.key(1))
    z = jax.random.normal(jax.random.key(2), (4, 3))
    generator = MLPGenerator((8,), (2,))
    close(generate_rows(generator, state, z), generator.apply(state.average, z))
    current = state._replace(average=None)
    close(generate_rows(generator, current, z), generator.apply({"params": state.generator.params}, z))
    batch = batch_of(experiment.evaluation["test"])
    evaluate = jax.jit(experiment.learner.evaluate)
    whole = evaluate(state, batch, jax.random.key(0))
    padded = {name: jnp.concatenate([rows, jnp.zeros_like(rows[:5])]) for name, rows in batch.items()}
    close(evaluate(state, padded, jax.random.key(0)), whole)
    assert float(whole["energy_distance"].weight) == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"generator": MLPGenerator((4,), (3,))}, r"makes rows of shape \[3\]; expected \[2\]"),
        (
            {"discriminator": MLPGenerator((4,), (1,))},
            r"outputs have shape \['B', 1\]; expected logits \[B\]",
        ),
        ({"latent": 0}, "latent is 0; expected at least 1"),
        ({"critic_steps": 0}, "critic_steps is 0; expected at least 1"),
        (
            {"splits": BYTES},
            "x is uint8; expected floats",
        ),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    options: dict[str, Any] = {
        "generator": MLPGenerator((4,), (2,)),
        "discriminator": MLPDiscriminator((4,)),
        "splits": SMALL,
    }
    options |= {"latent": 2, "critic_steps": 1, "steps": 3} | change
    players: Any = [options.pop(name) for name in ("generator", "discriminator", "splits")]
    with pytest.raises(ValueError, match=message):
        adversarial(*players, *[optax.sgd(0.1)] * 2, **options)


@pytest.mark.parametrize(
    ("options", "metric"),
    [
        ({}, "energy_distance"),
        ({"loss": wasserstein, "penalty": 1.0, "critic_steps": 3}, "sliced_wasserstein"),
    ],
    ids=["non-saturating", "wgan-gp"],
)
def test_it_learns_the_ring(options, metric):
    # The untrained generators' energy distances are about 1, their sliced Wasserstein distances too.
    steps = 400
    adam = functools.partial(optax.adam, b1=0.5)
    experiment = game(RING, (32, 32), 2e-3, adam, latent=4, batch_size=128, steps=steps, **options)
    learner, source = experiment.learner, experiment.train

    @jax.jit
    def run(arrays, key):
        def step(i, state):
            return learner.step(state, source.batch(arrays, i, key), jax.random.fold_in(key, i))[0]

        start = learner.init(key)
        return start, jax.lax.fori_loop(0, steps, step, start)

    for seed in range(2):
        before, after = run(source.arrays, jax.random.key(seed))
        gain = [evaluated(experiment, state, "test")[metric] for state in (before, after)]
        assert gain[1] < 0.5 * gain[0], (seed, gain)


def test_rows_that_do_not_divide_into_the_critics_steps_are_refused():
    learner = game(critic_steps=2).learner
    batch = {"x": jnp.zeros((3, 2))}
    with pytest.raises(ValueError, match=r"3 rows.*critic_steps = 2"):
        jax.eval_shape(
            learner.step, jax.eval_shape(learner.init, jax.random.key(0)), batch, jax.random.key(0)
        )
