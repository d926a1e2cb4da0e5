"""Gradients by layer: their norms, and how much of them is noise of the draw of rows."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fdl.analysis.objective import Loss, Variables, by_layer, of_parameters
from fdl.arguments import Count, checked


@checked
def gradient_norms(loss: Loss, variables: Variables, batch: Any) -> dict[str, jax.Array]:
    """The Euclidean norm of the loss's gradient in each layer's parameters.

    Args:
      loss: `loss(variables, batch)`, a scalar.
      variables: the model's collections; the gradient is in `"params"`.
      batch: arrays `[B, ...]`.

    Returns:
      Scalars by layer, as `"Layer_0/Dense_0"`, and of all together, `"all"`.

    Raises:
      ValueError: no `"params"`, or the loss is no scalar.

    Example:
      >>> loss = lambda variables, batch: jnp.mean(batch @ variables["params"]["w"])
      >>> variables = {"params": {"w": jnp.zeros(2)}}
      >>> fdl.analysis.gradient_norms(loss, variables, jnp.array([[3.0, 4.0]]))["all"]
      Array(5., dtype=float32)
    """
    objective, params = of_parameters(loss, variables, batch)
    return {name: jnp.sqrt(square) for name, square in _squares(jax.grad(objective)(params)).items()}


class NoiseScale(NamedTuple):
    """Of one layer's parameters, or of all.

    Attributes:
      variance: the trace of the covariance of one row's gradient, `tr(S)`.
      signal: the squared norm of the true gradient, `|G|^2`; both are unbiased estimates.
      scale: the batch size at which noise and gradient are alike, `tr(S) / |G|^2`; NaN where `signal` is not
        above 0, so that the rows are too few to tell.
    """

    variance: jax.Array
    signal: jax.Array
    scale: jax.Array


@checked
def gradient_noise_scale(
    loss: Loss, variables: Variables, batch: Any, *, together: Count = 32
) -> dict[str, NoiseScale]:
    """The simple noise scale by layer.

    McCandlish et al. 2018, An Empirical Model of Large-Batch Training, eq. 2.9, by their estimators of two
    batch sizes (eq. A.2, A.3), one row and all: the gradients of single rows are computed. Rows are to be
    independent draws, and the loss of a row not to depend on the others (no batch norm in training mode).

    Args:
      loss: `loss(variables, batch)`, the mean over rows; it is called with batches of one row.
      variables: the model's collections; the gradient is in `"params"`.
      batch: arrays `[B, ...]`, at least 2 rows. Thousands are needed where noise is large.
      together: of how many rows gradients are in memory at a time.

    Returns:
      By layer, as `"Layer_0/Dense_0"`, and of all together, `"all"`.

    Raises:
      ValueError: no `"params"`, the loss is no scalar, or the batch has less than 2 rows.

    Example:
      >>> loss = lambda variables, batch: jnp.mean(batch @ variables["params"]["w"])
      >>> variables = {"params": {"w": jnp.zeros(1)}}
      >>> found = fdl.analysis.gradient_noise_scale(loss, variables, jnp.array([[1.0], [3.0]]))
      >>> [float(value) for value in found["all"]]  # variance 2; 2^2 - 2 / 2
      [2.0, 3.0, 0.6666666865348816]
    """
    rows = jax.tree.map(lambda leaf: leaf[:, None], batch)  # each a batch of one
    counts = sorted({leaf.shape[0] for leaf in jax.tree.leaves(rows)})
    if len(counts) != 1 or counts[0] < 2:
        raise ValueError(f"the batch has arrays of {counts} rows; expected one number, 2 or more")
    count = counts[0]
    params = of_parameters(loss, variables, batch)[1]

    def of_row(params: Any, row: Any) -> jax.Array:
        return of_parameters(loss, variables, row)[0](params)

    each = lambda params: jax.lax.map(lambda row: of_row(params, row), rows, batch_size=together)  # noqa: E731
    mean = jax.grad(lambda params: jnp.mean(each(params)))(params)

    def apart(row: Any) -> dict[str, jax.Array]:
        return _squares(jax.tree.map(jnp.subtract, jax.grad(of_row)(params, row), mean))

    found = {}
    deviations = jax.lax.map(apart, rows, batch_size=together)
    for name, square in _squares(mean).items():
        variance = jnp.sum(deviations[name]) / (count - 1)
        signal = square - variance / count
        scale = jnp.where(signal > 0, variance / jnp.where(signal > 0, signal, 1), jnp.nan)
        found[name] = NoiseScale(variance, signal, scale)
    return found


def _squares(gradient: Any) -> dict[str, jax.Array]:
    """Squared norms by layer, and of all."""
    found = {
        name: sum((jnp.sum(jnp.square(leaf)) for leaf in leaves), jnp.zeros(()))
        for name, leaves in by_layer(gradient).items()
    }
    return found | {"all": sum(found.values(), jnp.zeros(()))}
