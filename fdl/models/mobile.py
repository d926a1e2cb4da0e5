"""Depthwise separable convolutions, and the MobileNet made of them."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax

from fdl.arguments import Count, checked
from fdl.models.axes import constrain, with_axes
from fdl.models.conv import Conv
from fdl.models.norms import batch_norm
from fdl.models.pooling import global_average


@checked
class SeparableConv(nn.Module):
    """A 3x3 depthwise and a 1x1 convolution, each with norm and activation.

    Howard et al. 2017, MobileNets, sec. 3.1 and fig. 3.

    Attributes:
      channels: output channels.
      strides: of the depthwise convolution.
      activation: the nonlinearity.
      norm: after each convolution, `norm(x, train)`.
      initializer: makes the initialiser of the kernels.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.SeparableConv(channels=32, strides=2)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 32, 32, 3)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 16, 16, 32)
    """

    channels: Count
    strides: Count = 1
    activation: Callable[[jax.Array], jax.Array] = nn.relu
    norm: Callable[[jax.Array, bool], jax.Array] = batch_norm
    initializer: Callable[[], nn.initializers.Initializer] = nn.initializers.he_normal

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """`[B, H, W, I]` to `[B, H / strides, W / strides, channels]`."""
        conv = functools.partial(Conv, bias=False, initializer=self.initializer)
        x = conv(x.shape[-1], size=3, strides=self.strides, padding=1, groups=None)(x)
        x = self.activation(self.norm(x, train))
        return self.activation(self.norm(conv(self.channels, size=1)(x), train))


@checked
class MobileNet(nn.Module):
    """A 3x3 convolution, separable ones, the global average and a linear classifier.

    Attributes:
      blocks: (channels, strides) of each separable convolution.
      outputs: how many outputs there are.
      width: channels of the first convolution.
      strides: of the first convolution.
      activation: the nonlinearity.
      norm: after each convolution, `norm(x, train)`.
      initializer: makes the initialiser of the kernels.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.MobileNet(blocks=((32, 1), (64, 2)), outputs=10, width=16)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 32, 32, 3)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 10)
    """

    blocks: tuple[tuple[Count, Count], ...]
    outputs: Count
    width: Count = 32
    strides: Count = 1
    activation: Callable[[jax.Array], jax.Array] = nn.relu
    norm: Callable[[jax.Array, bool], jax.Array] = batch_norm
    initializer: Callable[[], nn.initializers.Initializer] = nn.initializers.he_normal

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Logits `[B, outputs]` of images `[B, H, W, C]`."""
        stem = Conv(self.width, strides=self.strides, padding=1, bias=False, initializer=self.initializer)
        x = self.activation(self.norm(stem(x), train))
        for channels, strides in self.blocks:
            x = SeparableConv(channels, strides, self.activation, self.norm, self.initializer)(x, train)
        kernel = with_axes(nn.initializers.lecun_normal(), "channels", None)
        dense = nn.Dense(self.outputs, kernel_init=kernel, bias_init=with_axes(nn.initializers.zeros, None))
        return constrain(dense(global_average(x)), "batch", None)


@checked
def mobilenet(outputs: Count = 1000, **options: Any) -> MobileNet:
    """Howard et al. 2017, table 1, for images of 224x224: 4,231,976 parameters with 1,000 outputs.

    `options` are `MobileNet`'s attributes.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.mobilenet(outputs=1000)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 224, 224, 3)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 1000)
    """
    blocks = (
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        *((512, 1),) * 5,
        (1024, 2),
        (1024, 1),
    )
    return MobileNet(blocks, outputs, **{"strides": 2, **options})


@checked
def small_mobilenet(outputs: Count = 10, **options: Any) -> MobileNet:
    """Six separable convolutions for images of about 32x32; `options` are `MobileNet`'s attributes.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.small_mobilenet(outputs=10)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 32, 32, 3)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 10)
      >>> sum(leaf.size for leaf in jax.tree.leaves(variables))
      57194
    """
    return MobileNet(
        ((32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (128, 1)), outputs, **{"width": 16, **options}
    )
