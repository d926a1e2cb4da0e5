"""Does a deep net without a nonlinearity compute more than one linear layer?

Elementary algebra says no: a product of matrices is a matrix (Saxe et al. 2014, Exact solutions to the
nonlinear dynamics of learning in deep linear neural networks, sec. 1). On MNIST-1D, which is made to need a
nonlinearity, 32 % against 68 % (Greydanus 2020, Scaling down Deep Learning, table 1; others get 62 to 66 %).

Nets of 64 units a layer learn it. Each is also held against the affine map that agrees with it at 0 and at
the unit vectors: `residual` is the size of the difference over that of the outputs. The control of the gain
is scikit-learn's digits, for which a linear classifier is good enough. Each arm has the learning rate that
is best on validation for 4 seeds; others judge.

Against it: the functions are the same, what is learned need not be (Saxe et al.: another path; Arora et al.
2019, Implicit Regularization in Deep Matrix Factorization: depth prefers low rank). So matrices of 16 x 16
are to be restored from half of their entries, as one matrix or as the product of three that start small;
the control is a matrix of full rank, where low rank is no help.

    fdl sweep experiments/nonlinearity.py

2 minutes of CPU time. Two pilots came before, with seeds 500 to 505 and 600 to 608; after the first, batches
of 64 instead of 100, and 1,000 instead of 1,500 updates of a matrix. No threshold changed.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import fdl
from fdl import data, metrics, models, rng, tasks

SIZE, STEPS = 16, 1000


def identity(x):
    """No nonlinearity."""
    return x


@fdl.config
class Config:
    task: str = fdl.static("signals")
    """"signals" (MNIST-1D), "digits", or "matrix": completion"""
    depth: int = fdl.static(0, low=0)
    """hidden layers; 0 is logistic regression, or one matrix"""
    activation: Callable = identity
    """between the layers"""
    rank: int = fdl.static(2, low=1)
    """of the matrix"""
    lr: float = fdl.traced(1e-3, low=0.0)
    """Adam's learning rate"""


def experiment(config: Config) -> fdl.Experiment:
    return completion(config) if config.task == "matrix" else classification(config)


def classification(config: Config) -> fdl.Experiment:
    splits = data.digits() if config.task == "digits" else data.synthetic.mnist1d()
    model = models.MLP((64,) * config.depth, 10, activation=config.activation)
    made = tasks.classification(
        model, splits, optax.adam(config.lr), steps=400, batch_size=64, evaluate_every=400
    )
    plain = made.learner.evaluate

    def evaluate(state: Any, batch: Any, key: jax.Array) -> Any:
        x = batch["x"].reshape(len(batch["y"]), -1)
        at = jnp.concatenate([x, jnp.eye(x.shape[1]), jnp.zeros((1, x.shape[1]))])
        found: Any = model.apply({"params": state.params}, at.reshape(-1, *batch["x"].shape[1:]))
        y, units, zero = found[: len(x)], found[len(x) : -1], found[-1]
        apart = jnp.linalg.norm(zero + x @ (units - zero) - y, axis=1) / jnp.linalg.norm(y, axis=1)
        return {**plain(state, batch, key), "residual": metrics.mean(apart, batch["weight"])}

    return made._replace(learner=made.learner._replace(evaluate=evaluate))


def completion(config: Config) -> fdl.Experiment:
    """A matrix that every seed draws, from half of its entries; a quarter each is validation and test."""
    optimizer = optax.adam(optax.cosine_decay_schedule(config.lr, STEPS))

    def init(key: jax.Array) -> Any:
        normal = functools.partial(jax.random.normal, shape=(2, SIZE, config.rank))
        left, right = normal(rng.stream(key, "matrix"))
        part = jax.random.permutation(rng.stream(key, "entries"), jnp.arange(SIZE**2) % 4)
        scale = 0.02 if config.depth == 0 else 0.05
        factors = scale * jax.random.normal(rng.stream(key, "factors"), (config.depth + 1, SIZE, SIZE))
        target = left @ right.T / jnp.sqrt(config.rank)
        return factors, optimizer.init(factors), (target, part.reshape(SIZE, SIZE))

    def mean_square(factors: jax.Array, task: Any, which: jax.Array) -> jax.Array:
        found = functools.reduce(jnp.matmul, factors)
        return jnp.sum(which * (found - task[0]) ** 2) / jnp.sum(which)

    def step(state: Any, batch: Any, key: jax.Array) -> Any:
        factors, optimized, task = state
        value, gradient = jax.value_and_grad(mean_square)(factors, task, task[1] < 2)
        updates, optimized = optimizer.update(gradient, optimized)
        return (factors + updates, optimized, task), {"loss": value}

    def evaluate(state: Any, batch: Any, key: jax.Array) -> Any:
        return {"error": metrics.mean(mean_square(state[0], state[2], state[2][1] == batch["part"][0])[None])}

    parts = {
        name: data.sequential({"part": np.array([part])}, batch_size=1)
        for name, part in (("validation", 2), ("test", 3))
    }
    return fdl.Experiment(fdl.Learner(init, step, evaluate), parts["test"], parts, STEPS, STEPS)


