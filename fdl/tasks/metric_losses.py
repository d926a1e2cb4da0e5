"""Losses of embeddings by their labels: triplets chosen in a batch, pairs, and angular margins."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fdl.arguments import NotNegative, Positive, checked
from fdl.losses import is_class
from fdl.metrics import mean

Number = float | jax.Array
"""A hyper-parameter: a Python number, or a traced scalar."""
EmbeddingLoss = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
"""`loss(embeddings, labels, weight)`, `[B, D]`, `[B]`, `[B]` to a scalar, in which a row counts as if it came
as often as it weighs, but is no pair with its own copies; one of weight 0 as if it were not there."""


class Triplets(NamedTuple):
    """Triplets chosen in a batch, P for each anchor; distances are as the mining measures them.

    Attributes:
      positive: distance from the anchor to a row of its own label, `[B, P]`.
      negative: distance to a row of another label, `[B, P]`.
      weight: what the triplet counts, `[B, P]`; 0 where the batch has none.
    """

    positive: jax.Array
    negative: jax.Array
    weight: jax.Array


Mining = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], Triplets]
"""`mining(squares, same, other, weight)`, three times `[B, B]`, and `[B]`: the squared Euclidean distances;
who has an anchor's label, and who another, as bools; what rows count, of which those of 0 are neither."""


@checked
def distances(x: jax.Array) -> jax.Array:
    """Euclidean distances `[B, B]` of rows `[B, D]`; where one is 0, its gradient is 0 too."""
    return _roots(squared_distances(x))


@checked
def squared_distances(x: jax.Array) -> jax.Array:
    """Squared Euclidean distances `[B, B]` of rows `[B, D]`."""
    return jnp.sum(jnp.square(x[:, None] - x[None, :]), axis=-1)


def _roots(squares: jax.Array) -> jax.Array:
    return jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1.0)), 0.0)


@checked
def batch_hard(squares: jax.Array, same: jax.Array, other: jax.Array, weight: jax.Array) -> Triplets:
    """For each anchor its farthest positive and its nearest negative, by distances that are not squared; the
    triplet counts what its anchor does.

    Hermans et al. 2017, In Defense of the Triplet Loss for Person Re-Identification, eq. 5 and sec. 2
    (on squares, embeddings collapsed).
    """
    distances = _roots(squares)
    positive = jnp.max(distances, axis=1, where=same, initial=0.0)
    negative = jnp.min(distances, axis=1, where=other, initial=jnp.inf)
    valid = jnp.any(same, axis=1) & jnp.any(other, axis=1)
    counts = jnp.where(valid, weight, 0.0)
    return Triplets(positive[:, None], jnp.where(valid, negative, 0.0)[:, None], counts[:, None])


@checked
def semi_hard(squares: jax.Array, same: jax.Array, other: jax.Array, weight: jax.Array) -> Triplets:
    """For each anchor and each of its positives, the nearest negative that is farther than the positive; the
    triplet counts the product of what anchor and positive do.

    Schroff et al. 2015, FaceNet: A Unified Embedding for Face Recognition and Clustering, eq. 1 to 4 (sec.
    3.1 and 3.2): distances are squared, and so the margin's unit. Which of the semi-hard negatives is
    taken, and that it is the farthest one where none is farther than the positive, is TensorFlow's
    `triplet_semihard_loss`; the paper does not say. It looks at all B³ triplets.
    """
    farther = other[:, None, :] & (squares[:, None, :] > squares[:, :, None])
    nearest = jnp.min(
        jnp.broadcast_to(squares[:, None, :], farther.shape), axis=2, where=farther, initial=jnp.inf
    )
    farthest = jnp.max(squares, axis=1, where=other, initial=0.0)
    negative = jnp.where(jnp.any(farther, axis=2), nearest, farthest[:, None])
    valid = same & jnp.any(other, axis=1, keepdims=True)
    return Triplets(squares, negative, jnp.where(valid, weight[:, None] * weight[None, :], 0.0))


