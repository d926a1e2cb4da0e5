"""Linear probes: what a linear classifier reads from a representation."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fdl.analysis.rows import as_matrix, centred
from fdl.arguments import Count, NotNegative, checked

Parameters = tuple[jax.Array, jax.Array]
"""A kernel `[F, C]` and a bias `[C]`."""


class Probe(NamedTuple):
    """A linear classifier.

    Attributes:
      kernel: `[F, C]`.
      bias: `[C]`.
      gradient: the norm of the gradient where the fit ended; about 0 where it has converged.
    """

    kernel: jax.Array
    bias: jax.Array
    gradient: jax.Array

    def logits(self, rows: jax.Array) -> jax.Array:
        """`[N, C]` of rows `[N, ...]` of the same layer."""
        return jnp.matmul(as_matrix(rows), self.kernel, precision="highest") + self.bias

    def accuracy(self, rows: jax.Array, labels: jax.Array) -> jax.Array:
        """The share of rows `[N, ...]` whose label, `[N]`, the probe says."""
        return jnp.mean(jnp.argmax(self.logits(rows), 1) == labels)


@checked
def linear_probe(
    rows: jax.Array,
    labels: jax.Array,
    *,
    classes: Count,
    penalty: NotNegative[float] = 1e-3,
    steps: Count = 100,
) -> Probe:
    """A softmax classifier of one layer's outputs (Alain & Bengio 2017, Understanding Intermediate Layers
    Using Linear Classifier Probes), by L-BFGS.

    Features are scaled to variance 1 on the way. Fit it to the training's rows, and judge it by others'.

    Args:
      rows: a layer's outputs, `[N, ...]`; see `activations`.
      labels: integers `[N]`, 0 to classes - 1; the probe is NaN where one is not.
      classes: C.
      penalty: half of it times the squared norm of the kernel of scaled features is added to the mean
        cross entropy; at 0 the kernel of separable classes grows without end.
      steps: iterations.

    Raises:
      ValueError: shapes that do not belong together.

    Example:
      >>> rows = jax.random.normal(jax.random.key(0), (100, 4))
      >>> labels = (rows[:, 0] > 0).astype(int)
      >>> probe = fdl.analysis.linear_probe(rows, labels, classes=2)
      >>> bool(probe.accuracy(rows, labels) > 0.95)
      True
    """
    features = as_matrix(rows)
    if labels.shape != features.shape[:1]:
        raise ValueError(
            f"rows are {list(rows.shape)} and labels {list(labels.shape)}; expected [N, ...] and [N]"
        )
    mean, apart = jnp.mean(features, 0), centred(features)
    deviation = jnp.sqrt(jnp.mean(apart**2, 0))
    scale = jnp.where(deviation > 0, deviation, 1)
    scaled = apart / scale

    def loss(parameters: Parameters) -> jax.Array:
        kernel, bias = parameters
        logits = jnp.matmul(scaled, kernel, precision="highest") + bias
        fit = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return jnp.mean(fit) + penalty / 2 * jnp.sum(kernel**2)

    start = (jnp.zeros((features.shape[1], classes), features.dtype), jnp.zeros(classes, features.dtype))
    (kernel, bias), gradient = _minimum(loss, start, steps)
    known = jnp.where(jnp.all((labels >= 0) & (labels < classes)), 1.0, jnp.nan)
    kernel = known * kernel / scale[:, None]
    return Probe(kernel, known * bias - jnp.matmul(mean, kernel, precision="highest"), known * gradient)


def _minimum(
    loss: Callable[[Parameters], jax.Array], start: Parameters, steps: int
) -> tuple[Parameters, jax.Array]:
    """Where L-BFGS ends, and the norm of the gradient there."""
    optimizer = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(loss)

    def step(carry: tuple[Parameters, Any], _: None) -> tuple[tuple[Parameters, Any], None]:
        parameters, state = carry
        value, gradient = value_and_grad(parameters, state=state)
        updates, state = optimizer.update(
            gradient, state, parameters, value=value, grad=gradient, value_fn=loss
        )
        return (optax.apply_updates(parameters, updates), state), None

    (parameters, _), _ = jax.lax.scan(step, (start, optimizer.init(start)), length=steps)
    return parameters, optax.tree.norm(jax.grad(loss)(parameters))