def arms(task: str, lr: tuple[float, ...], **fields: Any) -> fdl.Sweep:
    return fdl.grid(Config(), task=(task,), lr=lr, **fields, seeds=20)


RATES = (3e-3, 1e-2, 3e-2)
SWEEP = (
    arms("signals", RATES, depth=(0, 2, 4))
    + arms("signals", RATES, depth=(2,), activation=(nn.relu,))
    + arms("digits", RATES, depth=(2,), activation=(identity, nn.relu))
    + arms("matrix", RATES, depth=(0, 2), rank=(2, SIZE))
)


def affine(result: fdl.Result, **net: Any) -> fdl.Verdict:
    """Whether a net that has learned is an affine map, but for rounding."""
    options = {"threshold": 1e-5, "better": "lower", "at_least": 0.8, "arms": "depth"}
    own = result.where(task="signals", lr=1e-2, **net)
    return fdl.compare_rates(own, metric="test/residual", **options).verdict


def no_better(result: fdl.Result) -> fdl.Verdict:
    """Whether linear nets of any depth read signals as logistic regression does."""
    own = result.where(task="signals", activation=identity).best("lr", by="validation/accuracy", seeds=4)
    return fdl.compare(own, metric="test/accuracy", arms="depth", baseline=0, equivalent=0.04).verdict


def gains(result: fdl.Result, task: str) -> fdl.Verdict:
    """What ReLU adds to the accuracy of a net of two hidden layers."""
    own = result.where(task=task, depth=2).best("lr", by="validation/accuracy", seeds=4)
    options = {"arms": "activation", "baseline": identity, "at_least": 0.2}
    return fdl.compare(own, metric="test/accuracy", **options).verdict


def restores(result: fdl.Result, rank: int) -> fdl.Verdict:
    """Whether three matrices restore the entries that are missing better than one."""
    own = result.where(task="matrix", rank=rank)
    own = own.best("lr", by="validation/error", better="lower", seeds=4)
    options = {"arms": "depth", "baseline": 0, "better": "lower", "at_least": 0.5}
    return fdl.compare(own, metric="test/error", **options).verdict


CLAIMS = (
    fdl.Claim(
        "F1.1",
        "Without a nonlinearity a net of four hidden layers that has learned is an affine map, within 1e-5.",
        functools.partial(affine, activation=identity, depth=4),
        control=functools.partial(affine, activation=nn.relu, depth=2),
        published="the product of matrices is a matrix (algebra)",
    ),
    fdl.Claim(
        "F1.2",
        "Two and four hidden layers without it read signals as logistic regression does, within 4 points.",
        no_better,
        published="32 % of logistic regression on MNIST-1D (Greydanus 2020, table 1)",
    ),
    fdl.Claim(
        "F1.3",
        "ReLU adds at least 20 points.",
        functools.partial(gains, task="signals"),
        control=functools.partial(gains, task="digits"),
        published="32 % to 68 % on MNIST-1D (Greydanus 2020, table 1)",
    ),
    fdl.Claim(
        "F1.4",
        "Depth does change what is learned: three matrices restore one of rank 2 with an error less by 0.5.",
        functools.partial(restores, rank=2),
        control=functools.partial(restores, rank=SIZE),
        published="depth prefers low rank (Arora et al. 2019)",
    ),
)


def figure(result: fdl.Result) -> Figure:
    """Accuracies by depth, and how well matrices are restored."""
    drawing = Figure(figsize=(6.4, 2.8), layout="constrained")
    left, right = drawing.subplots(1, 2)
    signals = result.where(task="signals").best("lr", by="validation/accuracy", seeds=4).last()
    kinds = (("identity", 0), ("identity", 2), ("identity", 4), ("relu", 2))
    for place, (activation, depth) in enumerate(kinds):
        own = signals[(signals["activation"] == activation) & (signals["depth"] == depth)]
        left.plot([place] * len(own), own["test/accuracy"], "o", color="#2f7fc1", alpha=0.4)
    left.set_xticks(range(4), ["logistic", "linear,\n2 hidden", "linear,\n4 hidden", "ReLU,\n2 hidden"])
    left.set(ylim=(0, 1), ylabel="test accuracy (MNIST-1D)")
    for place, (depth, rank) in enumerate(itertools.product((0, 2), (2, SIZE))):
        own = result.where(task="matrix", depth=depth, rank=rank)
        errors = own.best("lr", by="validation/error", better="lower", seeds=4).last()["test/error"]
        right.plot([place] * len(errors), errors, "o", color="#c1582f", alpha=0.4)
    labels = [f"{count},\nrank {rank}" for count in ("one", "three") for rank in (2, SIZE)]
    right.set_xticks(range(4), labels)
    right.set(ylim=(0, None), ylabel="error at missing entries", xlabel="matrices")
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    return drawing
