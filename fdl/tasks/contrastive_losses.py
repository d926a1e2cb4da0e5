"""Losses of a batch of pairs that belong together.

Rows of weight 0 are neither anchors nor negatives, so a padded batch gives exactly what the batch
without its padding gives. All but `vicreg` compare each row with all others: their value depends on
the size of the batch.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.nn import logsumexp

from fdl.arguments import NotNegative, Positive, checked
from fdl.metrics import mean
from fdl.models.heads import unit

Number = float | jax.Array
"""A hyper-parameter: a Python number, or a traced scalar."""
ViewLoss = Callable[[jax.Array, jax.Array], jax.Array]
"""`loss(projections, weight)`, `[B, 2, P]` and `[B]` to a scalar."""


@checked
def nt_xent(projections: jax.Array, weight: jax.Array, *, temperature: Positive[Number] = 0.5) -> jax.Array:
    """Normalised temperature-scaled cross-entropy of two views, in nats.

    Chen et al. 2020, A Simple Framework for Contrastive Learning of Visual Representations (SimCLR),
    eq. 1 and algorithm 1: each of the 2B views is to find its partner among the 2B - 1 others.

    Args:
      projections: `[B, 2, P]`, of any length.
      weight: `[B]`, not all 0.
      temperature: divides the cosines.
    """
    z = unit(projections).reshape(-1, projections.shape[-1])
    weights, index = jnp.repeat(weight, 2), jnp.arange(len(z))
    logits = z @ z.T / temperature
    others = (weights > 0)[None, :] & (index[:, None] != index[None, :])
    partner = logits[index, index ^ 1]
    return mean(logsumexp(logits, axis=1, where=others) - partner, weights).value


@checked
def vicreg(
    projections: jax.Array,
    weight: jax.Array,
    *,
    invariance: NotNegative[Number] = 25.0,
    variance: NotNegative[Number] = 25.0,
    covariance: NotNegative[Number] = 1.0,
) -> jax.Array:
    """Variance, invariance and covariance terms of two views, weighted and added.

    Bardes et al. 2022, VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised
    Learning, algorithm 1: the mean squared difference of the views (over rows and dimensions); for
    each view the mean over dimensions of `max(0, 1 - sqrt(variance + 1e-4))`; for each view the squared
    covariances of different dimensions, summed and divided by P. Variances have the divisor B - 1. The
    authors' code halves the variance terms.

    Args:
      projections: `[B, 2, P]`.
      weight: `[B]`, zeros and ones, at least two of them 1.
      invariance: factor of the first term.
      variance: factor of the second.
      covariance: factor of the third.
    """
    z = jnp.where((weight > 0)[:, None, None], projections, 0)
    rows, width = jnp.sum(weight), z.shape[-1]
    difference = jnp.sum(jnp.square(z[:, 0] - z[:, 1])) / (rows * width)
    centred = (z - jnp.sum(z, axis=0) / rows) * weight[:, None, None]
    matrices = jnp.einsum("bvi,bvj->vij", centred, centred) / (rows - 1)
    variances = jnp.diagonal(matrices, axis1=1, axis2=2)
    spread = jnp.sum(jnp.maximum(1 - jnp.sqrt(variances + 1e-4), 0)) / width
    off = jnp.sum(jnp.where(jnp.eye(width, dtype=bool), 0, jnp.square(matrices))) / width
    return invariance * difference + variance * spread + covariance * off


@checked
def clip_loss(x: jax.Array, y: jax.Array, scale: jax.Array, weight: jax.Array) -> jax.Array:
    """Cross-entropy of finding y among the batch's by x, and x by y, the mean of both; nats, `[B]`.

    Radford et al. 2021, Learning Transferable Visual Models From Natural Language Supervision, fig. 3.

    Args:
      x: unit vectors `[B, P]`.
      y: unit vectors `[B, P]`; row i belongs to row i of x.
      scale: factor of the cosines, a scalar.
      weight: `[B]`.
    """
    logits, valid = scale * x @ y.T, weight > 0
    by_x = logsumexp(logits, axis=1, where=valid[None, :])
    by_y = logsumexp(logits, axis=0, where=valid[:, None])
    return (by_x + by_y) / 2 - jnp.diagonal(logits)
