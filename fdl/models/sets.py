"""Deep Sets: functions of sets, which do not depend on the order of their elements."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl.arguments import checked
from fdl.models.axes import constrain

Pool = Callable[[jax.Array, jax.Array], jax.Array]
"""`pool(x, mask)`, `[B, N, D]` and bool `[B, N, 1]` to `[B, D]`, in whatever order the elements come."""


@checked
def sum_pool(x: jax.Array, mask: jax.Array) -> jax.Array:
    """The sum of the elements that there are; of none, zero.

    Example:
      >>> from fdl import models
      >>> import jax.numpy as jnp
      >>> x = jnp.array([[[1.0], [3.0], [9.0]]])  # one set of three, the last one missing
      >>> mask = jnp.array([[[True], [True], [False]]])
      >>> models.sum_pool(x, mask)
      Array([[4.]], dtype=float32)
    """
    return jnp.sum(jnp.where(mask, x, 0), axis=1)


@checked
def mean_pool(x: jax.Array, mask: jax.Array) -> jax.Array:
    """The mean of the elements that there are; of none, zero.

    Example:
      >>> from fdl import models
      >>> import jax.numpy as jnp
      >>> x = jnp.array([[[1.0], [3.0], [9.0]]])  # one set of three, the last one missing
      >>> mask = jnp.array([[[True], [True], [False]]])
      >>> models.mean_pool(x, mask)
      Array([[2.]], dtype=float32)
    """
    return sum_pool(x, mask) / jnp.maximum(jnp.sum(mask, axis=1), 1)


@checked
def max_pool_set(x: jax.Array, mask: jax.Array) -> jax.Array:
    """The largest of the elements that there are, feature by feature; of none, zero.

    Example:
      >>> from fdl import models
      >>> import jax.numpy as jnp
      >>> x = jnp.array([[[1.0], [3.0], [9.0]]])  # one set of three, the last one missing
      >>> mask = jnp.array([[[True], [True], [False]]])
      >>> models.max_pool_set(x, mask)
      Array([[3.]], dtype=float32)
    """
    largest = jnp.max(jnp.where(mask, x, -jnp.inf), axis=1)
    return jnp.where(jnp.any(mask, axis=1), largest, 0)


@checked
class DeepSets(nn.Module):
    """`whole(pool(each(x_1), ..., each(x_N)))`.

    Zaheer et al. 2017, Deep Sets, theorem 2.

    Attributes:
      each: a module `each(x, train)`, `[B N, D]` to `[B N, F]`: every element by itself. Batch norm in it
        would count the elements that are missing.
      whole: a module `whole(x, train)` on `[B, F]`.
      pool: `sum_pool`, `mean_pool`, `max_pool_set`, or any function of their form.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.DeepSets(each=models.MLP((64,), 16), whole=models.MLP((64,), 1))
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 10, 3)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 1)
    """

    each: nn.Module
    whole: nn.Module
    pool: Pool = sum_pool

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False, *, mask: jax.Array | None = None) -> jax.Array:
        """The outputs of `whole` for sets `x` `[B, N, D]`; `mask` bool `[B, N]` is False where there is no
        element, and None where sets are complete."""
        rows, elements = x.shape[:2]
        mask = jnp.ones((rows, elements), bool) if mask is None else mask
        y = self.each(x.reshape(rows * elements, -1), train).reshape(rows, elements, -1)
        y = self.pool(constrain(y, "batch", "length", "mlp"), mask[..., None])
        return self.whole(constrain(y, "batch", "mlp"), train)
