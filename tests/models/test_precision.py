"""Mixed precision: what is kept, what computes, and that it learns the same."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl import data, models, tasks, train
from fdl.models.norms import batch_norm

KEY = jax.random.key(0)
IMAGES = jax.random.normal(KEY, (8, 8, 8, 3))
TOKENS = jax.random.randint(KEY, (2, 16), 0, 32)
CASES = {
    "mlp": (models.MLP((32, 32), 4, norm=batch_norm), IMAGES.reshape(8, -1)),
    "resnet": (models.ResNet((1, 1), outputs=4, width=8, small=True), IMAGES),
    "lstm": (models.RecurrentNet((16,), 4), IMAGES.reshape(8, 8, 24)),
    "gpt": (models.gpt2(32, length=16, width=32, layers=2, heads=2), TOKENS),
}


@pytest.fixture(params=CASES, scope="module")
def case(request):
    return CASES[request.param]


def passed(model, variables, x):
    """Outputs and the other collections after a training pass."""
    return model.apply(variables, x, train=True, rngs={"dropout": KEY}, mutable=["batch_stats"])


def inner(tree):
    """The wrapped model's own variables."""
    return {name: part["model"] for name, part in tree.items()}


@pytest.mark.medium
def test_kept_in_float32_and_computed_in_bfloat16(case):
    model, x = case
    mixed = models.MixedPrecision(model)
    variables = jax.jit(mixed.init)(KEY, x)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
    run = jax.jit(lambda v: passed(mixed, v, x))
    out, kept = run(variables)
    assert out.dtype == jnp.float32
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(kept))
    text = run.lower(variables).as_text()
    products = [
        line for line in text.splitlines() if "stablehlo.dot_general" in line or "convolution(" in line
    ]
    factors = [line.rsplit(" : ", 1)[1].partition("->")[0] for line in products]
    assert products and all("bf16" in types and "f32" not in types for types in factors)


@pytest.mark.medium
def test_gradients_are_those_of_float32_but_for_rounding(case):
    model, x = case
    mixed = models.MixedPrecision(model)
    variables = jax.jit(mixed.init)(KEY, x)

    def loss(model, params, rest):
        return jnp.mean(jnp.square(passed(model, {"params": params, **rest}, x)[0] - 1.0))

    rest = {name: part for name, part in variables.items() if name != "params"}
    narrow = jax.jit(jax.grad(lambda p: loss(mixed, p, rest)))(variables["params"])["model"]
    own = inner(variables)
    kept = {name: part for name, part in own.items() if name != "params"}
    wide = jax.jit(jax.grad(lambda p: loss(model, p, kept)))(own["params"])
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(narrow))
    whole = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(wide)])
    apart = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(narrow)]) - whole
    assert 0 < np.linalg.norm(apart) < 0.05 * np.linalg.norm(whole)


def test_in_float32_it_is_the_model_itself(case):
    model, x = case
    same = models.MixedPrecision(model, compute=jnp.float32)
    variables = jax.jit(same.init)(KEY, x)
    run = jax.jit(passed, static_argnums=0)
    jax.tree.map(
        np.testing.assert_array_equal, run(same, variables, x)[0], run(model, inner(variables), x)[0]
    )


@pytest.mark.medium
def test_it_learns_as_float32_does():
    def accuracy(model):
        experiment = tasks.classification(model, data.digits(), optax.adam(3e-3), steps=150)
        return train.fit(experiment, KEY).rows[-1]["test/accuracy"]

    model = models.MLP((64,), 10)
    assert accuracy(models.MixedPrecision(model)) == pytest.approx(accuracy(model), abs=0.02)


SMALL: dict[str, Any] = {"width": 8, "layers": 1, "heads": 2}
TEXT = np.array([[1, 2, 3, 4], [3, 5, 1, 1]], np.int32)
PIXELS = np.linspace(-1.5, 1.5, 2 * 8 * 8, dtype=np.float32).reshape(2, 8, 8, 1)
X, Y = PIXELS[:, 0, :, 0], np.array([0, 2], np.int32)
UNIT, LABELLED = {"x": np.abs(X) % 1}, {"x": X, "y": Y}
SPECTRAL = models.MLPDiscriminator((4,), weight=models.spectral_norm)
MLP = models.MLP((4,), 3)


def mixed_task(task, model, part, *more, **options):
    return task(models.MixedPrecision(model), data.Splits(part, part, part), *more, steps=1, **options)


def game(made, judge, **options):
    splits, judge = data.Splits(LABELLED, LABELLED, LABELLED), models.MixedPrecision(judge)
    made, sgd = models.MixedPrecision(made), optax.sgd(0.1)
    return tasks.adversarial(made, judge, splits, sgd, sgd, steps=1, latent=2, batch_size=2, **options)


def translated(model):
    readers = tasks.generation.cached
    part = {"x": TEXT, "y": TEXT}
    return mixed_task(tasks.sequence_to_sequence, model, part, optax.sgd(0.1), readers=readers)


def taught(task, model, part, **options):
    return mixed_task(task, model, part, optax.sgd(0.1), **options)


