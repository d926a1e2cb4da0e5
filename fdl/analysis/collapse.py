"""Neural collapse: whether a classifier's last features become the vertices of a simplex."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fdl.analysis.rows import as_matrix
from fdl.arguments import checked


class Collapse(NamedTuple):
    """How far a classifier is from neural collapse; all are 0 at it.

    Attributes:
      nc1: variation within classes by that between them, `tr(S_W S_B^+) / C`.
      nc2_norms: standard deviation of the norms of the centred class means by their mean.
      nc2_angles: standard deviation of the cosines between two of them.
      nc2_maximal: mean distance of these cosines from -1 / (C - 1), the least that all can have.
      nc3: squared distance of the classifier's kernel from the centred class means, both scaled to norm 1.
      nc4: share of rows in which the classifier does not say the class of the nearest mean.
    """

    nc1: jax.Array
    nc2_norms: jax.Array
    nc2_angles: jax.Array
    nc2_maximal: jax.Array
    nc3: jax.Array
    nc4: jax.Array


@checked
def neural_collapse(
    features: jax.Array, labels: jax.Array, kernel: jax.Array, bias: jax.Array | None = None
) -> Collapse:
    """NC1 to NC4 of Papyan, Han & Donoho 2020, Prevalence of Neural Collapse, fig. 2 to 7.

    The centre is the mean of the class means, each class as important as another.

    Args:
      features: what the last layer gets for the training's rows, `[N, F]`; further axes are flattened.
      labels: integers `[N]`, 0 to C - 1; each class must be there, else the results are NaN.
      kernel: of the last layer, `[F, C]`.
      bias: `[C]`, or None.

    Raises:
      ValueError: shapes that do not belong together, or fewer than two classes.

    Example:
      >>> vertices = jnp.eye(3)
      >>> labels = jnp.array([0, 1, 2, 0])
      >>> found = fdl.analysis.neural_collapse(vertices[labels], labels, vertices - 1 / 3)
      >>> [abs(round(float(value), 4)) for value in found]
      [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    """
    features = as_matrix(features)
    classes = kernel.shape[-1]
    fits = kernel.shape == (features.shape[1], classes) and labels.shape == features.shape[:1]
    if not fits or classes < 2:
        raise ValueError(
            f"features are {list(features.shape)}, labels {list(labels.shape)}, the kernel "
            f"{list(kernel.shape)}; expected [N, F], [N] and [F, C], C at least 2"
        )
    kernel = kernel.astype(features.dtype)
    bias = jnp.zeros(classes) if bias is None else bias
    members = labels[None, :] == jnp.arange(classes)[:, None]
    means = _product(members.astype(features.dtype), features) / jnp.sum(members, 1)[:, None]
    means = jnp.where(jnp.all(jnp.any(members, 0)), means, jnp.nan)  # a label that is no class
    centre = jnp.mean(means, 0)
    between = means - centre
    says = jnp.argmax(_product(features, kernel) + bias, 1)
    norms = jnp.linalg.norm(between, axis=1)
    nearest = jnp.argmin(norms**2 - 2 * _product(features - centre, between.T), 1)
    cosines = _product(between, between.T) / (norms[:, None] * norms)
    cosines = cosines[jnp.triu_indices(classes, 1)]
    aligned = kernel.T / jnp.linalg.norm(kernel) - between / jnp.linalg.norm(between)
    return Collapse(
        _within_by_between(features - means[labels], between),
        jnp.std(norms) / jnp.mean(norms),
        jnp.std(cosines),
        jnp.mean(jnp.abs(cosines + 1 / (classes - 1))),
        jnp.sum(aligned**2),
        jnp.where(jnp.isnan(centre[0]), jnp.nan, jnp.mean(says != nearest)),
    )


def _within_by_between(within: jax.Array, between: jax.Array) -> jax.Array:
    """`tr(S_W S_B^+) / C` of deviations from class means `[N, F]` and centred means `[C, F]`.

    The pseudo-inverse of S_B = M^T M / C is taken through M, whose smallest singular value is 0.
    """
    classes = len(between)
    _, values, right = jnp.linalg.svd(between, full_matrices=False)
    rank = min(classes - 1, between.shape[1])
    kept = values[:rank] > 10 * max(between.shape) * jnp.finfo(between.dtype).eps * values[0]
    inverse = jnp.where(kept, classes / jnp.where(kept, values[:rank] ** 2, 1), 0)
    spread = jnp.mean(_product(within, right[:rank].T) ** 2, 0)
    total = jnp.sum(spread * inverse) / classes
    return jnp.where(values[0] > 0, total, jnp.nan)


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision="highest")
