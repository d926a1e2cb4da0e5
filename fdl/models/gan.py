"""Generators, from noise to samples, and discriminators, from samples to one logit."""

import functools
import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl import losses
from fdl.arguments import Count, checked
from fdl.models.axes import constrain, with_axes
from fdl.models.conv import Conv, ConvTranspose
from fdl.models.norms import batch_norm

Activation = Callable[[jax.Array], jax.Array]
Norm = Callable[[jax.Array, bool], jax.Array]
Initializer = Callable[[], nn.initializers.Initializer]
Weight = Callable[[jax.Array], jax.Array]

_leaky = functools.partial(nn.leaky_relu, negative_slope=0.2)
_small = functools.partial(nn.initializers.normal, 0.02)


@checked
class DCGANGenerator(nn.Module):
    """Transposed convolutions from noise to images of `4 · 2 ** len(channels)` pixels a side.

    Radford et al. 2016, Unsupervised Representation Learning with Deep Convolutional Generative
    Adversarial Networks, sec. 3 and fig. 1; kernels of 4x4 (theirs: 5x5), which overlap evenly.

    Attributes:
      channels: of the maps of 4, 8, 16, ... pixels a side.
      outputs: channels of the image.
      activation: after each layer but the last.
      norm: before each of these activations, or None.
      output: the function after the last layer; its range is to be the data's.
      initializer: makes the kernels' initialiser.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.DCGANGenerator(channels=(64, 32), outputs=3)
      >>> outputs, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), jnp.zeros((1, 100)))
      >>> outputs.shape
      (1, 16, 16, 3)
    """

    channels: tuple[Count, ...] = (1024, 512, 256, 128)
    outputs: Count = 3
    activation: Activation = nn.relu
    norm: Norm | None = batch_norm
    output: Activation = jnp.tanh
    initializer: Initializer = _small

    @nn.compact
    def __call__(self, z: jax.Array, train: bool = False) -> jax.Array:
        """Images `[B, H, W, outputs]` of noise `[B, L]`."""
        layer = functools.partial(ConvTranspose, size=4, initializer=self.initializer)
        x = z[:, None, None, :]
        for stage, channels in enumerate(self.channels):
            strides, padding = (2, 1) if stage else (1, 0)
            x = layer(channels, strides=strides, padding=padding, bias=self.norm is None)(x)
            x = self.activation(x if self.norm is None else self.norm(x, train))
        return self.output(layer(self.outputs, strides=2, padding=1)(x))


