"""A loss as a function of the parameters alone, which every analysis of gradients and curvature takes."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

Variables = Mapping[str, Any]
Loss = Callable[[Variables, Any], jax.Array]
"""`loss(variables, batch)`, a scalar: the mean over the batch's rows."""


def of_parameters(loss: Loss, variables: Variables, batch: Any) -> tuple[Callable[[Any], jax.Array], Any]:
    """The loss of a batch as a function of `variables["params"]`, and these; the other collections stay.

    Raises:
      ValueError: there is no `"params"`, or the loss is no scalar.
    """
    if "params" not in variables:
        raise ValueError(f'variables have {sorted(variables)}; expected "params" among them')
    others, params = dict(variables), nn.meta.unbox(variables["params"])

    def objective(params: Any) -> jax.Array:
        value = loss(others | {"params": params}, batch)
        if jnp.shape(value):
            raise ValueError(f"the loss is of shape {list(jnp.shape(value))}; expected a scalar")
        return value

    return objective, params


def by_layer(params: Any) -> dict[str, list[jax.Array]]:
    """The leaves by the path of their module, as `"Layer_0/Dense_0"`; `"params"` for the model's own."""
    found = {}
    for path, leaf in jax.tree.leaves_with_path(params):
        keys = [str(getattr(key, "key", getattr(key, "name", key))) for key in path[:-1]]
        found.setdefault("/".join(keys) or "params", []).append(leaf)
    return found
