"""Autoencoders: an encoder to a code, a decoder back; and the convolutional halves of such nets."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl.arguments import Count, NotEmpty, checked
from fdl.models.axes import constrain, with_axes
from fdl.models.conv import Conv, ConvTranspose

Activation = Callable[[jax.Array], jax.Array]
Norm = Callable[[jax.Array, bool], jax.Array]
Initializer = Callable[[], nn.initializers.Initializer]


@checked
class Autoencoder(nn.Module):
    """A decoder of an encoder's code (Hinton & Salakhutdinov 2006, Reducing the Dimensionality of Data).

    Sparse ones have an activation such as `nn.sigmoid` with a penalty on the code in the task, or
    `functools.partial(k_sparse, active=8)`; convolutional ones `ConvEncoder` and `ConvDecoder`.

    Attributes:
      encoder: `encoder(x, train)`, `[B, ...]` to codes `[B, L]`, such as an `MLP`.
      decoder: `decoder(code, train)`, `[B, L]` to `[B, ...]`.
      activation: what is done to the code.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.Autoencoder(models.MLP((64,), 8), models.MLP((64,), 784))
      >>> outputs, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), jnp.zeros((1, 784)))
      >>> outputs.shape
      (1, 784)
    """

    encoder: nn.Module
    decoder: nn.Module
    activation: Activation = lambda code: code

    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """The decoder's outputs for `x` `[B, ...]`."""
        return self.decode(self.encode(x, train), train)

    def encode(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Codes `[B, L]` of `x` `[B, ...]`."""
        return self.activation(self.encoder(x, train))

    def decode(self, code: jax.Array, train: bool = False) -> jax.Array:
        """Outputs `[B, ...]` of codes `[B, L]`."""
        return self.decoder(code, train)


@checked
def k_sparse(code: jax.Array, *, active: Count) -> jax.Array:
    """The `active` largest entries of each code `[..., L]`, zeros elsewhere (Makhzani & Frey 2014,
    k-Sparse Autoencoders, sec. 2.1); entries equal to the smallest of them stay too.

    Example:
      >>> from fdl import models
      >>> import jax.numpy as jnp
      >>> models.k_sparse(jnp.array([[3.0, -1.0, 2.0, 5.0]]), active=2)
      Array([[3., 0., 0., 5.]], dtype=float32)
    """
    smallest = jax.lax.top_k(code, active)[0][..., -1:]
    return jnp.where(code >= smallest, code, 0)


@checked
class StridedConvs(nn.Module):
    """4x4 convolutions that halve a map, each with norm and activation: `[B, H, W, I]` to
    `[B, H / 2^n, W / 2^n, channels[-1]]`.

    Attributes:
      channels: of each convolution.
      activation: after each.
      norm: before each activation, `norm(x, train)`, or None.
      initializer: makes the initialiser of the kernels; biases start at zero.
    """

    channels: tuple[Count, ...]
    activation: Activation = nn.relu
    norm: Norm | None = None
    initializer: Initializer = nn.initializers.he_normal

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Maps of maps `x`.

        Raises:
          ValueError: a height or width that cannot be halved so often.
        """
        check_halvings(x.shape[1], x.shape[2], len(self.channels))
        for channels in self.channels:
            x = Conv(channels, size=4, strides=2, padding=1, initializer=self.initializer)(x)
            x = self.activation(x if self.norm is None else self.norm(x, train))
        return x


@checked
class TransposedConvs(nn.Module):
    """4x4 transposed convolutions that double a map, with norm and activation between them:
    `[B, H, W, I]` to `[B, 2^n H, 2^n W, channels[-1]]`.

    Attributes:
      channels: of each convolution; the last are the outputs.
      activation: after each but the last.
      norm: before each activation, `norm(x, train)`, or None.
      initializer: makes the initialiser of the kernels; biases start at zero.
    """

    channels: tuple[Count, ...]
    activation: Activation = nn.relu
    norm: Norm | None = None
    initializer: Initializer = nn.initializers.he_normal

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Maps of maps `x`."""
        for index, channels in enumerate(self.channels):
            if index:
                x = self.activation(x if self.norm is None else self.norm(x, train))
            x = ConvTranspose(channels, size=4, strides=2, padding=1, initializer=self.initializer)(x)
        return x


@checked
class ConvEncoder(nn.Module):
    """Images `[B, H, W, C]` to codes `[B, outputs]`: strided convolutions, then a dense layer.

    Attributes:
      outputs: L; twice the latent's entries for a `VAE`.
      channels: of each convolution; each halves the map.
      activation: after each convolution.
      norm: before each activation, `norm(x, train)`, or None.
      initializer: makes the initialiser of the kernels; biases start at zero.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.ConvEncoder(outputs=16, channels=(32, 64))
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 28, 28, 1)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 16)
    """

    outputs: Count
    channels: tuple[Count, ...] = (32, 64)
    activation: Activation = nn.relu
    norm: Norm | None = None
    initializer: Initializer = nn.initializers.he_normal

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Codes of images `x`; errors as for `StridedConvs`."""
        x = StridedConvs(self.channels, self.activation, self.norm, self.initializer, name="convs")(x, train)
        kernel, bias = with_axes(self.initializer(), None, "embed"), with_axes(nn.initializers.zeros, "embed")
        dense = nn.Dense(self.outputs, kernel_init=kernel, bias_init=bias, name="dense")
        return constrain(dense(x.reshape(x.shape[0], -1)), "batch", "embed")


@checked
class ConvDecoder(nn.Module):
    """Codes `[B, L]` to images `[B, *shape]`: a dense layer, then transposed convolutions.

    Attributes:
      shape: (H, W, C) of an image.
      channels: of the smallest map, and after each transposed convolution but the last, which gives C.
      activation: before each transposed convolution.
      norm: before each activation, `norm(x, train)`, or None.
      initializer: makes the initialiser of the kernels; biases start at zero.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.ConvDecoder(shape=(28, 28, 1), channels=(64, 32))
      >>> outputs, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), jnp.zeros((1, 16)))
      >>> outputs.shape
      (1, 28, 28, 1)
    """

    shape: tuple[Count, Count, Count]
    channels: NotEmpty[tuple[Count, ...]] = (64, 32)
    activation: Activation = nn.relu
    norm: Norm | None = None
    initializer: Initializer = nn.initializers.he_normal

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Images of codes `x`.

        Raises:
          ValueError: a height or width that cannot be halved as often as there are channels.
        """
        height, width, outputs = self.shape
        unit = check_halvings(height, width, len(self.channels))
        small = (height // unit, width // unit, self.channels[0])
        kernel, bias = with_axes(self.initializer(), "embed", None), with_axes(nn.initializers.zeros, None)
        dense = nn.Dense(small[0] * small[1] * small[2], kernel_init=kernel, bias_init=bias, name="dense")
        x = dense(x).reshape(x.shape[0], *small)
        x = self.activation(x if self.norm is None else self.norm(x, train))
        channels = (*self.channels[1:], outputs)
        return TransposedConvs(channels, self.activation, self.norm, self.initializer, name="convs")(x, train)


def check_halvings(height: int, width: int, times: int) -> int:
    """2 ** times, after a check that it divides both.

    Raises:
      ValueError: it does not.
    """
    unit = 2**times
    if height % unit or width % unit:
        raise ValueError(
            f"images are {height}x{width}; expected multiples of {unit}, to be halved {times} times: "
            "pad the images or take fewer channels"
        )
    return unit
