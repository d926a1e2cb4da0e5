"""Mixture density nets: a mixture of Gaussians over the target, for every input."""

import math
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl.arguments import Count, checked
from fdl.models.axes import constrain, with_axes


class Mixture(NamedTuple):
    """Mixtures of K Gaussians whose covariances are diagonal.

    Attributes:
      logits: `[B, K]`, logarithms of the weights, up to a constant.
      means: `[B, K, T]`.
      log_scales: `[B, K, T]`, logarithms of the standard deviations.
    """

    logits: jax.Array
    means: jax.Array
    log_scales: jax.Array


@checked
def log_likelihood(mixture: Mixture, y: jax.Array) -> jax.Array:
    """The logarithm of each mixture's density at its target `y` `[B, T]`, in nats; `[B]`.

    Bishop 1994, Mixture Density Networks, eq. 22 to 23 and 29.
    """
    z = (y[:, None] - mixture.means) * jnp.exp(-mixture.log_scales)
    normal = -0.5 * jnp.square(z) - mixture.log_scales - 0.5 * math.log(2 * math.pi)
    return jax.nn.logsumexp(jax.nn.log_softmax(mixture.logits) + jnp.sum(normal, axis=-1), axis=-1)


@checked
def sample(mixture: Mixture, key: jax.Array) -> jax.Array:
    """One draw `[B, T]` from each mixture."""
    which, where = jax.random.split(key)
    component = jax.random.categorical(which, mixture.logits)[:, None, None]
    mean = jnp.take_along_axis(mixture.means, component, axis=1)[:, 0]
    scale = jnp.exp(jnp.take_along_axis(mixture.log_scales, component, axis=1)[:, 0])
    return mean + scale * jax.random.normal(where, mean.shape, mean.dtype)


@checked
def mean(mixture: Mixture) -> jax.Array:
    """The mean of each mixture, `[B, T]`: the best guess by squared error, and often far from any target."""
    return jnp.einsum("bk,bkt->bt", jax.nn.softmax(mixture.logits), mixture.means)


@checked
def deviation(mixture: Mixture) -> jax.Array:
    """The standard deviation of each mixture, `[B, T]`: of the Gaussians, and of their means."""
    weight = nn.softmax(mixture.logits)[..., None]
    away = jnp.square(mixture.means - mean(mixture)[:, None])
    return jnp.sqrt(jnp.sum(weight * (jnp.exp(2 * mixture.log_scales) + away), axis=1))


@checked
class MixtureDensity(nn.Module):
    """A body, and a dense layer that makes a `Mixture` of its features.

    Bishop 1994, sec. 3; the paper's components have one scale each, these one for each target. At
    initialisation the components' means differ by normal noise of deviation 1, so that they part.

    Attributes:
      body: a module `body(x, train)`, `[B, ...]` to `[B, F]`.
      targets: T, how many numbers a target has.
      components: K, how many Gaussians there are; 1 is ordinary Gaussian regression.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.MixtureDensity(models.MLP((64,), 32), targets=2, components=5)
      >>> outputs, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), jnp.zeros((1, 8)))
      >>> jax.tree.map(lambda leaf: leaf.shape, outputs)
      Mixture(logits=(1, 5), means=(1, 5, 2), log_scales=(1, 5, 2))
    """

    body: nn.Module
    targets: Count
    components: Count = 5

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> Mixture:
        """Mixtures of inputs `[B, ...]`."""
        x = constrain(self.body(x, train), "batch", "mlp")
        shape = (-1, self.components, self.targets)
        spread = nn.initializers.normal(1.0)
        means = _head(self.components * self.targets, "means", bias=spread)(x)
        scales = _head(self.components * self.targets, "log_scales")(x)
        logits = _head(self.components, "logits")(x)
        return Mixture(logits, means.reshape(shape), scales.reshape(shape))


def _head(units: int, name: str, bias: nn.initializers.Initializer = nn.initializers.zeros) -> nn.Dense:
    kernel = with_axes(nn.initializers.lecun_normal(), "mlp", None)
    return nn.Dense(units, kernel_init=kernel, bias_init=with_axes(bias, None), name=name)
