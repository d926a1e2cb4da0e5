"""The gradient of a scalar with respect to what every layer of a Flax model gives on."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from fdl.arguments import checked

_NAME = "gradient"


@checked
def layer_gradients(
    scalar: Callable[[Any], jax.Array],
    apply: Callable[..., Any],
    variables: Mapping[str, Any],
    x: Any,
) -> dict[str, jax.Array]:
    """The gradient of `scalar(outputs)` with respect to the outputs of all modules, by path; pure.

    A zero is added to every module's output (Flax's `perturb`, from outside: the model needs no change), and
    the gradient is taken with respect to the zeros. Paths are those of `activations`, with three differences:
    `jit` or not, they are sorted by name; layers that are scanned, as those of a deep `MLP`, stay together,
    `[L, B, ...]`, in order of the layers; and of a module that is called several times it is the sum over the
    calls. Only outputs that are one array are told.

    Args:
      scalar: a function of the model's outputs, as a loss with its labels.
      apply: `model.apply` of Flax, or a function that gives its keywords on to it, as
        `functools.partial(model.apply, train=True)`.
      variables: the model's collections; their running statistics stay as they are.
      x: the batch as the model takes it, arrays `[B, ...]`.

    Returns:
      Arrays of the outputs' shapes.

    Raises:
      ValueError: no module has an output that is one array.

    Example:
      >>> model = fdl.models.MLP(widths=(16, 8), outputs=3)
      >>> x = jnp.ones((5, 4))
      >>> variables = model.init(jax.random.key(0), x)
      >>> found = fdl.analysis.layer_gradients(jnp.sum, model.apply, variables, x)
      >>> found["Layer_0"].shape, found["output"].tolist()[0]
      ((5, 16), [1.0, 1.0, 1.0])
    """
    changing = [name for name in variables if name != "params"]

    def outputs(zeros: Any) -> tuple[Any, Any]:
        with nn.intercept_methods(_perturbed):
            found, changed = apply({**variables, **zeros}, x, mutable=[*changing, "perturbations"])
        return found, changed.get("perturbations", {})

    _, shapes = jax.eval_shape(outputs, {})
    if not shapes:
        raise ValueError("no module of the model gives one array; expected model.apply of a Flax model")
    zeros = jax.tree.map(lambda one: jnp.zeros(one.shape, one.dtype), shapes)
    gradients = jax.grad(lambda zeros: scalar(outputs({"perturbations": zeros})[0]))(zeros)
    flat: Any = flatten_dict(gradients)
    named = {"/".join(path[:-1]) or "output": leaf for path, leaf in flat.items()}
    return dict(sorted(named.items()))


def _perturbed(
    call: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext
) -> Any:
    """What a module gives on, and a variable that is added to it."""
    found = call(*args, **kwargs)
    if context.method_name != "__call__" or not isinstance(found, jax.Array):
        return found
    return context.module.perturb(_NAME, found)
