"""Which number of a network is explained: one output of each row."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

Apply = Callable[..., Any]
"""`apply(variables, x)`: outputs `[B, C]` of rows `x` `[B, ...]`, each by itself, as in evaluation."""


def chosen_output(apply: Apply, variables: Any, x: jax.Array, target: jax.Array) -> jax.Array:
    """`[B]`: of each row's outputs the one that is explained.

    Raises:
      ValueError: outputs that are not `[B, C]`, or targets that are none of them.
    """
    outputs = apply(variables, x)
    shape = getattr(outputs, "shape", None)
    if shape is None or len(shape) != 2 or shape[0] != x.shape[0]:
        raise ValueError(f"apply gives {shape or type(outputs).__name__}; expected [{x.shape[0]}, C]")
    if target.shape != x.shape[:1]:
        raise ValueError(
            f"target has the shape {target.shape}; expected {x.shape[:1]}, an output of each row"
        )
    if not isinstance(target, Tracer):
        beyond = [int(one) for one in np.asarray(target) if not 0 <= one < shape[1]]
        if beyond:
            raise ValueError(f"target has {beyond[0]}; expected 0 to {shape[1] - 1}")
    return jnp.take_along_axis(outputs, target[:, None], axis=1)[:, 0]


def input_gradient(apply: Apply, variables: Any, x: jax.Array, target: jax.Array) -> jax.Array:
    """The gradient of each row's chosen output with respect to this row, as `x`."""
    return jax.grad(lambda x: jnp.sum(chosen_output(apply, variables, x, target)))(x)
