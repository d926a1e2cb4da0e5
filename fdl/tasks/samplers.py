"""Drawing samples by denoising, from time 1 (noise) to time 0 (data).

All are pure functions of a `Denoise`; starts are standard normal, `[B, ...]`. A number of steps means
times 1, 1 - 1/steps, ..., 0.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl.arguments import Count, checked
from fdl.tasks.noise import Denoised, Prediction, Schedule, denoised

Denoise = Callable[[jax.Array, jax.Array], Denoised]
"""`denoise(x, time)`, x_t `[B, ...]` and a scalar time, to what x_t is made of."""
Velocity = Callable[[jax.Array, jax.Array], jax.Array]
"""`velocity(x, time)`, x_t `[B, ...]` and a scalar time, to dx_t / dt, `[B, ...]`."""


@checked
def denoiser(
    model: nn.Module,
    variables: Any,
    *,
    schedule: Schedule,
    prediction: Prediction,
    label: jax.Array | None = None,
    guidance: float | jax.Array | None = None,
) -> Denoise:
    """A model as a `Denoise`.

    Args:
      model: see `fdl.tasks.diffusion.diffusion`.
      variables: its collections.
      schedule: as in training.
      prediction: as in training.
      label: int32 `[B]`, or None.
      guidance: w of `guided`; None: the model is asked with the label only. It may be traced.

    Raises:
      ValueError: guidance without a label.
    """
    if guidance is not None and label is None:
        raise ValueError("guidance is given without a label; expected labels [B] to be guided to")

    def denoise(x: jax.Array, time: jax.Array) -> Denoised:
        times = jnp.broadcast_to(time, x.shape[:1])
        ask = lambda label: jnp.asarray(model.apply(variables, x, times, label, train=False))  # noqa: E731
        predicted = ask(label) if guidance is None else guided(ask(label), ask(None), guidance)
        return denoised(x, predicted, times, schedule, prediction)

    return denoise


@checked
def guided(conditional: jax.Array, unconditional: jax.Array, guidance: float | jax.Array) -> jax.Array:
    """(1 + w) conditional - w unconditional (Ho & Salimans 2022, Classifier-Free Diffusion Guidance, eq. 6).

    Args:
      conditional: predictions given labels.
      unconditional: predictions without them, of the same shape.
      guidance: w; 0 is the conditional model, -1 the unconditional one.
    """
    return (1 + guidance) * conditional - guidance * unconditional


@checked
def posterior(
    x: jax.Array, data: jax.Array, time: jax.Array, earlier: jax.Array, schedule: Schedule
) -> tuple[jax.Array, jax.Array]:
    """Mean `[B, ...]` and variance (a scalar) of the Gaussian q(x_s | x_t, x_0), s < t.

    Ho et al. 2020, eq. 7, for any two times and any schedule (Kingma et al. 2021, Variational Diffusion
    Models, appendix A).

    Args:
      x: x_t, `[B, ...]`.
      data: x_0, `[B, ...]`.
      time: t, a scalar.
      earlier: s, a scalar.
      schedule: signal and noise at a time.
    """
    (signal, noise), (signal_s, noise_s) = schedule(time), schedule(earlier)
    step = signal / signal_s
    added = jnp.maximum(noise**2 - (step * noise_s) ** 2, 0)  # variance of x_t given x_s
    mean = (step * noise_s**2 * x + signal_s * added * data) / noise**2
    return mean, added * noise_s**2 / noise**2


@checked
def ddim(denoise: Denoise, start: jax.Array, *, schedule: Schedule, steps: Count) -> jax.Array:
    """Deterministic steps that keep the estimated data and noise (Song et al. 2021, Denoising Diffusion
    Implicit Models, eq. 12 with σ = 0): samples `[B, ...]`."""

    def step(x: jax.Array, time: jax.Array, earlier: jax.Array) -> jax.Array:
        found, (signal, noise) = denoise(x, time), schedule(earlier)
        return signal * found.data + noise * found.noise

    return _walk(step, start, steps)


@checked
def ancestral(
    denoise: Denoise,
    start: jax.Array,
    key: jax.Array,
    *,
    schedule: Schedule,
    steps: Count,
    widest: bool = False,
) -> jax.Array:
    """Draws each x_s from q(x_s | x_t, x_0) at the estimated x_0: samples `[B, ...]`.

    Ho et al. 2020, algorithm 2: theirs, with `from_betas` of T steps and `steps=T`. The variance is one of
    the two of their sec. 3.2: with `widest` that of x_t given x_s (β; their results on CIFAR-10), else the
    posterior's. Nothing is added in the last step. Their code, unlike the paper, clips x_0 to -1 to 1.
    """

    def step(x: jax.Array, time: jax.Array, earlier: jax.Array) -> jax.Array:
        mean, variance = posterior(x, denoise(x, time).data, time, earlier, schedule)
        if widest:
            (signal, noise), (signal_s, noise_s) = schedule(time), schedule(earlier)
            added = jnp.maximum(noise**2 - (signal / signal_s * noise_s) ** 2, 0)
            variance = jnp.where(earlier > 0, added, variance)
        own = jax.random.fold_in(key, jnp.round(earlier * steps).astype(jnp.uint32))
        return mean + jnp.sqrt(variance) * jax.random.normal(own, x.shape, x.dtype)

    return _walk(step, start, steps)


@checked
def flow(denoise: Denoise, *, schedule: Schedule) -> Velocity:
    """The velocity of the flow that has the same distribution at each time as x_t has.

    It is signal'(t) E[x_0 | x_t] + noise'(t) E[ε | x_t] (Lipman et al. 2023, Flow Matching, theorem 1).
    """

    def velocity(x: jax.Array, time: jax.Array) -> jax.Array:
        _, (signal_rate, noise_rate) = jax.jvp(schedule, (time,), (jnp.ones_like(time),))
        found = denoise(x, time)
        return signal_rate * found.data + noise_rate * found.noise

    return velocity


@checked
def euler(velocity: Velocity, start: jax.Array, *, steps: Count) -> jax.Array:
    """Samples `[B, ...]`, along the velocity at each step's beginning: an error of order 1 / steps."""

    def step(x: jax.Array, time: jax.Array, earlier: jax.Array) -> jax.Array:
        return x + (earlier - time) * velocity(x, time)

    return _walk(step, start, steps)


@checked
def heun(velocity: Velocity, start: jax.Array, *, steps: Count) -> jax.Array:
    """Samples `[B, ...]`, by the mean of the velocities at both ends of an Euler step: order 1 / steps².

    The velocity must be finite at time 0 too, as that of the schedules `straight` and `cosine` is, unless
    from data prediction.
    """

    def step(x: jax.Array, time: jax.Array, earlier: jax.Array) -> jax.Array:
        first = velocity(x, time)
        last = velocity(x + (earlier - time) * first, earlier)
        return x + (earlier - time) * 0.5 * (first + last)

    return _walk(step, start, steps)


def _walk(
    step: Callable[[jax.Array, jax.Array, jax.Array], jax.Array], start: jax.Array, steps: int
) -> jax.Array:
    """`step(x, time, earlier)` from time 1 to 0."""
    times = jnp.linspace(1, 0, steps + 1, dtype=start.dtype)

    def body(x: jax.Array, pair: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        return step(x, *pair).astype(start.dtype), None

    return jax.lax.scan(body, start, (times[:-1], times[1:]))[0]
