"""Residual networks, and the plain networks that they were compared with."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl.arguments import Count, NotNegative, checked
from fdl.models.axes import constrain, with_axes
from fdl.models.conv import Conv
from fdl.models.norms import batch_norm
from fdl.models.pooling import global_average, max_pool

Activation = Callable[[jax.Array], jax.Array]
Norm = Callable[[jax.Array, bool], jax.Array]
Initializer = Callable[[], nn.initializers.Initializer]


@checked
class Residual(nn.Module):
    """A block of He et al. 2016, fig. 5: two 3x3 convolutions, or 1x1, 3x3, 1x1 around a bottleneck.

    Each convolution is normalised; the activation comes after all but the last, and after the sum.

    Attributes:
      channels: of the 3x3 convolutions.
      strides: of the first 3x3 convolution.
      bottleneck: whether there are three convolutions; the output has `4 channels` then.
      project: whether a shortcut to another shape is a 1x1 convolution (option B) or subsamples and
        adds channels of zeros (option A).
      skip: whether the input is added.
      activation: the nonlinearity.
      norm: after each convolution.
      last_norm: in place of `norm` after the last convolution.
      initializer: makes the initialiser of the kernels.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.Residual(
      ...     channels=16, strides=2, bottleneck=False, project=True, skip=True, activation=jax.nn.relu,
      ...     norm=models.batch_norm, last_norm=models.batch_norm, initializer=jax.nn.initializers.he_normal)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 32, 32, 3)), False)
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 16, 16, 16)
    """

    channels: Count
    strides: Count
    bottleneck: bool
    project: bool
    skip: bool
    activation: Activation
    norm: Norm | None
    last_norm: Norm | None
    initializer: Initializer

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        conv = functools.partial(Conv, bias=self.norm is None, initializer=self.initializer)
        three = functools.partial(conv, self.channels, size=3, padding=1)
        if self.bottleneck:
            layers = [
                conv(self.channels, size=1),
                three(strides=self.strides),
                conv(4 * self.channels, size=1),
            ]
        else:
            layers = [three(strides=self.strides), three()]
        y = x
        for layer in layers[:-1]:
            y = self.activation(_normed(self.norm, layer(y), train))
        y = _normed(self.last_norm, layers[-1](y), train)
        if self.skip:
            y = y + self._shortcut(x, y.shape[-1], train)
        return self.activation(y)

    def _shortcut(self, x: jax.Array, channels: int, train: bool) -> jax.Array:
        if self.strides == 1 and x.shape[-1] == channels:
            return x
        if self.project:
            layer = Conv(
                channels,
                size=1,
                strides=self.strides,
                padding=0,
                bias=self.norm is None,
                initializer=self.initializer,
            )
            return _normed(self.norm, layer(x), train)
        more = channels - x.shape[-1]
        x = x[:, :: self.strides, :: self.strides]
        return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (more // 2, more - more // 2)))


@checked
class ResNet(nn.Module):
    """Stages of residual blocks, each stage but the first halving the image; then a linear classifier.

    Attributes:
      blocks: how many blocks each stage has.
      outputs: how many outputs there are.
      width: channels of the first stage; each stage has twice the former's.
      bottleneck: see `Residual`.
      small: for small images: a 3x3 convolution comes first, and shortcuts have no parameters; else a
        7x7 convolution and a max pool, which divide the size by four, and shortcuts are projections.
      skip: whether blocks are residual; without, the plain twin, which has no shortcuts at all.
      activation: the nonlinearity.
      norm: after each convolution, `norm(x, train)`; None: convolutions have a bias instead.
      last_norm: after each block's last convolution; `norm` if None. With
        `functools.partial(batch_norm, gain=nn.initializers.zeros)`, blocks start as the identity
        (Goyal et al. 2017, Accurate, Large Minibatch SGD, sec. 5.1).
      initializer: makes the initialiser of the convolutions' kernels; normal, He's variance for
        fan-out as in the authors' code and PyTorch's.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.ResNet(blocks=(1, 1), outputs=10, width=16, small=True)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 32, 32, 3)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 10)
    """

    blocks: tuple[NotNegative[int], ...]
    outputs: Count
    width: Count = 64
    bottleneck: bool = False
    small: bool = False
    skip: bool = True
    activation: Activation = nn.relu
    norm: Norm | None = batch_norm
    last_norm: Norm | None = None
    initializer: Initializer = functools.partial(nn.initializers.variance_scaling, 2.0, "fan_out", "normal")

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Logits `[B, outputs]` of images `[B, H, W, C]`."""
        stem = functools.partial(Conv, self.width, bias=self.norm is None, initializer=self.initializer)
        x = stem(size=3, padding=1)(x) if self.small else stem(size=7, strides=2, padding=3)(x)
        x = self.activation(_normed(self.norm, x, train))
        if not self.small:
            x = max_pool(x, 3, 2, padding=1)
        for stage, count in enumerate(self.blocks):
            for index in range(count):
                x = Residual(
                    channels=self.width * 2**stage,
                    strides=2 if stage and not index else 1,
                    bottleneck=self.bottleneck,
                    project=not self.small,
                    skip=self.skip,
                    activation=self.activation,
                    norm=self.norm,
                    last_norm=self.last_norm or self.norm,
                    initializer=self.initializer,
                )(x, train)
        x = global_average(x)
        kernel = with_axes(nn.initializers.lecun_normal(), "channels", None)
        dense = nn.Dense(self.outputs, kernel_init=kernel, bias_init=with_axes(nn.initializers.zeros, None))
        return constrain(dense(x), "batch", None)


