"""Layers of local connections, in one or two spatial dimensions: shared, transposed, unshared."""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype

from fdl.arguments import Count, NotNegative, checked
from fdl.models.axes import constrain, with_axes
from fdl.models.convolve import Padding, convolve, shifted, window_of

_SPACE = {1: ("length",), 2: ("height", "width")}


def constrain_map(x: jax.Array) -> jax.Array:
    """A feature map `[B, *S, C]`, its axes named."""
    return constrain(x, "batch", *_SPACE[x.ndim - 2], "channels")


@checked
class Conv(nn.Module):
    """Convolution `[B, *S, I]` to `[B, *S', channels]`, by a kernel `[*K, I / groups, channels]`.

    Attributes:
      channels: output channels.
      size: entries of the kernel along each spatial axis.
      strides: steps of the kernel.
      padding: `"SAME"`, `"VALID"`, a number for all sides, or a pair for each axis.
      dilation: distance between the kernel's entries.
      groups: shares of the channels, each convolved by itself; None: depthwise, a share a channel.
      bias: whether a bias is added.
      weight: what the kernel is turned into before use, as by `weight_norm`, or None.
      initializer: makes the kernel's initialiser; the bias starts at zero.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.Conv(channels=16, size=3, strides=2)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 32, 32, 3)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 16, 16, 16)
    """

    channels: Count
    size: Count | Sequence[Count] = 3
    strides: Count | Sequence[Count] = 1
    padding: Padding = "SAME"
    dilation: Count | Sequence[Count] = 1
    groups: Count | None = 1
    bias: bool = True
    weight: Callable[[jax.Array], jax.Array] | None = None
    initializer: Callable[[], nn.initializers.Initializer] = nn.initializers.lecun_normal

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Convolves `x` `[B, *S, I]`.

        Raises:
          ValueError: channels that do not divide into the groups, or a padding of an unknown form.
        """
        groups = x.shape[-1] if self.groups is None else self.groups
        if groups > x.shape[-1]:
            raise ValueError(f"{x.shape[-1]} channels do not divide into {groups} groups")
        sizes = _sizes(self.size, x.ndim - 2)
        shape = (*sizes, x.shape[-1] // groups, self.channels)
        init = with_axes(self.initializer(), *(None,) * len(sizes), None, "channels")
        kernel = self.param("kernel", init, shape)
        kernel = kernel if self.weight is None else self.weight(kernel)
        x, kernel = promote_dtype(x, kernel, dtype=None)
        y = convolve(
            x, kernel, strides=self.strides, padding=self.padding, dilation=self.dilation, groups=groups
        )
        return constrain_map(_biased(self, y) if self.bias else y)


@checked
class ConvTranspose(nn.Module):
    """Transposed convolution: the map that is `Conv`'s gradient, with a kernel `[*K, I, channels]`.

    Inputs `[B, *S, I]` are spread by `strides` and convolved; the output has
    `(S - 1) strides - 2 padding + size` entries along an axis, as PyTorch's (whose kernel is flipped).

    Attributes:
      channels: output channels.
      size: entries of the kernel along each spatial axis.
      strides: distance between inputs in the output.
      padding: entries cut from each side of the output.
      bias: whether a bias is added.
      initializer: makes the kernel's initialiser; the bias starts at zero.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.ConvTranspose(channels=16, size=2, strides=2)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 32, 32, 3)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 64, 64, 16)
    """

    channels: Count
    size: Count = 2
    strides: Count = 2
    padding: NotNegative[int] = 0
    bias: bool = True
    initializer: Callable[[], nn.initializers.Initializer] = nn.initializers.lecun_normal

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Spreads and convolves `x` `[B, *S, I]`."""
        rank = x.ndim - 2
        init = with_axes(self.initializer(), *(None,) * rank, None, "channels")
        kernel = self.param("kernel", init, (self.size,) * rank + (x.shape[-1], self.channels))
        x, kernel = promote_dtype(x, kernel, dtype=None)
        y = convolve(x, kernel, spread=self.strides, padding=self.size - 1 - self.padding)
        return constrain_map(_biased(self, y) if self.bias else y)


@checked
class Local(nn.Module):
    """Locally connected: a `Conv` with kernels `[*S', prod(K) I, channels]` of each place's own.

    Attributes:
      channels: output channels.
      size: entries of the kernel along each spatial axis.
      strides: steps of the window.
      padding: `"SAME"`, `"VALID"`, a number for all sides, or a pair for each axis.
      bias: whether a bias `[*S', channels]` is added.
      initializer: makes the kernels' initialiser, for the shape `[prod(K) I, channels]`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.Local(channels=4, size=3)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 8, 8, 1)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 8, 8, 4)
      >>> sum(leaf.size for leaf in jax.tree.leaves(variables))
      2560
    """

    channels: Count
    size: Count | Sequence[Count] = 3
    strides: Count | Sequence[Count] = 1
    padding: Padding = "SAME"
    bias: bool = True
    initializer: Callable[[], nn.initializers.Initializer] = nn.initializers.lecun_normal

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Connects `x` `[B, *S, I]`."""
        sizes = _sizes(self.size, x.ndim - 2)
        window = window_of(x.shape, sizes, strides=self.strides, padding=self.padding)
        seen = jnp.concatenate(shifted(x, sizes, window), axis=-1)
        places, space = seen.shape[1:-1], _SPACE[x.ndim - 2]

        def each(key: jax.Array, shape: Sequence[int], dtype: jnp.dtype = jnp.float32) -> jax.Array:
            keys = jax.random.split(key, tuple(shape[:-2]))
            draw = lambda key: self.initializer()(key, shape[-2:], dtype)  # noqa: E731
            return jax.lax.map(draw, keys.ravel()).reshape(shape)

        init = with_axes(each, *space, None, "channels")
        kernel = self.param("kernel", init, (*places, seen.shape[-1], self.channels))
        seen, kernel = promote_dtype(seen, kernel, dtype=None)
        y = jnp.einsum("b...i,...io->b...o", seen, kernel)
        if self.bias:
            zeros = with_axes(nn.initializers.zeros, *space, "channels")
            y = y + self.param("bias", zeros, (*places, self.channels)).astype(y.dtype)
        return constrain_map(y)


def _sizes(size: int | Sequence[int], rank: int) -> tuple[int, ...]:
    return (size,) * rank if isinstance(size, int) else tuple(size)


def _biased(module: nn.Module, y: jax.Array) -> jax.Array:
    bias = module.param("bias", with_axes(nn.initializers.zeros, "channels"), (y.shape[-1],))
    return y + bias.astype(y.dtype)
