"""Are critical points of high loss saddles, and those of low loss alike?

Dauphin et al. 2014, Identifying and Attacking the Saddle Point Problem, fig. 1: the more directions go down
from a critical point, its index, the higher its loss. Choromanska et al. 2015, The Loss Surfaces of
Multilayer Networks: minima of large nets are about equally good. Against it, for small nets: Safran and
Shamir 2018, Spurious Local Minima Are Common in Two-Layer ReLU Neural Networks; and Frye et al. 2021,
Critical Point-Finding Methods Reveal Gradient-Flat Regions: much of what such a search ends in has a small
gradient, but is no critical point. So the share of points that are near one is told, as `critical`.

A net of three tanh units, 61 parameters, is to give 200 of scikit-learn's digits, by their first six
principal components, the one-hot code of their class, with squared error. From where gradient descent passes,
moved by noise, Newton's method goes to critical points of any kind. What counts has a gradient below 1e-5;
the Hessian is exact, in float32. The controls: weights that are drawn at random, of the same size; and as
many points as there are low ones, whatever their index. That saddles slow learning down is another claim, and
not tried.

    fdl sweep experiments/saddles.py --mesh population=1

2.3 minutes of CPU time. On two devices it hangs, see docs/howto/inside.md.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.flatten_util import ravel_pytree

import fdl
from fdl import analysis, data, metrics, models, rng, stats

POINTS, NEAR, PENALTY = 24, 1e-5, 1e-3


@fdl.config
class Config:
    noise: float = fdl.traced(0.3, low=0.0)
    """the largest standard deviation of what moves a point of the descent"""


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
    """Half the squared error of a row, and a small penalty: without it many points go to infinity."""
    outputs: Any = MODEL.apply(variables, batch["x"])
    error = outputs - jax.nn.one_hot(batch["y"], 10)
    squares = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(variables))
    return jnp.mean(jnp.sum(error**2, axis=1)) / 2 + PENALTY / 2 * squares


def flat_loss(batch: Any) -> tuple[Any, Any]:
    """The loss of parameters as one vector, and back from it to variables."""
    _, back = ravel_pytree(MODEL.init(jax.random.key(0), batch["x"]))
    return lambda at: loss(back(at), batch), back


def drawn(batch: Any, key: jax.Array, *, steps: jax.Array, noise: float | jax.Array) -> jax.Array:
    """Parameters after so many of 1,000 steps of gradient descent, and noise of any strength up to one."""
    of_flat, _ = flat_loss(batch)
    start: Any = MODEL.init(rng.stream(key, "init"), batch["x"])
    at, _ = ravel_pytree(start)

    def descend(at: jax.Array, count: jax.Array) -> tuple[jax.Array, None]:
        return at - jnp.where(count < steps, 0.2, 0.0) * jax.grad(of_flat)(at), None

    at, _ = jax.lax.scan(descend, at, jnp.arange(1000))
    strength = noise * jax.random.uniform(rng.stream(key, "strength"))
    return at + strength * jax.random.normal(rng.stream(key, "noise"), at.shape)


def newton(of_flat: Any, at: jax.Array) -> jax.Array:
    """A step of Newton's method, which goes to critical points of any kind, not longer than 0.3."""
    gradient, hessian = jax.grad(of_flat)(at), jax.hessian(of_flat)(at)
    step = jnp.linalg.solve(hessian, gradient)
    return at - step * jnp.minimum(1, 0.3 / jnp.linalg.norm(step))


def correlation(a: jax.Array, b: jax.Array, weight: jax.Array) -> jax.Array:
    """Spearman's, of the entries that count."""

    def centred(values: jax.Array) -> jax.Array:
        below = jnp.sign(values[:, None] - values[None, :]) @ weight
        return below - jnp.sum(below * weight) / jnp.sum(weight)

    a, b = centred(a), centred(b)
    both, own = jnp.sum(weight * a * b), jnp.sum(weight * a**2) * jnp.sum(weight * b**2)
    return both / jnp.sqrt(own)