def _normed(norm: Norm | None, x: jax.Array, train: bool) -> jax.Array:
    return x if norm is None else norm(x, train)


@checked
def resnet18(outputs: Count = 1000, **options: Any) -> ResNet:
    """He et al. 2016, Deep Residual Learning, table 1: 18 layers; `options` are `ResNet`'s attributes.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.resnet18(outputs=10, small=True)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 32, 32, 3)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 10)
      >>> sum(leaf.size for leaf in jax.tree.leaves(variables))
      11007946
    """
    return ResNet((2, 2, 2, 2), outputs, **options)


@checked
def resnet34(outputs: Count = 1000, **options: Any) -> ResNet:
    """He et al. 2016, table 1: 34 layers; `options` are `ResNet`'s attributes.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.resnet34(outputs=1000)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 224, 224, 3)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 1000)
    """
    return ResNet((3, 4, 6, 3), outputs, **options)


@checked
def resnet50(outputs: Count = 1000, **options: Any) -> ResNet:
    """He et al. 2016, table 1: 50 layers, with bottlenecks; `options` are `ResNet`'s attributes.

    A stage halves the image in its 3x3 convolution, as PyTorch's; the paper's in its first 1x1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.resnet50(outputs=1000)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 224, 224, 3)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 1000)
    """
    return ResNet((3, 4, 6, 3), outputs, bottleneck=True, **options)


@checked
def cifar_resnet(depth: NotNegative[int] = 20, outputs: Count = 10, **options: Any) -> ResNet:
    """He et al. 2016, sec. 4.2, for images of 32x32: three stages of 16, 32 and 64 channels.

    Args:
      depth: weighted layers, 6n + 2: the paper's are 20, 32, 44, 56, 110 and 1202.
      outputs: how many outputs there are.
      **options: `ResNet`'s attributes; `skip=False` is the plain twin.

    Raises:
      ValueError: a depth that is not 6n + 2.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.cifar_resnet(depth=20, outputs=10)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 32, 32, 3)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 10)
      >>> sum(leaf.size for leaf in jax.tree.leaves(variables))
      271098
    """
    count, rest = divmod(depth - 2, 6)
    if rest or count < 1:
        raise ValueError(f"depth is {depth}; expected 6n + 2 with n from 1, as 20, 32, 44, 56 or 110")
    return ResNet((count,) * 3, outputs, width=16, small=True, **options)
