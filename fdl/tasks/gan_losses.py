"""What a discriminator and a generator minimise, and the gradient penalty.

A loss is one function of both players' view: `loss(real, fake)` takes the discriminator's logits
`[B]` of real and of generated rows and gives two losses `[B]`, the discriminator's and the
generator's. In a program that uses only one of them the other costs nothing.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl import shards
from fdl.arguments import checked

Pair = tuple[jax.Array, jax.Array]
GANLoss = Callable[[jax.Array, jax.Array], Pair]
"""`loss(real, fake) -> (discriminator's, generator's)`, logits `[B]` to `[B]` each."""


@checked
def minimax(real: jax.Array, fake: jax.Array) -> Pair:
    """Goodfellow et al. 2014, Generative Adversarial Nets, eq. 1: a game of sum zero, in nats.

    The discriminator's loss is `-log D(x) - log(1 - D(G(z)))`, with D the sigmoid of a logit: at best
    log 4 where both distributions are equal. The generator's is `log(1 - D(G(z)))`.
    """
    return nn.softplus(-real) + nn.softplus(fake), -nn.softplus(fake)


@checked
def non_saturating(real: jax.Array, fake: jax.Array) -> Pair:
    """As `minimax`, but the generator minimises `-log D(G(z))`, whose gradient is strong where the
    discriminator is sure (Goodfellow et al. 2014, sec. 3)."""
    return minimax(real, fake)[0], nn.softplus(-fake)


@checked
def hinge(real: jax.Array, fake: jax.Array) -> Pair:
    """`max(0, 1 - real) + max(0, 1 + fake)` against `-fake` (Miyato et al. 2018, Spectral
    Normalization for Generative Adversarial Networks, eq. 16 and 17)."""
    return nn.relu(1 - real) + nn.relu(1 + fake), -fake


@checked
def wasserstein(real: jax.Array, fake: jax.Array) -> Pair:
    """`fake - real` against `-fake` (Arjovsky et al. 2017, Wasserstein GAN): the critic has to be
    Lipschitz, as by `gradient_penalty` or `fdl.models.spectral.spectral_norm`."""
    return fake - real, -fake


@checked
def gradient_penalty(
    score: Callable[[jax.Array], jax.Array], real: jax.Array, fake: jax.Array, key: jax.Array
) -> jax.Array:
    """`(|∇ score(x)| - 1)²` at a random point between a real and a generated row, `[B]`.

    Gulrajani et al. 2017, Improved Training of Wasserstein GANs, eq. 3 and algorithm 1. The gradient
    is exact if a row's score depends on that row alone: no batch norm in a critic (their sec. 4).

    Args:
      score: rows `[B, ...]` to `[B]`, twice differentiable in reverse mode.
      real: rows `[B, ...]`.
      fake: rows of the same shape.
      key: draws the points, uniform on the lines from `fake[i]` to `real[i]`.
    """
    uniform = lambda key, shape: jax.random.uniform(key, shape, real.dtype)  # noqa: E731
    share = shards.draw(uniform, key, (len(real), *[1] * (real.ndim - 1)))
    between = share * real + (1 - share) * fake
    gradient = jax.grad(lambda x: jnp.sum(score(x)))(between).reshape(len(real), -1)
    square = jnp.sum(jnp.square(gradient), axis=-1)
    # The length's own gradient is not finite at 0, where the penalty is flat on average: take none.
    length = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)
    return jnp.square(length - 1)
