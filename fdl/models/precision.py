"""Mixed precision: parameters in float32, arithmetic in a narrower type."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


class MixedPrecision(nn.Module):
    """A model that computes in another type than its parameters are kept in.

    Micikevicius et al. 2018, Mixed Precision Training, sec. 3.1: an update may be too small to change a
    parameter of 16 bits. What is kept are float32 parameters, gradients, optimizer state and running
    statistics; sums over rows in norms, and losses, are float32 too. bfloat16 has float32's range, so
    losses need no scaling (Kalamkar et al. 2019, A Study of BFLOAT16 for Deep Learning Training).

    Attributes:
      model: what computes; it is called as a function, its other methods are not reached.
      compute: the type of its inputs, weights and activations.
      outputs: the type of its outputs.
    """

    model: nn.Module
    compute: Any = jnp.bfloat16
    outputs: Any = jnp.float32

    @nn.compact
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """What the model returns."""

        def run(model: Any, *arguments: Any, **options: Any) -> Any:
            return model(*arguments, **options)

        if not self.is_initializing():
            run = nn.map_variables(run, "params", trans_in_fn=lambda tree: _cast(tree, self.compute))
            arguments, options = _cast((arguments, options), self.compute)
        return _cast(run(self.model, *arguments, **options), self.outputs)


def _cast(tree: Any, dtype: Any) -> Any:
    """The tree with its arrays of floats in a type; all else as it is."""

    def each(leaf: Any) -> Any:
        is_float = hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)
        return leaf.astype(dtype) if is_float else leaf

    return jax.tree.map(each, tree)
