"""Convolutional networks without branches: small ones, LeNet-5, AlexNet, VGG."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax

from fdl.arguments import Count, NotNegative, Share, checked
from fdl.models.axes import constrain, with_axes
from fdl.models.conv import Conv, Local
from fdl.models.convolve import Padding
from fdl.models.dropout import Dropout
from fdl.models.norms import local_response_norm
from fdl.models.pooling import average_pool, max_pool

Map = Callable[[jax.Array], jax.Array]


@checked
class Stage(NamedTuple):
    """A convolution and what follows it.

    Attributes:
      channels: output channels.
      size: entries of the kernel along each spatial axis.
      strides: steps of the kernel.
      padding: see `fdl.models.convolve.Padding`.
      groups: shares of the channels, each convolved by itself.
      pool: what comes after the activation, a function `[B, *S, C]` to `[B, *S', C]`, or None.
      shared: whether all places have one kernel; if not, each has its own (`Local`), of one group.

    Example:
      >>> from fdl import models
      >>> models.Stage(channels=16, size=5, pool=models.max_pool)._replace(pool=None)
      Stage(channels=16, size=5, strides=1, padding='SAME', groups=1, pool=None, shared=True)
    """

    channels: Count
    size: Count = 3
    strides: Count = 1
    padding: Padding = "SAME"
    groups: Count = 1
    pool: Map | None = None
    shared: bool = True


@checked
class ConvNet(nn.Module):
    """Stages of convolution, norm, activation and pool, then dense layers; in one or two dimensions.

    Attributes:
      stages: the convolutions, in order.
      hidden: units of each dense layer with an activation.
      outputs: how many outputs there are.
      activation: the function after each layer but the last.
      norm: between each convolution and its activation, `norm(x, train)`; convolutions have a bias
        only without one.
      dropout: the rate after each hidden dense layer's activation; it may be traced.
      initializer: makes the initialiser of the kernels; biases start at zero.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> stages = (models.Stage(16), models.Stage(32, strides=2))
      >>> model = models.ConvNet(stages, hidden=(64,), outputs=10)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 32, 32, 3)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 10)
    """

    stages: tuple[Stage, ...]
    hidden: tuple[Count, ...]
    outputs: Count
    activation: Map = nn.relu
    norm: Callable[[jax.Array, bool], jax.Array] | None = None
    dropout: Share[float | jax.Array] = 0.0
    initializer: Callable[[], nn.initializers.Initializer] = nn.initializers.he_normal

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Outputs `[B, outputs]` of inputs `[B, H, W, C]` or `[B, T, C]`.

        Raises:
          ValueError: a stage of several groups whose kernels are not shared.
        """
        for stage in self.stages:
            x = self._connected(stage)(x)
            x = self.activation(x if self.norm is None else self.norm(x, train))
            x = x if stage.pool is None else stage.pool(x)
        x = x.reshape(x.shape[0], -1)
        for width in self.hidden:
            x = constrain(self.activation(self._dense(width, "mlp")(x)), "batch", "mlp")
            x = Dropout(self.dropout)(x, train)
        return constrain(self._dense(self.outputs, None)(x), "batch", None)

    def _connected(self, stage: Stage) -> Conv | Local:
        if not stage.shared and stage.groups != 1:
            raise ValueError(f"{stage.groups} groups of kernels that are not shared; expected groups=1")
        kind = functools.partial(Conv, groups=stage.groups) if stage.shared else Local
        return kind(
            stage.channels,
            stage.size,
            stage.strides,
            stage.padding,
            bias=self.norm is None,
            initializer=self.initializer,
        )

    def _dense(self, width: int, name: str | None) -> nn.Dense:
        kernel, bias = with_axes(self.initializer(), None, name), with_axes(nn.initializers.zeros, name)
        return nn.Dense(width, kernel_init=kernel, bias_init=bias)


@checked
def conv_net(
    channels: tuple[Count, ...] = (32, 64),
    hidden: tuple[Count, ...] = (128,),
    outputs: Count = 10,
    **options: Any,
) -> ConvNet:
    """3-wide convolutions with these channels, each followed by a max pool over 2; then dense layers.

    `options` are `ConvNet`'s attributes.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.conv_net(channels=(32, 64), hidden=(128,), outputs=10)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 28, 28, 1)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 10)
      >>> sum(leaf.size for leaf in jax.tree.leaves(variables))
      421642
    """
    return ConvNet(tuple(Stage(each, pool=max_pool) for each in channels), hidden, outputs, **options)


