"""Stochastic depth: whole residual branches are left out at random, row by row."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl import shards
from fdl.arguments import Share, checked


@checked
class DropPath(nn.Module):
    """Sets whole rows of a branch to zero with probability `rate` and divides the others by `1 - rate`.

    Huang et al. 2016, Deep Networks with Stochastic Depth, sec. 3, drop a block for a whole batch and
    scale it in evaluation; here each row is drawn by itself, and evaluation is the identity. In a
    residual block: `x + DropPath(rate)(branch(x), train)`. Masks come from the key stream `"dropout"`.
    A Python 0 draws nothing; a traced 0.0 draws, and returns the input exactly.

    Attributes:
      rate: the probability that a row's branch is left out, in [0, 1]; a Python number or a traced scalar.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.DropPath(rate=0.1)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 8)), False)
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 8)
    """

    rate: Share[float | jax.Array]

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Drops rows of the branch `x` `[B, ...]` if `train`, else returns it."""
        if isinstance(self.rate, int | float) and self.rate == 0:
            return x
        if not train:
            return x
        shape = (x.shape[0],) + (1,) * (x.ndim - 1)
        kept = lambda key, shape: jax.random.bernoulli(key, 1.0 - self.rate, shape)  # noqa: E731
        keep = shards.draw(kept, self.make_rng("dropout"), shape)
        # At rate 1 nothing is kept: the divisor only has to be one that makes no NaN.
        divisor = jnp.where(self.rate < 1.0, 1.0 - self.rate, 1.0).astype(x.dtype)
        return jnp.where(keep, x / divisor, 0)
