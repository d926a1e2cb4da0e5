"""How alike two representations of the same inputs are: centred kernel alignment."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from fdl.analysis.rows import as_matrix, centred, check_same_rows
from fdl.arguments import Positive, checked

Gram = Callable[[jax.Array], jax.Array]
"""`gram(rows [N, ...]) -> [N, N]`, a kernel of all pairs of rows."""


@checked
def linear_gram(rows: jax.Array) -> jax.Array:
    """Inner products `[N, N]` of centred rows `[N, ...]`.

    Example:
      >>> fdl.analysis.linear_gram(jnp.array([[1.0], [3.0]]))
      Array([[ 1., -1.],
             [-1.,  1.]], dtype=float32)
    """
    matrix = centred(as_matrix(rows))
    return jnp.matmul(matrix, matrix.T, precision="highest")


@checked
def rbf_gram(rows: jax.Array, *, bandwidth: Positive[float] = 1.0) -> jax.Array:
    """The Gaussian kernel `exp(-d^2 / (2 s^2))` of all pairs of rows `[N, ...]`.

    Args:
      rows: `[N, ...]`.
      bandwidth: s by the median distance of two different rows (Kornblith et al. 2019, sec. 3).

    Example:
      >>> round(float(fdl.analysis.rbf_gram(jnp.array([[0.0], [2.0]]))[0, 1]), 3)  # exp(-1/2)
      0.607
    """
    inner = linear_gram(rows)
    norms = jnp.diag(inner)
    distances = jnp.maximum(norms[:, None] + norms[None, :] - 2 * inner, 0)
    distances = distances * (1 - jnp.eye(len(inner)))
    median = jnp.median(distances[jnp.triu_indices(len(inner), 1)])
    return jnp.exp(-distances / (2 * bandwidth**2 * median))


@checked
def cka(a: jax.Array, b: jax.Array, *, gram: Gram = linear_gram, debiased: bool = False) -> jax.Array:
    """Centred kernel alignment of two representations of the same inputs: 1 where they are the same but for
    rotation, scale and shift.

    Kornblith et al. 2019, Similarity of Neural Network Representations Revisited, eq. 4. With few rows and
    many features it is far above 0 also for representations that have nothing in common; `debiased` takes the
    unbiased estimator of HSIC (Song et al. 2012, eq. 5; Nguyen et al. 2021, eq. 3), which may be below 0.

    Args:
      a: `[N, ...]`, at least 4 rows; further axes are flattened.
      b: `[N, ...]`, of the same inputs in the same order.
      gram: `linear_gram`, `rbf_gram`, `functools.partial(rbf_gram, bandwidth=0.5)`, or another kernel.
      debiased: whether the estimator is the unbiased one.

    Returns:
      A scalar; NaN where a representation is the same for all inputs.

    Raises:
      ValueError: different numbers of rows, or fewer than 4.

    Example:
      >>> a = jax.random.normal(jax.random.key(0), (50, 3))
      >>> turned = a[:, ::-1] * 5 + 1
      >>> round(float(fdl.analysis.cka(a, turned)), 3)
      1.0
      >>> noise = jax.random.normal(jax.random.key(1), (50, 500))
      >>> [round(float(fdl.analysis.cka(a, noise, debiased=d)), 2) for d in (False, True)]
      [0.22, -0.02]
    """
    check_same_rows(a, b, least=4)
    centre = _u_centred if debiased else _double_centred
    left, right = centre(gram(a)), centre(gram(b))
    left, right = left / jnp.max(jnp.abs(left)), right / jnp.max(jnp.abs(right))  # squares do not overflow
    return jnp.sum(left * right) / jnp.sqrt(jnp.sum(left**2) * jnp.sum(right**2))


def _double_centred(gram: jax.Array) -> jax.Array:
    """HKH, with H the centring matrix."""
    return gram - jnp.mean(gram, 0) - jnp.mean(gram, 1)[:, None] + jnp.mean(gram)


def _u_centred(gram: jax.Array) -> jax.Array:
    """The matrix whose inner product with another's is the unbiased HSIC, up to a constant factor
    (Szekely & Rizzo 2014, Partial Distance Correlation, eq. 2.2)."""
    count = len(gram)
    outside = 1 - jnp.eye(count, dtype=gram.dtype)
    gram = gram * outside
    sums = jnp.sum(gram, axis=0)
    total = jnp.sum(gram) / ((count - 1) * (count - 2))
    return (gram - sums / (count - 2) - sums[:, None] / (count - 2) + total) * outside


@checked
def between_layers(
    similarity: Callable[[jax.Array, jax.Array], jax.Array],
    left: Mapping[str, jax.Array],
    right: Mapping[str, jax.Array],
) -> jax.Array:
    """The similarity of every layer of one net with every layer of another, or of itself.

    Args:
      similarity: `cka`, `rsa`, or another function of two representations.
      left: representations `[N, ...]` by name, as of `activations`.
      right: of the same inputs; nets of other seeds and architectures alike.

    Returns:
      `[len(left), len(right)]`, in the order of both.

    Example:
      >>> x = jax.random.normal(jax.random.key(0), (20, 3))
      >>> fdl.analysis.between_layers(fdl.analysis.cka, {"a": x, "b": x**2}, {"a": 2 * x}).shape
      (2, 1)
    """
    return jnp.array([[similarity(one, other) for other in right.values()] for one in left.values()])
