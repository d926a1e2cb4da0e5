"""Mixed precision: parameters in float32, arithmetic in a narrower type."""

from typing import Any, cast

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
      model: what computes. Beside itself, it is asked for `encode`, `decode`, `features` and `cached`,
        where it has them: what tasks call.
      compute: the type of its inputs, weights and activations. Inputs of one number a row `[B]`, such as the
        times of diffusion, stay as they are: in bfloat16 there are 256 between 0.5 and 1.
      outputs: the type of its outputs.
    """

    model: nn.Module
    compute: Any = jnp.bfloat16
    outputs: Any = jnp.float32

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """What the model returns."""
        return self._run("__call__", arguments, options)

    def encode(self, *arguments: Any, **options: Any) -> Any:
        """What the model's `encode` returns."""
        return self._run("encode", arguments, options)

    def decode(self, *arguments: Any, **options: Any) -> Any:
        """What the model's `decode` returns."""
        return self._run("decode", arguments, options)

    def features(self, *arguments: Any, **options: Any) -> Any:
        """What the model's `features` returns."""
        return self._run("features", arguments, options)

    @nn.nowrap
    def cached(self, size: int) -> "MixedPrecision":
        """The same with the model's `cached(size)`; the cache is of the type that computes."""
        return self.clone(model=cast(Any, self.model).cached(size))

    def _run(self, method: str, arguments: Any, options: Any) -> Any:
        def run(model: Any, *arguments: Any, **options: Any) -> Any:
            return getattr(model, method)(*arguments, **options)

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
