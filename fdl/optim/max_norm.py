"""Max-norm: each unit's incoming weights stay inside a ball."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from fdl.arguments import NotNegative, checked
from fdl.optim.paths import map_kernels


@checked
def max_norm(limit: NotNegative[float | jax.Array]) -> optax.GradientTransformation:
    """Shortens, after the update, the weight vectors that are longer than `limit`.

    Srivastava et al. 2014, Dropout: A Simple Way to Prevent Neural Networks from Overfitting,
    sec. 5.1: the weights into each unit are projected onto a ball. It must come last:
    `optax.chain(optax.sgd(0.1), max_norm(3.0))`.

    Weight vectors are those of the leaves named `kernel` along all axes but the last (a layer stack's
    leading axis counts as one of them). What is short enough gets its update unchanged.

    Args:
      limit: the greatest Euclidean length; it may be traced.

    Example:
      >>> limit = fdl.optim.max_norm(1.0)
      >>> params = {"kernel": jnp.array([[3.0], [4.0]])}
      >>> updates, _ = limit.update({"kernel": jnp.zeros((2, 1))}, limit.init(params), params)
      >>> print((params["kernel"] + updates["kernel"]).round(3))
      [[0.6]
       [0.8]]
    """

    def project(update: jax.Array, param: jax.Array) -> jax.Array:
        new = param + update
        length = jnp.sqrt(jnp.sum(jnp.square(new), axis=range(new.ndim - 1), keepdims=True))
        long = length > limit
        return jnp.where(long, new * (limit / jnp.where(long, length, 1)) - param, update)

    def update(updates: Any, state: optax.EmptyState, params: Any = None) -> tuple[Any, optax.EmptyState]:
        if params is None:
            raise ValueError("max_norm got no parameters; call update(updates, state, params)")
        return map_kernels(project, updates, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