@checked
def triplet(
    embeddings: jax.Array,
    labels: jax.Array,
    weight: jax.Array,
    *,
    mining: Mining = batch_hard,
    margin: NotNegative[Number] = 0.2,
) -> jax.Array:
    """The mean over the chosen triplets of `max(0, margin + d(a, p) - d(a, n))`, weighted as `mining` says.

    d is the Euclidean distance for `batch_hard` and its square for `semi_hard`, as in their papers. A batch
    without any triplet gives 0.

    Args:
      embeddings: `[B, D]`, compared as they are: a model may end in `fdl.models.heads.unit`, as
        FaceNet's, whose margin of 0.2 is for such.
      labels: integers `[B]`.
      weight: what rows count, `[B]`, at least 0; rows of weight 0 are in no triplet.
      mining: which triplets: `batch_hard` or `semi_hard`.
      margin: in the unit of d.
    """
    weight = _ratios(weight)
    same, other = _relations(labels, weight)
    chosen = mining(squared_distances(embeddings), same, other, weight)
    losses = jnp.maximum(margin + chosen.positive - chosen.negative, 0)
    return _mean(losses, chosen.weight)


@checked
def pair(
    embeddings: jax.Array, labels: jax.Array, weight: jax.Array, *, margin: NotNegative[Number] = 1.0
) -> jax.Array:
    """The mean over all pairs of `d²` for equal labels and `max(0, margin - d)²` for others; a pair counts
    the product of what its rows do. A batch without any pair gives 0.

    Twice the loss of Hadsell et al. 2006, Dimensionality Reduction by Learning an Invariant Mapping,
    eq. 4, of a Siamese net; arguments as of `triplet`.
    """
    weight = _ratios(weight)
    same, other = _relations(labels, weight)
    d = distances(embeddings)
    losses = jnp.where(same, jnp.square(d), jnp.square(jnp.maximum(margin - d, 0)))
    return _mean(losses, jnp.where(same | other, weight[:, None] * weight[None, :], 0.0))


@checked
def arcface_loss(
    cosines: jax.Array,
    labels: jax.Array,
    *,
    margin: NotNegative[Number] = 0.5,
    scale: Positive[Number] = 64.0,
) -> jax.Array:
    """Cross-entropy `[B]` of scaled cosines, the label's angle made larger by a margin; nats.

    Deng et al. 2019, ArcFace: Additive Angular Margin Loss for Deep Face Recognition, eq. 3.

    Args:
      cosines: to each class's direction, `[B, C]`, as of `fdl.models.heads.CosineHead`.
      labels: integers `[B]` from 0 to C - 1; the loss of others is NaN.
      margin: in radians, added to the angle between a row and its label's direction.
      scale: factor of the cosines.
    """
    own = jnp.take_along_axis(cosines, labels[:, None].astype(jnp.int32), axis=1, mode="clip")
    # The sine's gradient is not finite at an angle of 0 or π: there take none.
    square = 1 - jnp.square(own)
    sine = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)
    moved = own * jnp.cos(margin) - sine * jnp.sin(margin)
    mine = jnp.arange(cosines.shape[1]) == labels[:, None]
    logits = scale * jnp.where(mine, moved, cosines)
    values = jax.nn.logsumexp(logits, axis=1) - scale * moved[:, 0]
    return jnp.where(is_class(labels, cosines.shape[1]), values, jnp.nan)


def _ratios(weight: jax.Array) -> jax.Array:
    """Weights of which the largest is 1, as products of tiny ones would all be 0."""
    largest = jnp.max(weight)
    return weight / jnp.where(largest > 0, largest, 1)


def _relations(labels: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Which rows `[B, B]` have an anchor's label, itself left out, and which another."""
    equal = labels[:, None] == labels[None, :]
    counts = (weight[:, None] > 0) & (weight[None, :] > 0)
    return counts & equal & ~jnp.eye(len(labels), dtype=bool), counts & ~equal


def _mean(losses: jax.Array, weight: jax.Array) -> jax.Array:
    total = mean(losses, weight)
    return total.total / jnp.where(total.weight > 0, total.weight, 1)
