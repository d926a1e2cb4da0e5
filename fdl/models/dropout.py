"""Dropout whose rate may be traced (Flax's own branches on it in Python)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl import shards
from fdl.arguments import Share, checked


@checked
class Dropout(nn.Module):
    """Sets entries to zero with probability `rate` and divides the others by `1 - rate`.

    Srivastava et al. 2014, Dropout: A Simple Way to Prevent Neural Networks from Overfitting,
    sec. 4, in the inverted form: evaluation is the identity. Masks come from the key stream
    `"dropout"`. A Python 0 draws nothing; a traced 0.0 draws, and returns the input exactly.

    Attributes:
      rate: the probability of a zero, in [0, 1]; a Python number or a traced scalar.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.MLP(widths=(64,), outputs=10, dropout=0.5)
      >>> outputs, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), jnp.zeros((1, 8)))
      >>> outputs.shape
      (1, 10)
    """

    rate: Share[float | jax.Array]

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Drops entries of `x` `[...]` if `train`, else returns it."""
        if isinstance(self.rate, int | float) and self.rate == 0:
            return x
        if not train:
            return x
        kept = lambda key, shape: jax.random.bernoulli(key, 1.0 - self.rate, shape)  # noqa: E731
        keep = shards.draw(kept, self.make_rng("dropout"), x.shape)
        # At rate 1 nothing is kept: the divisor only has to be one that makes no NaN.
        divisor = jnp.where(self.rate < 1.0, 1.0 - self.rate, 1.0).astype(x.dtype)
        return jnp.where(keep, x / divisor, 0)
