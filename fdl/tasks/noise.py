"""Paths from data to noise: how much of each there is at a time, and what a denoiser may predict.

At time t from 0 (data) to 1 (noise), x_t = signal(t) x_0 + noise(t) ε with ε standard normal. What a
denoiser predicts is a x_0 + b ε for some a and b, so x_t and a prediction give x_0 and ε exactly.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fdl.arguments import Count, NotNegative, Share, checked

Schedule = Callable[[jax.Array], tuple[jax.Array, jax.Array]]
"""`schedule(time) -> (signal, noise)`, of any shape `[...]`; differentiable."""
Prediction = Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
"""`prediction(signal, noise) -> (a, b)`: what is predicted is a x_0 + b ε."""


class Denoised(NamedTuple):
    """What a noisy x is made of.

    Attributes:
      data: x_0, `[B, ...]`.
      noise: ε, `[B, ...]`.
    """

    data: jax.Array
    noise: jax.Array


@checked
def linear(
    time: float | jax.Array, *, first: NotNegative[ArrayLike] = 0.1, last: NotNegative[ArrayLike] = 20.0
) -> tuple[jax.Array, jax.Array]:
    """Noise added at a rate that grows from `first` to `last`; variances add to 1.

    Song et al. 2021, Score-Based Generative Modeling through Stochastic Differential Equations, sec. 3.4
    (VP): log signal(t) = -t² (last - first) / 4 - t first / 2, the limit of `linear_betas` of many steps.
    """
    first, last = jnp.asarray(first), jnp.asarray(last)
    log = -0.25 * time**2 * (last - first) - 0.5 * time * first
    return jnp.exp(log), jnp.sqrt(-jnp.expm1(2 * log))


@checked
def cosine(time: float | jax.Array) -> tuple[jax.Array, jax.Array]:
    """cos(π t / 2) and sin(π t / 2): variances add to 1 (Salimans & Ho 2022, Progressive Distillation).

    At time 1 there is no signal, so samplers start well from `predict_v` or `predict_data`, not from
    `predict_noise`. Nichol & Dhariwal's, with an offset, is `from_betas(cosine_betas())`.
    """
    return jnp.cos(0.5 * math.pi * time), jnp.sin(0.5 * math.pi * time)


@checked
def straight(time: float | jax.Array) -> tuple[jax.Array, jax.Array]:
    """1 - t and t: straight lines (Lipman et al. 2023, Flow Matching, sec. 4.1; Liu et al. 2023, Rectified
    Flow, sec. 2.1). Their time runs from noise to data, ours from data to noise."""
    time = jnp.asarray(time)
    return 1 - time, 1.0 * time


@checked
def linear_betas(
    steps: Count = 1000, *, first: NotNegative[ArrayLike] = 1e-4, last: NotNegative[ArrayLike] = 0.02
) -> jax.Array:
    """Variances added by each of T steps, evenly spaced, `[T]` (Ho et al. 2020, sec. 4)."""
    return jnp.linspace(first, last, steps)


@checked
def cosine_betas(
    steps: Count = 1000, *, offset: NotNegative[float] = 0.008, largest: Share[float] = 0.999
) -> jax.Array:
    """Variances of steps, `[T]`, that let the squared signal fall as a squared cosine (Nichol & Dhariwal
    2021, Improved Denoising Diffusion Probabilistic Models, sec. 3.2)."""
    place = (jnp.arange(steps + 1) / steps + offset) / (1 + offset)
    squared = jnp.cos(0.5 * math.pi * place) ** 2
    return jnp.minimum(1 - squared[1:] / squared[:-1], largest)


@checked
def from_betas(betas: jax.Array) -> Schedule:
    """The schedule that has, at time i / T, the signal after i of the steps with variances `betas` `[T]`.

    The squared signal is the product of 1 - β over the steps (Ho et al. 2020, eq. 4); between those times
    its logarithm is interpolated linearly.
    """
    logs = jnp.concatenate([jnp.zeros(1), jnp.cumsum(jnp.log1p(-betas))])
    times = jnp.linspace(0, 1, len(logs))

    def schedule(time: jax.Array) -> tuple[jax.Array, jax.Array]:
        log = jnp.interp(time, times, logs)
        return jnp.exp(0.5 * log), jnp.sqrt(-jnp.expm1(log))

    return schedule


@checked
def predict_noise(signal: jax.Array, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
    """ε (Ho et al. 2020, eq. 14). It tells nothing of x_0 where there is no signal."""
    return jnp.zeros_like(signal), jnp.ones_like(noise)


@checked
def predict_data(signal: jax.Array, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
    """x_0. It tells nothing of ε where there is no noise."""
    return jnp.ones_like(signal), jnp.zeros_like(noise)


@checked
def predict_v(signal: jax.Array, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
    """v = signal ε - noise x_0 (Salimans & Ho 2022, Progressive Distillation, sec. 4)."""
    return -noise, signal


@checked
def predict_velocity(signal: jax.Array, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
    """ε - x_0, the velocity dx_t / dt of the `straight` schedule."""
    return -jnp.ones_like(signal), jnp.ones_like(noise)


@checked
def noisy(data: jax.Array, epsilon: jax.Array, time: jax.Array, schedule: Schedule) -> jax.Array:
    """x_t of x_0 `[B, ...]` and ε of the same shape, at times `[B]`: `[B, ...]`."""
    signal, noise = along(data, *schedule(time))
    return signal * data + noise * epsilon


@checked
def target(
    data: jax.Array, epsilon: jax.Array, time: jax.Array, schedule: Schedule, prediction: Prediction
) -> jax.Array:
    """What a denoiser is to predict at times `[B]`, `[B, ...]`."""
    a, b = along(data, *prediction(*schedule(time)))
    return a * data + b * epsilon


@checked
def denoised(
    x: jax.Array, predicted: jax.Array, time: jax.Array, schedule: Schedule, prediction: Prediction
) -> Denoised:
    """x_0 and ε, of which x_t `[B, ...]` and a prediction `[B, ...]` are two linear combinations.

    From noise prediction, x_0 needs some signal; from data prediction, ε needs some noise.
    """
    signal, noise = schedule(time)
    signal, noise, a, b = along(x, signal, noise, *prediction(signal, noise))
    determinant = signal * b - noise * a
    return Denoised((b * x - noise * predicted) / determinant, (signal * predicted - a * x) / determinant)


@checked
def along(x: jax.Array, *values: jax.Array) -> tuple[jax.Array, ...]:
    """Each of `values`, `[B]` or scalars, with axes of length 1 added, to go with x `[B, ...]`."""
    return tuple(value.reshape(value.shape + (1,) * (x.ndim - value.ndim)) for value in values)
