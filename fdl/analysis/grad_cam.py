"""Grad-CAM: which places of a layer's feature map an output comes from."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl.analysis.chosen_output import Apply, chosen_output
from fdl.arguments import Whole, checked
from fdl.text import hint


@checked
def grad_cam(
    apply: Apply, variables: Any, x: jax.Array, target: Whole[jax.Array], *, layer: str
) -> jax.Array:
    """Grad-CAM (Selvaraju et al. 2017, Grad-CAM, eq. 1 and 2): the sum of a layer's channels, each weighed by
    the mean gradient of the output over its places; what is below 0 is cut off.

    The layer's output is read, and its gradient taken, by intercepting the call of the Flax module; the model
    knows nothing of it. Take the activation that the paper means, the last feature map before places are
    lost.

    Args:
      apply: `apply(variables, x)` gives outputs `[B, C]`, each row by itself; a Flax model's own.
      variables: the model's.
      x: rows `[B, *S, C]`, as the model gets them.
      target: which output of each row is explained, `[B]`.
      layer: the path of a module, as in the parameters: `"Conv_1"`, `"stage/Conv_0"`. Its output is
        `[B, *S', D]`, of as many spatial axes as `x`.

    Returns:
      `[B, *S]`, not negative: the map `[B, *S']`, linearly interpolated to the size of `x`.

    Raises:
      ValueError: a layer that is not there, is called more than once or inside `nn.scan` or `nn.remat`, or
        has no such output.

    Example:
      >>> model = fdl.models.conv_net(channels=(4, 8), hidden=(), outputs=3)
      >>> x = jnp.ones((2, 8, 8, 1))
      >>> variables = model.init(jax.random.key(0), x)
      >>> fdl.analysis.grad_cam(model.apply, variables, x, jnp.array([0, 2]), layer="Conv_1").shape
      (2, 8, 8)
    """

    paths: list[str] = []

    def shifted_output(shift: jax.Array) -> tuple[jax.Array, list[jax.Array]]:
        seen: list[jax.Array] = []
        with nn.intercept_methods(_shifting(layer, shift, seen, paths)):
            outputs = chosen_output(apply, variables, x, target)
        return jnp.sum(outputs), [jax.lax.stop_gradient(one) for one in seen]  # fails here if it leaked

    def slope_and_map() -> tuple[jax.Array, jax.Array]:
        _, seen = jax.eval_shape(shifted_output, jnp.zeros(()))
        if not seen:
            raise ValueError(
                f"there is no layer {layer!r}; {hint(layer, dict.fromkeys(filter(None, paths)))}"
            )
        if len(seen) != 1:
            raise ValueError(f"the layer {layer!r} is called {len(seen)} times; expected once")
        if len(seen[0].shape) != x.ndim or x.ndim < 3:
            raise ValueError(f"the layer {layer!r} gives {seen[0].shape} of {x.shape}; expected [B, *S, D]")
        slope, (maps,) = jax.grad(shifted_output, has_aux=True)(jnp.zeros(seen[0].shape, seen[0].dtype))
        return slope, maps

    try:
        slope, maps = slope_and_map()
    except jax.errors.UnexpectedTracerError:
        raise ValueError(f"the layer {layer!r} is inside nn.scan or nn.remat; expected one outside") from None
    places = tuple(range(1, x.ndim - 1))
    weights = jnp.mean(slope, axis=places, keepdims=True)
    heat = nn.relu(jnp.sum(weights * maps, axis=-1))
    return jax.image.resize(heat, x.shape[:-1], "linear")


def _shifting(layer: str, shift: jax.Array, seen: list[jax.Array], paths: list[str]) -> Callable[..., Any]:
    """An interceptor that adds to the output of a layer, and keeps it, and which layers there are."""

    def intercept(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        y = call(*args, **kwargs)
        path = "/".join(context.module.path)
        paths.append(path)
        if context.method_name == "__call__" and path == layer:
            y = y + shift
            seen.append(y)
        return y

    return intercept