@checked
class DCGANDiscriminator(nn.Module):
    """Convolutions that halve an image of `4 · 2 ** len(channels)` pixels a side, down to one logit.

    Radford et al. 2016, sec. 3; kernels of 4x4. The first and the last layer have no norm.

    Attributes:
      channels: of the maps of a half, a quarter, ... of the image's side.
      activation: after each layer but the last.
      norm: before the activations but the first, or None, as a gradient penalty asks.
      weight: what each kernel is turned into before use, as by `spectral_norm`, or None.
      initializer: makes the kernels' initialiser.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.DCGANDiscriminator(channels=(32, 64, 128))
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 32, 32, 3)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1,)
    """

    channels: tuple[Count, ...] = (128, 256, 512, 1024)
    activation: Activation = _leaky
    norm: Norm | None = batch_norm
    weight: Weight | None = None
    initializer: Initializer = _small

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Logits `[B]` of images `[B, H, W, C]`, above 0 for what seems real.

        Raises:
          ValueError: images of another size.
        """
        side = 4 * 2 ** len(self.channels)
        if x.ndim != 4 or x.shape[1:3] != (side, side):
            raise ValueError(
                f"the images have shape {list(x.shape)}; expected [B, {side}, {side}, C], "
                f"as there are {len(self.channels)} channels: give one for each halving down to 4x4"
            )
        layer = functools.partial(Conv, size=4, weight=self.weight, initializer=self.initializer)
        for stage, channels in enumerate(self.channels):
            norm = self.norm if stage else None
            x = layer(channels, strides=2, padding=1, bias=norm is None)(x)
            x = self.activation(x if norm is None else norm(x, train))
        return constrain(layer(1, padding=0)(x).reshape(-1), "batch")


@checked
class MLPGenerator(nn.Module):
    """Dense layers from noise to samples of any shape (Goodfellow et al. 2014, sec. 5, for digits).

    Kernels start as LeCun et al. have them.

    Attributes:
      widths: units of each hidden layer.
      shape: of one sample, as `(2,)` or `(8, 8, 1)`.
      activation: after each hidden layer.
      norm: before each of these activations, or None.
      output: the function after the last layer; its range is to be the data's.
      initializer: makes the kernels' initialiser.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.MLPGenerator(widths=(64,), shape=(2,))
      >>> outputs, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), jnp.zeros((1, 16)))
      >>> outputs.shape
      (1, 2)
    """

    widths: tuple[Count, ...]
    shape: tuple[Count, ...]
    activation: Activation = nn.relu
    norm: Norm | None = None
    output: Activation = lambda x: x
    initializer: Initializer = nn.initializers.lecun_normal

    @nn.compact
    def __call__(self, z: jax.Array, train: bool = False) -> jax.Array:
        """Samples `[B, *shape]` of noise `[B, L]`."""
        x = z
        for width in self.widths:
            x = _Dense(width, None, self.initializer, "mlp")(x)
            x = self.activation(x if self.norm is None else self.norm(x, train))
        x = _Dense(math.prod(self.shape), None, self.initializer, None)(x)
        return self.output(x).reshape(-1, *self.shape)


@checked
class MLPDiscriminator(nn.Module):
    """Dense layers from samples of any shape to one logit; Goodfellow et al.'s had maxout units and dropout.

    Attributes:
      widths: units of each hidden layer.
      activation: after each hidden layer.
      weight: what each kernel is turned into before use, as by `spectral_norm`, or None.
      initializer: makes the kernels' initialiser.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.MLPDiscriminator(widths=(64,))
      >>> outputs, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), jnp.zeros((1, 2)))
      >>> outputs.shape
      (1,)
    """

    widths: tuple[Count, ...]
    activation: Activation = _leaky
    weight: Weight | None = None
    initializer: Initializer = nn.initializers.lecun_normal

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Logits `[B]` of samples `[B, ...]`, above 0 for what seems real; `train` makes no difference."""
        del train
        x = x.reshape(x.shape[0], -1)
        for width in self.widths:
            x = self.activation(_Dense(width, self.weight, self.initializer, "mlp")(x))
        return constrain(_Dense(1, self.weight, self.initializer, None)(x).reshape(-1), "batch")


@checked
class Conditional(nn.Module):
    """A generator or discriminator that is told labels: they are put to its inputs' last axis, one-hot.

    Mirza & Osindero 2014, Conditional Generative Adversarial Nets, sec. 3. Images get a constant channel
    for each class.

    Attributes:
      model: `model(x, train)`, of inputs `[B, ..., C + classes]`.
      classes: how many labels there are.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.Conditional(models.MLPGenerator((64,), (2,)), classes=3)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 16)), jnp.zeros(1, int))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 2)
    """

    model: nn.Module
    classes: Count

    def __call__(self, x: jax.Array, y: jax.Array, train: bool = False) -> jax.Array:
        """The model's outputs for noise, samples or images `[B, ..., C]` with labels `[B]`; NaN for a row
        whose label is not 0 to `classes` - 1."""
        label = losses.one_hot(y, self.classes, dtype=x.dtype)
        label = label.reshape(x.shape[0], *(1,) * (x.ndim - 2), self.classes)
        label = jnp.broadcast_to(label, (*x.shape[:-1], self.classes))
        return self.model(jnp.concatenate([x, label], axis=-1), train)


class _Dense(nn.Module):
    """A dense layer `[B, I]` to `[B, width]` whose kernel may be normalised, as `Conv`'s."""

    width: int
    weight: Weight | None
    initializer: Initializer
    name_of_outputs: str | None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        names = self.name_of_outputs
        kernel = self.param("kernel", with_axes(self.initializer(), None, names), (x.shape[-1], self.width))
        kernel = kernel if self.weight is None else self.weight(kernel)
        bias = self.param("bias", with_axes(nn.initializers.zeros, names), (self.width,))
        return constrain(x @ kernel + bias, "batch", names)
