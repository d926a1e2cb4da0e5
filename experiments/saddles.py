"""Are critical points of high loss saddles, and those of low loss alike?

Dauphin et al. 2014, Identifying and Attacking the Saddle Point Problem, fig. 1: the more directions go down
from a critical point, its index, the higher its loss; so that what has no way down is about as good as it
gets. Choromanska et al. 2015, The Loss Surfaces of Multilayer Networks, say the latter of large nets. Against
it: Safran and Shamir 2018, Spurious Local Minima Are Common in Two-Layer ReLU Neural Networks, for small
ones; and Frye et al. 2021, Critical Point-Finding Methods Reveal Gradient-Flat Regions: most of what such a
search ends in has a small gradient, but is no critical point. So the share that is near one is told.

A net of three tanh units, 61 parameters, is to give 200 of scikit-learn's digits, by their first six principal
components, the one-hot code of their class, with squared error. From where gradient descent passes, moved by
noise, damped Newton steps on the squared norm of the gradient go to critical points of any kind. What counts
has a gradient below 1e-4, a thousandth or less of that at the start; the Hessian is exact, in float32. That
saddles slow learning down is another claim, and not tried.

    fdl sweep experiments/saddles.py
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.flatten_util import ravel_pytree

import fdl
from fdl import analysis, data, metrics, models, rng, stats

POINTS, NEAR = 24, 1e-4


@fdl.config
class Config:
    noise: float = fdl.traced(0.3, low=0.0)
    """standard deviation of what moves a point of the descent"""


class Search(NamedTuple):
    """Where the points are, `[K, P]`, and the damping of each, `[K]`."""

    at: jax.Array
    damping: jax.Array


@functools.cache
def rows() -> dict[str, np.ndarray]:
    """200 digits as six principal components of variance 1, and their classes."""
    train = data.digits().train
    x = train["x"][:200] - train["x"][:200].mean(0)
    return {
        "x": np.sqrt(200).astype(np.float32) * np.linalg.svd(x, full_matrices=False)[0][:, :6],
        "y": train["y"][:200],
    }


MODEL = models.MLP((3,), 10, activation=nn.tanh)


def loss(variables: Any, batch: Any) -> jax.Array:
    return jnp.mean((MODEL.apply(variables, batch["x"]) - jax.nn.one_hot(batch["y"], 10)) ** 2)


def flat_loss(batch: Any) -> tuple[Any, Any]:
    """The loss of parameters as one vector, and back from it to variables."""
    start, back = ravel_pytree(MODEL.init(jax.random.key(0), batch["x"]))
    del start
    return lambda at: loss(back(at), batch), back


def drawn(batch: Any, key: jax.Array, *, steps: jax.Array, noise: jax.Array) -> jax.Array:
    """Parameters after so many of 400 steps of gradient descent, and noise."""
    of_flat, _ = flat_loss(batch)
    at, _ = ravel_pytree(MODEL.init(rng.stream(key, "init"), batch["x"]))

    def descend(at: jax.Array, count: jax.Array) -> tuple[jax.Array, None]:
        return at - jnp.where(count < steps, 1.0, 0.0) * jax.grad(of_flat)(at), None

    at, _ = jax.lax.scan(descend, at, jnp.arange(400))
    return at + noise * jax.random.normal(rng.stream(key, "noise"), at.shape)


def newton(of_flat: Any, at: jax.Array, damping: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A step of Levenberg and Marquardt on the gradient's squared norm, taken where this falls."""
    gradient, hessian = jax.grad(of_flat)(at), jax.hessian(of_flat)(at)
    square = hessian @ hessian + damping * jnp.eye(len(at))
    there = at - jnp.linalg.solve(square, hessian @ gradient)
    better = jnp.linalg.norm(jax.grad(of_flat)(there)) < jnp.linalg.norm(gradient)
    return jnp.where(better, there, at), jnp.clip(jnp.where(better, damping / 4, damping * 4), 1e-9, 1.0)


def correlation(a: jax.Array, b: jax.Array, weight: jax.Array) -> jax.Array:
    """Spearman's, of the entries that count."""

    def centred(values: jax.Array) -> jax.Array:
        below = jnp.sign(values[:, None] - values[None, :]) @ weight
        return below - jnp.sum(below * weight) / jnp.sum(weight)

    a, b = centred(a), centred(b)
    both, own = jnp.sum(weight * a * b), jnp.sum(weight * a**2) * jnp.sum(weight * b**2)
    return both / jnp.sqrt(own)


def spread(losses: jax.Array, chosen: jax.Array) -> jax.Array:
    """From the least to the largest of those chosen."""
    return jnp.max(jnp.where(chosen, losses, -jnp.inf)) - jnp.min(jnp.where(chosen, losses, jnp.inf))


def experiment(config: Config) -> fdl.Experiment:
    source = fdl.Source(rows(), lambda arrays, step, key: arrays, 1)

    def init(key: jax.Array) -> Search:
        batch, steps = jax.tree.map(jnp.asarray, rows()), jnp.linspace(0, 400, POINTS)
        start = functools.partial(drawn, batch, noise=config.noise)
        at = jax.vmap(lambda key, steps: start(key, steps=steps))(jax.random.split(key, POINTS), steps)
        return Search(at, jnp.full(POINTS, 1e-3))

    def step(state: Search, batch: Any, key: jax.Array) -> tuple[Search, dict[str, jax.Array]]:
        del key
        of_flat, _ = flat_loss(batch)
        after = Search(*jax.vmap(functools.partial(newton, of_flat))(*state))
        return after, {"loss": jnp.mean(jax.vmap(of_flat)(after.at))}

    def evaluate(state: Search, batch: Any, key: jax.Array) -> dict[str, Any]:
        of_flat, back = flat_loss(batch)
        found = {
            "": state.at,
            "random_": jnp.std(state.at, 1, keepdims=True) * jax.random.normal(key, state.at.shape),
        }
        told = {"zero": jnp.zeros(())}
        for name, at in found.items():
            points = jax.vmap(lambda at: analysis.critical_point(loss, back(at), batch))(at)
            losses = jax.vmap(of_flat)(at)
            counts = (points.gradient < NEAR) | bool(name)
            told[f"{name}correlation"] = correlation(points.negative, losses, counts.astype(jnp.float32))
            if not name:
                low = counts & (points.negative <= 0.05)
                some = counts & (jnp.cumsum(counts) <= jnp.sum(low))
                told |= {"critical": jnp.mean(counts), "low": jnp.sum(low), "spread": jnp.float32(1)}
                told |= {"spread_low": spread(losses, low) / spread(losses, counts)}
                told |= {"spread_some": spread(losses, some) / spread(losses, counts)}
        return {name: metrics.mean(jnp.asarray(value, jnp.float32)[None]) for name, value in told.items()} | {
            "loss": metrics.mean(losses)
        }

    learner = fdl.Learner(init, step, evaluate)
    return fdl.Experiment(learner, source, {"rows": source}, steps=150, evaluate_every=150)


SWEEP = fdl.grid(Config(), seeds=10)
