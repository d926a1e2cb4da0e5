"""What does an autoencoder find that principal components do not?

Baldi and Hornik 1989, Neural Networks and Principal Component Analysis: a linear autoencoder's best solution
is the subspace of the first principal components. Hinton and Salakhutdinov 2006, Reducing the Dimensionality
of Data with Neural Networks: a deep one's codes of a few numbers keep much more. Vincent et al. 2008: trained
to give back what was there before noise, it removes noise. Here of scikit-learn's digits, pixels from 0 to 1,
codes have two numbers, and noise has the deviation 0.3. Each net has the best of three learning rates, by
validation of 4 seeds; 32 others judge. *ratio* is the squared error on test over that of as many principal
components of the same train images; *pca* and *wiener* are, for what is noisy, those over the errors of the
number of components that is best on the test images themselves, and of the best linear filter (Wiener's).

Against it: a linear one finds the subspace, not the components, which are not orthogonal; and decoding random
codes gives poor samples, as nothing shapes their distribution (that is what a variational one is for).

    fdl sweep experiments/autoencoder.py

About 3 minutes on 2 shared cores. After a pilot of 5 other seeds only the control without noise was added.
A first run had 20 seeds that judge: of 20 successes in 20 a rate of 0.8 is not shown once for five claims
(Holm), so that four claims could not end but INCONCLUSIVE, as they did. Only the number of seeds was changed.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import fdl
from fdl import data, metrics, models, tasks

CODE, NOISE = 2, 0.3


@fdl.config
class Config:
    kind: str = "linear"
    """linear, deep, denoising, whose code is not narrow, or wide, the same net without noise to learn from"""
    lr: float = fdl.traced(3e-3, low=0.0)
    """Adam's learning rate at first; it falls to 0 as a cosine"""
    steps: int = fdl.static(1000, low=1)
    """updates of 64 images each"""


@functools.cache
def digits() -> data.Splits:
    """The images less the mean of train, pixels one after another."""
    flat = [part["x"].reshape(-1, 64).astype(np.float32) / 16 for part in data.digit_images()[:3]]
    train, validation, test = ({"x": one - flat[0].mean(axis=0)} for one in flat)
    return data.Splits(train, validation, test)


@functools.cache
def components() -> tuple[np.ndarray, np.ndarray]:
    """The principal components of train `[64, 64]`, one a column, and the variances along them."""
    train = digits().train["x"].astype(np.float64)
    variances, axes = np.linalg.eigh(train.T @ train / len(train))
    return axes[:, ::-1].astype(np.float32), variances[::-1].astype(np.float32)


def net(kind: str) -> models.Autoencoder:
    """The autoencoder of each kind."""
    if kind in ("denoising", "wide"):
        return models.Autoencoder(models.MLP((), 128), models.MLP((), 64), activation=jax.nn.relu)
    hidden = (64, 32) if kind == "deep" else ()
    return models.Autoencoder(models.MLP(hidden, CODE), models.MLP(hidden[::-1], 64))


def angle(basis: jax.Array) -> jax.Array:
    """In degrees, no less than the largest angle between the span of rows `[2, 64]` and the first two
    components."""
    first = basis[0] / jnp.linalg.norm(basis[0])
    second = basis[1] - (basis[1] @ first) * first
    found = jnp.stack([first, second / jnp.linalg.norm(second)])
    beyond = CODE - jnp.sum(jnp.square(found @ components()[0][:, :CODE]))
    return jnp.degrees(jnp.arcsin(jnp.sqrt(jnp.clip(beyond, 0, 1))))


