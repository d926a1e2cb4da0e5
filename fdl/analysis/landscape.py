"""Slices of a loss: its values along directions through parameter space."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl import rng
from fdl.analysis.objective import Loss, Variables, of_parameters
from fdl.arguments import checked


@checked
def filter_normalised(variables: Variables, key: jax.Array) -> Any:
    """A random direction in which each filter is as long as the parameters' own.

    Li et al. 2018, Visualizing the Loss Landscape of Neural Nets, sec. 4: normal draws, each filter scaled
    to the norm of the filter there; biases and norms' parameters (arrays of one axis) do not move. A filter
    is what belongs to one index of the last axis: the weights to one unit of a dense layer, to one channel of
    a convolution. Of scanned layers `[L, ...]` it is that of all L together.

    Args:
      variables: the model's collections.
      key: what the direction is drawn with.

    Returns:
      A tree like `variables["params"]`.

    Example:
      >>> kernel = jnp.array([[3.0, 0.0], [4.0, 1.0]])
      >>> direction = fdl.analysis.filter_normalised({"params": {"kernel": kernel}}, jax.random.key(0))
      >>> jnp.linalg.norm(direction["kernel"], axis=0).round(3)
      Array([5., 1.], dtype=float32)
    """
    leaves, structure = jax.tree.flatten(nn.meta.unbox(variables["params"]))

    def draw(leaf: jax.Array, key: jax.Array) -> jax.Array:
        if leaf.ndim < 2:
            return jnp.zeros_like(leaf)
        drawn = jax.random.normal(key, leaf.shape, leaf.dtype)
        norm = lambda array: jnp.linalg.norm(array.reshape(-1, array.shape[-1]), axis=0)  # noqa: E731
        return drawn * (norm(leaf) / norm(drawn))

    keys = jax.random.split(rng.stream(key, "direction"), len(leaves))
    return structure.unflatten([draw(leaf, one) for leaf, one in zip(leaves, keys, strict=True)])


@checked
def loss_slice(
    loss: Loss, variables: Variables, batch: Any, directions: Sequence[Any], offsets: jax.Array
) -> jax.Array:
    """The loss at the parameters plus multiples of directions.

    Args:
      loss: `loss(variables, batch)`, a scalar.
      variables: the model's collections.
      batch: what the loss takes.
      directions: D trees like `variables["params"]`, as of `filter_normalised`.
      offsets: how far to go in each, `[K, D]`; of a grid all its points.

    Returns:
      `[K]`.

    Raises:
      ValueError: offsets of another shape, no `"params"`, or a loss that is no scalar.

    Example:
      >>> loss = lambda variables, batch: jnp.sum(variables["params"]["w"] ** 2)
      >>> at, direction = {"params": {"w": jnp.ones(2)}}, {"w": jnp.array([1.0, 0.0])}
      >>> fdl.analysis.loss_slice(loss, at, None, [direction], jnp.array([[-1.0], [0.0], [2.0]]))
      Array([ 1.,  2., 10.], dtype=float32)
    """
    if offsets.ndim != 2 or offsets.shape[1] != len(directions):
        raise ValueError(
            f"offsets are {list(offsets.shape)}; expected [K, {len(directions)}], one a direction"
        )
    objective, params = of_parameters(loss, variables, batch)

    def at(offset: jax.Array) -> jax.Array:
        moved = params
        for index, direction in enumerate(directions):
            moved = jax.tree.map(
                lambda p, d, by=offset[index]: p + (by * d).astype(p.dtype), moved, direction
            )
        return objective(moved)

    return jax.lax.map(at, offsets)
