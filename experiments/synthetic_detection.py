"""Does what detects one generator's images detect another's?

Rössler et al. 2019, FaceForensics++: a net tells manipulated faces from real ones in 99 % of cases, of
generators that it was trained on. A variational autoencoder and a diffusion model learn 900 of the digits
of scikit-learn; a perceptron is to tell 450 other digits from as many samples of one of them, and is judged
by 447 further digits and fresh samples. Samples are rounded to the 17 grey levels that digits have, which
would else give them away. *auroc_vae* and *auroc_diffusion* are the areas under the curve of these digits
against either's samples. The control is a detector of digits against digits; *auroc_real* is what a
detector says of two halves of real ones.

Against it: Wang et al. 2020, CNN-Generated Images Are Surprisingly Easy to Spot... for Now, and Zhang et
al. 2019, Detecting and Simulating Artifacts in GAN Fake Images: what a detector learns is often one
generator's own marks, and others pass, where it was not trained against that.

    fdl sweep experiments/synthetic_detection.py
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import fdl
from fdl import data, inspection, metrics, models, rng, tasks
from fdl.tasks import noise, samplers

LATENT, STEPS, WALK, DETECTED = 8, 1200, 20, 450
VAE = models.VAE(models.MLP((128,), 2 * LATENT), models.MLP((128,), 64))
DIFFUSION = models.DiffusionMLP((128, 128))
DETECTOR = models.MLP((64,), 2)


@fdl.config
class Config:
    learned: str = "vae"
    """what the detector tells from digits: samples of the vae, of the diffusion, or real, other digits"""
    lr: float = fdl.traced(2e-3, low=0.0)
    """Adam's learning rate of the generators"""