def experiment(config: Config) -> fdl.Experiment:
    model, noisy = net(config.kind), config.kind in ("denoising", "wide")
    axes, variances = components()
    optimizer = optax.adam(optax.cosine_decay_schedule(config.lr, config.steps))
    made = tasks.reconstruction(
        model,
        digits(),
        optimizer,
        corrupt=data.gaussian_noise(scale=NOISE) if config.kind == "denoising" else None,
        steps=config.steps,
        evaluate_every=config.steps,
    )

    def evaluate(state: tasks.State, batch: Any, key: jax.Array) -> Any:
        clean = batch["x"]
        seen = clean + NOISE * noisy * jax.random.normal(key, clean.shape)

        def error(given: Any) -> jax.Array:
            return jnp.mean(jnp.square(jnp.asarray(given) - clean))

        own, along = error(model.apply({"params": state.params}, seen)), seen @ axes
        kept = jnp.stack([error(along[:, :k] @ axes[:, :k].T) for k in range(2, 41, 2)])
        filtered = error((along * variances / (variances + NOISE**2)) @ axes.T)
        told = {"loss": own, "ratio": own / kept[0], "pca": own / kept.min(), "wiener": own / filtered}
        found = {name: metrics.mean(one) for name, one in told.items()}
        if config.kind != "linear":  # there is no plane
            return {**found, "angle": metrics.Mean(jnp.zeros(()), jnp.zeros(()))}
        return {**found, "angle": metrics.mean(angle(decoder_of(state.params)))}

    return made._replace(learner=made.learner._replace(evaluate=evaluate))


def decoder_of(params: Any) -> jax.Array:
    """A linear decoder's matrix `[2, 64]`."""
    (matrix,) = [leaf for leaf in jax.tree.leaves(params) if leaf.shape == (CODE, 64)]
    return matrix


KINDS = ("linear", "deep", "denoising")
SWEEP = fdl.grid(Config(), kind=KINDS, lr=(3e-3, 1e-2, 3e-2), seeds=36)
SWEEP += fdl.grid(Config(), kind=("linear",), steps=(10,), lr=(3e-3, 1e-2, 3e-2), seeds=36)
SWEEP += fdl.grid(Config(), kind=("wide",), lr=(1e-2,), seeds=36)


def tuned(result: fdl.Result, *kinds: str, steps: int = 1000) -> fdl.Result:
    """Nets at the learning rate that their validation chose."""
    own = result.where(kind=list(kinds), steps=steps)
    return own.best("lr", by="validation/loss", better="lower", seeds=4)


def within(result: fdl.Result, kind: str, metric: str, at_most: float, steps: int = 1000) -> fdl.Verdict:
    """Whether a measure is at most this in four of five runs."""
    options = {"threshold": at_most, "better": "lower", "at_least": 0.8, "arms": "kind"}
    return fdl.compare_rates(tuned(result, kind, steps=steps), metric=f"test/{metric}", **options).verdict


def keeps_more(result: fdl.Result) -> fdl.Verdict:
    """Whether a deep one has a quarter less error than a linear one, in units of principal components."""
    options = {"arms": "kind", "baseline": "linear", "better": "lower", "at_least": 0.25}
    return fdl.compare(tuned(result, "linear", "deep"), metric="test/ratio", **options).verdict


CLAIMS = (
    fdl.Claim(
        "A7.1",
        "A linear one of two numbers errs as two principal components do, within 2 %.",
        functools.partial(within, kind="linear", metric="ratio", at_most=1.02),
        control=functools.partial(within, kind="linear", metric="ratio", at_most=1.02, steps=10),
        published="the same subspace (Baldi and Hornik 1989)",
    ),
    fdl.Claim(
        "A7.2",
        "It finds their plane, within 5 degrees.",
        functools.partial(within, kind="linear", metric="angle", at_most=5.0),
        control=functools.partial(within, kind="linear", metric="angle", at_most=5.0, steps=10),
    ),
    fdl.Claim("A7.3", "A deep one errs less, by a quarter of their error.", keeps_more),
    fdl.Claim(
        "A7.4",
        "A denoising one errs at most 0.85 times as much as the best number of components.",
        functools.partial(within, kind="denoising", metric="pca", at_most=0.85),
        control=functools.partial(within, kind="wide", metric="pca", at_most=0.85),
    ),
    fdl.Claim(
        "A7.5",
        "It errs at most 0.85 times as much as the best linear filter.",
        functools.partial(within, kind="denoising", metric="wiener", at_most=0.85),
        control=functools.partial(within, kind="wide", metric="wiener", at_most=0.85),
    ),
)
