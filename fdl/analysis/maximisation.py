"""Feature visualisation: the inputs to which a unit answers most."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from fdl.analysis.activations import activations
from fdl.arguments import Count, Positive, checked

Layers = Mapping[str, jax.Array]


@checked
def maximise_activation(
    apply: Callable[..., Any],
    variables: Mapping[str, Any],
    x: jax.Array,
    unit: Callable[[Layers], jax.Array],
    *,
    norm: Positive[float],
    rate: Positive[float] = 0.1,
    steps: Count = 200,
) -> jax.Array:
    """Inputs of one norm at which a unit's activation is largest, by gradient ascent from given ones.

    Erhan et al. 2009, Visualizing Higher-Layer Features of a Deep Network, sec. 4: `max f(x)` where
    `||x|| = norm`. Each step goes `rate * norm` along the gradient's direction and back to the sphere. It is
    a local maximum; start from several inputs. Where the gradient is 0, as of a dead unit, x stays.

    Args:
      apply: `model.apply`; see `activations`.
      variables: the model's collections.
      x: where to start, floats `[B, ...]`, each row on its own and not 0.
      unit: `unit(layers) -> [B]` of the model's `activations`, as
        `lambda layers: layers["Layer_0/Dense_0"][:, 3]`; of a rectified unit take what is before.
      norm: of each row's input.
      rate: length of a step by the norm.
      steps: how many.

    Returns:
      `[B, ...]`.

    Raises:
      ValueError: `apply` is not Flax's.

    Example:
      >>> model = fdl.models.MLP(widths=(), outputs=2)
      >>> dense = {"kernel": jnp.array([[3.0, 0.0], [4.0, 1.0]]), "bias": jnp.zeros(2)}
      >>> variables = {"params": {"Dense_0": dense}}
      >>> found = fdl.analysis.maximise_activation(
      ...     model.apply, variables, jnp.array([[1.0, 0.0]]), lambda layers: layers["output"][:, 0], norm=5.0
      ... )
      >>> [round(float(value), 3) for value in found[0]]  # along the unit's weights
      [3.0, 4.0]
    """

    def on_sphere(x: jax.Array) -> jax.Array:
        return x * (norm / _norms(x))

    def total(x: jax.Array) -> jax.Array:
        return jnp.sum(unit(activations(apply, variables, x)))

    def step(x: jax.Array, _: None) -> tuple[jax.Array, None]:
        gradient = jax.grad(total)(x)
        size = _norms(gradient)
        return on_sphere(x + rate * norm * gradient / jnp.where(size > 0, size, 1)), None

    return jax.lax.scan(step, on_sphere(x), length=steps)[0]


def _norms(x: jax.Array) -> jax.Array:
    """Of each row, `[B, 1, ...]`."""
    norms = jnp.linalg.norm(x.reshape(x.shape[0], -1), axis=1)
    return norms.reshape(-1, *[1] * (x.ndim - 1))