@functools.cache
def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of generators, of detectors, and for test: rows `[N, 64]` of whole numbers from 0 to 16."""
    images = [part["x"] for part in data.digit_images()[:3]]
    rows = np.concatenate(images).reshape(-1, 64).astype(np.float32)
    rows = rows[np.random.default_rng(0).permutation(len(rows))]
    first, second, third = np.split(rows, [900, 900 + DETECTED])
    return first, second, third


def rounded(levels: jax.Array) -> jax.Array:
    """The grey levels that real images have."""
    return jnp.clip(jnp.round(levels), 0, 16)


def samples(state: Any, key: jax.Array, count: int) -> dict[str, jax.Array]:
    """By generator so many rows `[count, 64]`."""
    latents = jax.random.normal(rng.stream(key, "latents"), (count, LATENT))
    logits: Any = VAE.apply({"params": state["vae"].params}, latents, method=VAE.decode)
    variables = {"params": state["diffusion"].params}
    denoise = samplers.denoiser(DIFFUSION, variables, schedule=noise.linear, prediction=noise.predict_noise)
    start = jax.random.normal(rng.stream(key, "noise"), (count, 64))
    found = samplers.ddim(denoise, start, schedule=noise.linear, steps=WALK)
    return {"vae": rounded(16 * jax.nn.sigmoid(logits)), "diffusion": rounded(8 * found + 8)}


def detector(real: jax.Array, fake: jax.Array, key: jax.Array) -> Any:
    """A perceptron's parameters that tells fake rows, class 1, from real ones: 300 updates by all rows."""
    x, y = jnp.concatenate([real, fake]) / 16, (jnp.arange(len(real) + len(fake)) >= len(real)).astype(int)
    params = DETECTOR.init(key, x[:1])["params"]
    optimizer = optax.adamw(3e-3, weight_decay=0.1)

    def loss(params: Any) -> jax.Array:
        logits: Any = DETECTOR.apply({"params": params}, x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    def update(carry: Any, _: None) -> tuple[Any, None]:
        params, moments = carry
        updates, moments = optimizer.update(jax.grad(loss)(params), moments, params)
        return (optax.apply_updates(params, updates), moments), None

    (params, _), _ = jax.lax.scan(update, (params, optimizer.init(params)), length=300)
    return params


def auroc(params: Any, real: jax.Array, fake: jax.Array) -> metrics.AllRows:
    """How well a detector tells rows apart."""
    logits: Any = DETECTOR.apply({"params": params}, jnp.concatenate([real, fake]) / 16)
    labels = jnp.concatenate([jnp.zeros(len(real), jnp.int32), jnp.ones(len(fake), jnp.int32)])
    return metrics.all_rows(metrics.area_under_roc, (logits[:, 1] - logits[:, 0], labels))


def experiment(config: Config) -> fdl.Experiment:
    own, seen, judged = digits()
    unit, centred = ({"x": one} for one in (own / 16, own / 8 - 1))
    learners = {
        "vae": tasks.variational_learner(VAE, data.Splits(unit, unit, unit), optax.adam(config.lr)),
        "diffusion": tasks.diffusion_learner(
            DIFFUSION, data.Splits(centred, centred, centred), optax.adam(config.lr)
        ),
    }

    def init(key: jax.Array) -> dict[str, Any]:
        return {name: one.init(rng.stream(key, name)) for name, one in learners.items()}

    def step(state: Any, batch: Any, key: jax.Array) -> tuple[Any, dict[str, Any]]:
        rows = {"vae": {"x": batch["x"] / 16}, "diffusion": {"x": batch["x"] / 8 - 1}}
        made = {name: one.step(state[name], rows[name], key) for name, one in learners.items()}
        found = {f"loss_{name}": one[1]["loss"] for name, one in made.items()}
        return {name: one[0] for name, one in made.items()}, found

    def evaluate(state: Any, batch: Any, key: jax.Array) -> dict[str, Any]:
        fake = {**samples(state, rng.stream(key, "seen"), DETECTED), "real": jnp.asarray(own[:DETECTED])}
        params = detector(jnp.asarray(seen), fake[config.learned], rng.stream(key, "detector"))
        real = batch["x"]
        fresh = samples(state, rng.stream(key, "fresh"), len(real))
        found = {f"auroc_{name}": auroc(params, real, rows) for name, rows in fresh.items()}
        return {**found, "auroc_real": auroc(params, real[::2], real[1::2])}

    def inspect(state: Any, key: jax.Array) -> dict[str, inspection.Image]:
        made = {**samples(state, key, 16), "real": jnp.asarray(judged[:16])}
        return {name: inspection.Image(rows.reshape(-1, 8, 8, 1) / 16) for name, rows in made.items()}

    learner = fdl.Learner(init, step, evaluate, ("loss_vae", "loss_diffusion"))
    test = fdl.Source({"x": judged}, lambda arrays, step, key: arrays, 1)
    source = data.shuffled({"x": own}, batch_size=100)
    return fdl.Experiment(learner, source, {"test": test}, steps=STEPS, evaluate_every=STEPS, inspect=inspect)


SWEEP = fdl.grid(Config(), learned=("vae", "diffusion", "real"), seeds=8)


def more(result: fdl.Result, on: str, learned: str, baseline: str, at_least: float) -> fdl.Verdict:
    """Whether a detector tells one kind of rows by so much better than another detector does."""
    some = result.where(learned=[learned, baseline])
    options = {"arms": "learned", "baseline": baseline, "at_least": at_least}
    return fdl.compare(some, metric=f"test/auroc_{on}", **options).verdict


CLAIMS = (
    fdl.Claim(
        "R3.1",
        "It detects the generator that it learned: an area of 0.3 more than that of a detector of digits.",
        functools.partial(more, on="vae", learned="vae", baseline="real", at_least=0.3),
        control=functools.partial(more, on="real", learned="vae", baseline="real", at_least=0.3),
        published="99.3 % of raw videos (Rössler et al. 2019)",
    ),
    fdl.Claim(
        "R3.2",
        "It detects a generator that it has not seen: 0.3 more too, of the diffusion model.",
        functools.partial(more, on="diffusion", learned="vae", baseline="real", at_least=0.3),
        control=functools.partial(more, on="real", learned="vae", baseline="real", at_least=0.3),
    ),
    fdl.Claim(
        "R3.3",
        "It loses at least 0.15 there, against the detector that learned the diffusion model.",
        functools.partial(more, on="diffusion", learned="diffusion", baseline="vae", at_least=0.15),
        control=functools.partial(more, on="real", learned="diffusion", baseline="vae", at_least=0.15),
    ),
    fdl.Claim(
        "R3.4",
        "The other way round too: that which learned the diffusion model loses 0.15 on the autoencoder.",
        functools.partial(more, on="vae", learned="vae", baseline="diffusion", at_least=0.15),
        control=functools.partial(more, on="real", learned="vae", baseline="diffusion", at_least=0.15),
    ),
)
