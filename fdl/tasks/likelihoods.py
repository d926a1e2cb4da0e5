"""Likelihoods of data given a decoder's outputs."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fdl.arguments import Positive, checked


class Likelihood(NamedTuple):
    """p(x | outputs), whose entries are independent.

    Attributes:
      log_prob: `log_prob(outputs, x)`, both `[B, ...]` of one shape, to nats `[B]`.
      mean: `mean(outputs)`, the expected x, `[B, ...]`.
      low: x is no smaller than this.
      high: x is no larger than this.
    """

    log_prob: Callable[[jax.Array, jax.Array], jax.Array]
    mean: Callable[[jax.Array], jax.Array]
    low: float
    high: float


def bernoulli() -> Likelihood:
    """Outputs are logits; for x between 0 and 1, `log_prob` is the negative cross-entropy.

    Example:
      >>> import jax.numpy as jnp
      >>> from fdl import tasks
      >>> likelihood = tasks.bernoulli()  # for tasks.reconstruction, variational
      >>> likelihood.mean(jnp.zeros((1, 2)))
      Array([[0.5, 0.5]], dtype=float32)
    """

    def log_prob(logits: jax.Array, x: jax.Array) -> jax.Array:
        return _row_sums(x * logits - jax.nn.softplus(logits))

    return Likelihood(log_prob, jax.nn.sigmoid, 0.0, 1.0)


@checked
def gaussian(*, scale: Positive[float | jax.Array] = 1.0) -> Likelihood:
    """Outputs are means; every entry has the standard deviation `scale`, which may be traced.

    With scale 1, maximum likelihood is least squares: nats are half the squared error and a constant.

    Example:
      >>> import jax.numpy as jnp
      >>> from fdl import tasks
      >>> likelihood = tasks.gaussian(scale=1.0)  # for tasks.reconstruction, variational
      >>> round(float(likelihood.log_prob(jnp.zeros((1, 2)), jnp.zeros((1, 2)))[0]), 3)
      -1.838
    """

    def log_prob(means: jax.Array, x: jax.Array) -> jax.Array:
        scaled = (x - means) / scale
        return _row_sums(-0.5 * jnp.square(scaled) - jnp.log(scale) - 0.5 * math.log(2 * math.pi))

    return Likelihood(log_prob, lambda means: means, -math.inf, math.inf)


def _row_sums(values: jax.Array) -> jax.Array:
    return jnp.sum(values, axis=range(1, values.ndim))
