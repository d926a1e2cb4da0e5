"""The U-Net: images to images of the same size."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl.arguments import Count, NotEmpty, checked
from fdl.models.conv import Conv, ConvTranspose
from fdl.models.pooling import max_pool


@checked
class DoubleConv(nn.Module):
    """Twice a 3x3 convolution, norm and activation: `[B, H, W, I]` to `[B, H, W, channels]`."""

    channels: Count
    activation: Callable[[jax.Array], jax.Array]
    norm: Callable[[jax.Array, bool], jax.Array] | None
    initializer: Callable[[], nn.initializers.Initializer]

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        for _ in range(2):
            x = Conv(self.channels, bias=self.norm is None, initializer=self.initializer)(x)
            x = self.activation(x if self.norm is None else self.norm(x, train))
        return x


@checked
class UNet(nn.Module):
    """Down by max pools, up by 2x2 transposed convolutions; maps of one size meet by concatenation.

    Ronneberger et al. 2015, U-Net, fig. 1. Convolutions are padded, so that nothing is cropped; the
    paper's are not, and it has dropout at the bottom.

    Attributes:
      outputs: output channels.
      widths: channels at each size, from the largest map to the smallest.
      skip: whether the way up sees the maps of the way down; without, the plain twin.
      activation: the nonlinearity.
      norm: between each 3x3 convolution and its activation, `norm(x, train)`, or None.
      initializer: makes the initialiser of the kernels; biases start at zero.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.UNet(outputs=3, widths=(16, 32, 64))
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 32, 32, 3)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 32, 32, 3)
    """

    outputs: Count
    widths: NotEmpty[tuple[Count, ...]] = (64, 128, 256, 512, 1024)
    skip: bool = True
    activation: Callable[[jax.Array], jax.Array] = nn.relu
    norm: Callable[[jax.Array, bool], jax.Array] | None = None
    initializer: Callable[[], nn.initializers.Initializer] = nn.initializers.he_normal

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Outputs `[B, H, W, outputs]` of images `[B, H, W, C]`.

        Raises:
          ValueError: a height or width that cannot be halved as often as there are sizes.
        """
        unit = 2 ** (len(self.widths) - 1)
        if x.shape[1] % unit or x.shape[2] % unit:
            raise ValueError(
                f"images are {x.shape[1]}x{x.shape[2]}; expected multiples of {unit}, "
                f"for {len(self.widths)} widths: pad the images"
            )

        def double(x: jax.Array, channels: int) -> jax.Array:
            return DoubleConv(channels, self.activation, self.norm, self.initializer)(x, train)

        kept = []
        for channels in self.widths[:-1]:
            kept.append(double(x, channels))
            x = max_pool(kept[-1])
        x = double(x, self.widths[-1])
        for channels in reversed(self.widths[:-1]):
            x, same = ConvTranspose(channels, initializer=self.initializer)(x), kept.pop()
            x = double(jnp.concatenate([same, x], axis=-1) if self.skip else x, channels)
        return Conv(self.outputs, size=1, initializer=self.initializer)(x)