def spread(losses: jax.Array, chosen: jax.Array) -> jax.Array:
    """From the least to the largest of those chosen; no number where there are not two."""
    largest, least = (jnp.where(chosen, losses, end) for end in (-jnp.inf, jnp.inf))
    return jnp.where(jnp.sum(chosen) > 1, jnp.max(largest) - jnp.min(least), jnp.nan)


def told(at: jax.Array, batch: Any, near: float | jax.Array = NEAR) -> dict[str, jax.Array]:
    """What holds of points `[K, P]`, of those whose gradient is smaller than `near`."""
    of_flat, back = flat_loss(batch)
    points = jax.vmap(lambda at: analysis.critical_point(loss, back(at), batch))(at)
    losses, counts = jax.vmap(of_flat)(at), points.gradient < near
    low = counts & (points.negative <= 0.05)
    some = counts & (jnp.cumsum(counts) <= jnp.sum(low))
    return {
        "loss": jnp.mean(losses),
        "critical": jnp.mean(counts),
        "low": jnp.mean(low),
        "correlation": correlation(points.negative, losses, counts.astype(jnp.float32)),
        "zero": jnp.zeros(()),
        "spread": jnp.ones(()),
        "spread_low": spread(losses, low) / spread(losses, counts),
        "spread_some": spread(losses, some) / spread(losses, counts),
    }


def experiment(config: Config) -> fdl.Experiment:
    source = fdl.Source(rows(), lambda arrays, step, key: arrays, 1)

    def init(key: jax.Array) -> jax.Array:
        batch, steps = jax.tree.map(jnp.asarray, rows()), jnp.linspace(0, 1000, POINTS)
        start = functools.partial(drawn, batch, noise=config.noise)
        return jax.vmap(lambda key, steps: start(key, steps=steps))(jax.random.split(key, POINTS), steps)

    def step(state: jax.Array, batch: Any, key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        del key
        of_flat, _ = flat_loss(batch)
        after = jax.vmap(functools.partial(newton, of_flat))(state)
        return after, {"loss": jnp.mean(jax.vmap(of_flat)(after))}

    def evaluate(state: jax.Array, batch: Any, key: jax.Array) -> dict[str, Any]:
        of_size = jnp.std(state, axis=1, keepdims=True)
        random = of_size * jax.random.normal(rng.stream(key, "random"), state.shape)
        found = {
            **told(state, batch),
            "random_correlation": told(random, batch, near=jnp.inf)["correlation"],
        }
        return {name: metrics.mean(jnp.asarray(value, jnp.float32)[None]) for name, value in found.items()}

    learner = fdl.Learner(init, step, evaluate)
    return fdl.Experiment(learner, source, {"rows": source}, steps=250, evaluate_every=250)


SWEEP = fdl.grid(Config(), seeds=8)


def above(result: fdl.Result, metric: str, baseline: str, at_least: float, better: Any) -> fdl.Verdict:
    """Whether one measure of the same points is so much better than another."""
    two = stats.metrics_as_arms(result, {name: f"rows/{name}" for name in (baseline, metric)})
    return fdl.compare(
        two, metric="measure/value", arms="measure", baseline=baseline, better=better, at_least=at_least
    ).verdict


CLAIMS = (
    fdl.Claim(
        "O5.1",
        "At critical points Spearman's correlation of index and loss is at least 0.8.",
        lambda result: above(result, "correlation", "zero", 0.8, "higher"),
        control=lambda result: above(result, "random_correlation", "zero", 0.8, "higher"),
        published="a monotone curve of index and error (Dauphin et al. 2014, fig. 1)",
    ),
    fdl.Claim(
        "O5.2",
        "Points with at most 5 % of directions down span a quarter or less of the losses of all.",
        lambda result: above(result, "spread_low", "spread", 0.75, "lower"),
        control=lambda result: above(result, "spread_some", "spread", 0.75, "lower"),
        published="local minima of large nets have nearly equal losses (Choromanska et al. 2015)",
    ),
)