TASKS = {
    "classification": lambda: taught(tasks.classification, MLP.clone(norm=batch_norm, dropout=0.1), LABELLED),
    "segmentation": lambda: taught(
        tasks.segmentation, models.UNet(3, (3, 4)), {"x": PIXELS, "y": np.ones((2, 8, 8), int)}
    ),
    "detection": lambda: taught(
        tasks.detection,
        models.Detector(2, (2,), layers=1),
        {"x": PIXELS, "boxes": np.full((2, 1, 4), [1, 1, 5, 5], np.float32), "labels": np.ones((2, 1), int)},
    ),
    "ctc": lambda: taught(
        tasks.ctc,
        models.AcousticModel(6, channels=2, widths=(3,)),
        {"x": PIXELS[..., 0], "length": np.array([8, 7]), "y": np.ones((2, 1), np.int32)},
        stride=2,
    ),
    "density": lambda: taught(
        tasks.conditional_density,
        models.MixtureDensity(MLP, targets=2, components=2),
        {"x": X, "y": X[:, :2]},
    ),
    "reconstruction": lambda: taught(
        tasks.reconstruction,
        models.Autoencoder(MLP, models.MLP((4,), 8)),
        UNIT,
        penalty=functools.partial(tasks.l1_penalty, factor=0.1),
    ),
    "variational": lambda: taught(
        tasks.variational, models.VAE(models.MLP((4,), 4), models.MLP((4,), 8)), UNIT, samples=2
    ),
    "quantisation": lambda: taught(
        tasks.vector_quantisation,
        models.VQVAE(MLP, models.VectorQuantiser(4, 0.9), models.MLP((4,), 8), width=2),
        UNIT,
    ),
    "diffusion": lambda: taught(
        tasks.diffusion, models.DiT(2, 8, 1, 2, classes=3), {"x": PIXELS, "y": Y}, label_dropout=0.1
    ),
    "contrastive": lambda: taught(
        tasks.contrastive,
        models.WithHead(MLP, models.MLP((4,), 3)),
        LABELLED,
        augment=data.gaussian_noise(scale=0.1),
    ),
    "clip": lambda: taught(
        tasks.clip, models.DualEncoder(MLP, models.MLP((4,), 3), 3), {"x": X, "y": X}, batch_size=2
    ),
    "metric learning": lambda: taught(tasks.metric_learning, MLP, LABELLED),
    "arcface": lambda: taught(tasks.arcface, models.WithHead(MLP, models.CosineHead(3)), LABELLED),
    "language": lambda: taught(
        tasks.language_modelling, models.gpt2(9, length=4, **SMALL), {"x": TEXT, "y": TEXT}
    ),
    "masked language": lambda: taught(
        tasks.masked_language_modelling,
        models.MaskedLanguageModel(models.bert(9, length=4, **SMALL)),
        {"x": TEXT},
        mask_token=8,
        vocabulary=8,
    ),
    "recurrent encoder and decoder": lambda: translated(models.Seq2Seq(9, 9, 4)),
    "t5": lambda: translated(models.t5(9, width=8, layers=1, heads=2, head_width=4, hidden=8)),
    "adversarial": lambda: game(models.MLPGenerator((4,), (8,), norm=batch_norm), SPECTRAL),
    "adversarial with labels": lambda: game(
        models.Conditional(models.MLPGenerator((4,), (8,)), 3),
        models.Conditional(SPECTRAL, 3),
        conditional=True,
        penalty=1.0,
    ),
    "self-play": lambda: tasks.self_play(
        tasks.games.tic_tac_toe(),
        models.MixedPrecision(models.PolicyValue(models.BoardTower(4, 1), 9, hidden=4)),
        tasks.reinforce(),
        optax.sgd(0.1),
        {"random": tasks.games.uniform},
        steps=1,
        moves=9,
        games=2,
        evaluation_games=2,
    ),
}


@pytest.mark.parametrize("name", TASKS)
def test_every_task_takes_it_and_keeps_float32(name):
    """A step and an evaluation, of which only shapes and types are computed."""
    experiment = TASKS[name]()
    learner, source = experiment.learner, experiment.train
    batch = jax.eval_shape(source.batch, source.arrays, jnp.int32(0), KEY)
    state = jax.eval_shape(learner.init, KEY)
    following, values = jax.eval_shape(learner.step, state, batch, KEY)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), following) == jax.tree.map(
        lambda a: (a.shape, a.dtype), state
    )
    test = experiment.evaluation["test"]
    batch = jax.eval_shape(test.batch, test.arrays, jnp.int32(0), KEY)
    values = [values, jax.eval_shape(learner.evaluate, state, batch, jax.random.key(0))]
    floats = [leaf for leaf in jax.tree.leaves([state, values]) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    assert floats and all(leaf.dtype == jnp.float32 for leaf in floats)


@pytest.mark.medium
@pytest.mark.parametrize("model", [models.gpt2(9, length=6, **SMALL), models.Seq2Seq(9, 9, 4)])
def test_a_cache_gives_the_text_that_reading_all_again_gives(model):
    source = None if isinstance(model, models.LanguageModel) else jnp.asarray(TEXT)
    mixed = models.MixedPrecision(model)
    variables = jax.jit(mixed.init)(KEY, *([] if source is None else [source]), jnp.asarray(TEXT))

    prompt = jnp.asarray(TEXT[:, :2])

    def text(reader):
        reader, choose = reader(mixed, variables, source), tasks.generation.greedy
        return jax.jit(lambda: tasks.generation.generate(reader, prompt, KEY, length=4, choose=choose))()

    np.testing.assert_array_equal(text(tasks.generation.cached), text(tasks.generation.uncached))


@pytest.mark.medium
def test_times_are_not_rounded():
    """1000 times a time is an angle: one of bfloat16 would be wrong by turns."""
    model = models.DiffusionMLP((8,))
    mixed, x = models.MixedPrecision(model), jnp.ones((2, 3))
    times = jnp.array([0.7001, 0.7012])  # one number in bfloat16
    variables = jax.jit(mixed.init)(KEY, x, times)
    params = jax.tree.map(jnp.ones_like, variables["params"])
    out = mixed.apply({"params": params}, x, times)
    assert np.abs(out[0] - out[1]).max() > 0
