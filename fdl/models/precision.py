"""Mixed precision: parameters in float32, arithmetic in a narrower type."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl.arguments import checked
from fdl.models.wrapped import Wrapped, calling


@checked
class MixedPrecision(Wrapped):
    """A model that computes in another type than its parameters are kept in.

    Micikevicius et al. 2018, Mixed Precision Training, sec. 3.1: an update may be too small to change a
    parameter of 16 bits. What is kept are float32 parameters, gradients, optimizer state and running
    statistics; sums over rows in norms, and losses, are float32 too. bfloat16 has float32's range, so
    losses need no scaling (Kalamkar et al. 2019, A Study of BFLOAT16 for Deep Learning Training).

    Attributes:
      model: what computes, see `Wrapped`; its cache is of the type that computes.
      compute: the type of its inputs, weights and activations. Inputs of one number a row `[B]`, such as the
        times of diffusion, stay as they are: in bfloat16 there are 256 between 0.5 and 1.
      outputs: the type of its outputs.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.MixedPrecision(models.MLP((64,), 10))
      >>> outputs, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), jnp.zeros((1, 8)))
      >>> outputs.dtype, {str(leaf.dtype) for leaf in jax.tree.leaves(variables)}
      (dtype('float32'), {'float32'})
    """

    compute: Any = jnp.bfloat16
    outputs: Any = jnp.float32

    def run(self, method: str, arguments: Any, options: Any) -> Any:
        """What the model's method returns, computed in `compute`."""
        run = calling(method)
        if not self.is_initializing():
            run = nn.map_variables(run, "params", trans_in_fn=lambda tree: _cast(tree, self.compute))
            arguments, options = _cast((arguments, options), self.compute, least=2)
        return _cast(run(self.model, *arguments, **options), self.outputs)


def _cast(tree: Any, dtype: Any, *, least: int = 0) -> Any:
    """The tree with its arrays of floats, of `least` axes or more, in a type; all else as it is."""

    def each(leaf: Any) -> Any:
        is_float = hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)
        return leaf.astype(dtype) if is_float and leaf.ndim >= least else leaf

    return jax.tree.map(each, tree)
