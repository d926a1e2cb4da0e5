"""Pooling over windows of `[B, *S, C]`, in forms whose gradients are fast on CPUs too."""

import itertools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl.arguments import Count, checked
from fdl.models.convolve import Padding, shifted, window_of


@checked
def max_pool(
    x: jax.Array, window: Count = 2, strides: Count | None = None, padding: Padding = "VALID"
) -> jax.Array:
    """The largest entry of each window of `x` `[B, *S, C]`; `strides` is `window` if None.

    Where windows tile the input, equal largest entries share the gradient; where they overlap, one
    of them gets it all.

    Example:
      >>> from fdl import models
      >>> import jax.numpy as jnp
      >>> models.max_pool(jnp.arange(16.0).reshape(1, 4, 4, 1)).reshape(2, 2)
      Array([[ 5.,  7.],
             [13., 15.]], dtype=float32)
    """
    if strides in (None, window) and padding == "VALID":  # reduce_window's gradient is slow on CPUs
        return jnp.max(_tiles(x, window), axis=range(2, 2 * x.ndim - 3, 2))
    return nn.max_pool(x, *_flax(x, window, strides, padding))


@checked
def average_pool(
    x: jax.Array, window: Count = 2, strides: Count | None = None, padding: Padding = "VALID"
) -> jax.Array:
    """The mean of each window of `x` `[B, *S, C]`, padding's zeros counted; `strides` is `window` if None.

    Example:
      >>> from fdl import models
      >>> import jax.numpy as jnp
      >>> models.average_pool(jnp.arange(16.0).reshape(1, 4, 4, 1)).reshape(2, 2)
      Array([[ 2.5,  4.5],
             [10.5, 12.5]], dtype=float32)
    """
    if strides in (None, window) and padding == "VALID":
        return jnp.mean(_tiles(x, window), axis=range(2, 2 * x.ndim - 3, 2))
    return nn.avg_pool(x, *_flax(x, window, strides, padding))


@checked
def global_average(x: jax.Array) -> jax.Array:
    """The mean of `x` `[B, *S, C]` over its spatial axes: `[B, C]` (Lin et al. 2014, Network in Network).

    Example:
      >>> from fdl import models
      >>> import jax.numpy as jnp
      >>> models.global_average(jnp.ones((1, 8, 8, 3))).shape
      (1, 3)
    """
    return jnp.mean(x, axis=range(1, x.ndim - 1))


@checked
def blur_pool(x: jax.Array, strides: Count = 2, size: Count = 3) -> jax.Array:
    """`x` `[B, *S, C]`, blurred by a binomial filter, then subsampled: `[B, *ceil(S / strides), C]`.

    Zhang 2019, Making Convolutional Networks Shift-Invariant Again, sec. 3.2: anti-aliased
    subsampling. An anti-aliased max pool is `max_pool(x, 2, 1)` and then this. The borders are
    mirrored, without the border entry itself.

    Args:
      x: the input.
      strides: the subsampling factor.
      size: entries of the filter along an axis: 3 is [1, 2, 1] / 4.

    Example:
      >>> from fdl import models
      >>> import jax.numpy as jnp
      >>> models.blur_pool(jnp.ones((1, 8, 8, 3)), strides=2).shape
      (1, 4, 4, 3)
    """
    rank = x.ndim - 2
    before = (size - 1) // 2
    sides = ((0, 0), *((before, size - 1 - before),) * rank, (0, 0))
    x = jnp.pad(x, sides, mode="reflect")
    weights = [math.comb(size - 1, k) / 2 ** (size - 1) for k in range(size)]
    sizes = (size,) * rank
    views = shifted(x, sizes, window_of(x.shape, sizes, strides=strides, padding="VALID"))
    factors = map(math.prod, itertools.product(weights, repeat=rank))
    return sum((view * factor for view, factor in zip(views, factors, strict=True)), jnp.zeros((), x.dtype))


def _tiles(x: jax.Array, window: int) -> jax.Array:
    """`[B, *S, C]` as `[B, S // window, window, ..., C]`; what is left over at the end is cut."""
    counts = [n // window for n in x.shape[1:-1]]
    x = x[(slice(None), *(slice(count * window) for count in counts))]
    return x.reshape(x.shape[0], *itertools.chain(*((count, window) for count in counts)), x.shape[-1])


def _flax(x: jax.Array, window: int, strides: int | None, padding: Padding) -> tuple:
    rank = x.ndim - 2
    pairs = [(padding, padding)] * rank if isinstance(padding, int) else padding
    return (window,) * rank, (strides or window,) * rank, pairs