@checked
def lenet5(outputs: Count = 10, *, padding: Padding = 0, pool: Map = average_pool, **options: Any) -> ConvNet:
    """LeNet-5 for images of 32x32, or of 28x28 with `padding=2`.

    LeCun et al. 1998, Gradient-Based Learning Applied to Document Recognition, fig. 2, in the usual
    modern form: all maps of the second stage see all of the first, pools have no parameters, and the
    last layer is linear. 61,706 parameters for one input channel.

    Args:
      outputs: how many outputs there are.
      padding: of the first convolution.
      pool: after each convolution.
      **options: `ConvNet`'s attributes.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.lenet5(outputs=10)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 32, 32, 1)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 10)
      >>> sum(leaf.size for leaf in jax.tree.leaves(variables))
      61706
    """
    stages = (Stage(6, 5, padding=padding, pool=pool), Stage(16, 5, padding="VALID", pool=pool))
    return ConvNet(stages, (120, 84), outputs, **{"activation": nn.tanh, **options})


@checked
def alexnet(outputs: Count = 1000, *, groups: Count = 2, **options: Any) -> ConvNet:
    """AlexNet for images of 224x224.

    Krizhevsky et al. 2012, ImageNet Classification with Deep Convolutional Neural Networks, fig. 2.
    The first convolution is padded by 2, which gives the 55x55 maps of the figure. Kernels start as He et al.
    have them and biases at 0, not as in sec. 5 (deviation 0.01; 1 in five layers).

    Args:
      outputs: how many outputs there are.
      groups: 2: the paper's, whose second, fourth and fifth convolution saw half the channels each on
        its own device, 60,965,224 parameters; 1: all see all, 62,378,344.
      **options: `ConvNet`'s attributes.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.alexnet(outputs=1000)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 224, 224, 3)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 1000)
    """
    stages = (
        Stage(96, 11, 4, padding=2, pool=_normed_pool),
        Stage(256, 5, padding=2, groups=groups, pool=_normed_pool),
        Stage(384),
        Stage(384, groups=groups),
        Stage(256, groups=groups, pool=_overlapping_pool),
    )
    return ConvNet(stages, (4096, 4096), outputs, **{"dropout": 0.5, **options})


@checked
def cifar_alexnet(outputs: Count = 10, **options: Any) -> ConvNet:
    """The small AlexNet of Zhang et al. 2017, Understanding Deep Learning Requires Rethinking
    Generalization, appendix A: two stages of 5x5 convolution, 3x3 max pool and local response norm,
    then 384 and 192 units. 1,387,786 parameters at the paper's 28x28x3.

    Args:
      outputs: how many outputs there are.
      **options: `ConvNet`'s attributes.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.cifar_alexnet(outputs=10)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 32, 32, 3)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 10)
    """
    stages = (Stage(64, 5, pool=_pool_normed), Stage(64, 5, pool=_pool_normed))
    return ConvNet(stages, (384, 192), outputs, **options)


_VGG = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


@checked
def vgg(
    depth: NotNegative[int] = 16,
    outputs: Count = 1000,
    *,
    width: Count = 64,
    hidden: tuple[Count, ...] = (4096, 4096),
    **options: Any,
) -> ConvNet:
    """VGG, columns A, B, D and E: 3x3 convolutions, halving the image five times.

    Simonyan & Zisserman 2015, Very Deep Convolutional Networks for Large-Scale Image Recognition,
    table 1. VGG-16 has 138,357,544 parameters at 224x224x3 with 1,000 outputs. Kernels start as He et
    al. have them, so that deep nets need no shallow ones to start from, as in sec. 3.1.

    Args:
      depth: weighted layers: 11, 13, 16 or 19.
      outputs: how many outputs there are.
      width: channels of the first stage; later ones have 2, 4, 8 and 8 times as many.
      hidden: units of each hidden dense layer.
      **options: `ConvNet`'s attributes.

    Raises:
      ValueError: another depth.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.vgg(depth=16, outputs=10, width=16, hidden=(64,))
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 32, 32, 3)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 10)
    """
    if depth not in _VGG:
        raise ValueError(f"depth is {depth}; expected one of {', '.join(map(str, _VGG))}")
    stages = []
    for factor, count in zip((1, 2, 4, 8, 8), _VGG[depth], strict=True):
        stages += [Stage(factor * width)] * (count - 1) + [Stage(factor * width, pool=max_pool)]
    return ConvNet(tuple(stages), hidden, outputs, **{"dropout": 0.5, **options})


_overlapping_pool = functools.partial(max_pool, window=3, strides=2)


def _normed_pool(x: jax.Array) -> jax.Array:
    return _overlapping_pool(local_response_norm(x))


def _pool_normed(x: jax.Array) -> jax.Array:
    return local_response_norm(max_pool(x, 3, 2, padding="SAME"))
