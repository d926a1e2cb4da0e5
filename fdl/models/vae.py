"""The variational autoencoder: a Gaussian over latents for each input, and a decoder of latents."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl.arguments import checked


@checked
class VAE(nn.Module):
    """An encoder to q(z | x), a diagonal Gaussian, and a decoder to the parameters of p(x | z).

    Kingma & Welling 2014, Auto-Encoding Variational Bayes, sec. 3. The model draws nothing itself: the
    task draws latents. MLPs serve for vectors: `VAE(MLP((128,), 2 * 8), MLP((128,), 64))`;
    `ConvEncoder` and `ConvDecoder` for images.

    Attributes:
      encoder: `encoder(x, train)`, `[B, ...]` to `[B, 2 L]`: means, then logarithms of variances.
      decoder: `decoder(z, train)`, `[B, L]` to `[B, ...]`, such as logits.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.VAE(models.MLP((64,), 2 * 8), models.MLP((64,), 784))
      >>> outputs, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), jnp.zeros((1, 784)))
      >>> outputs.shape
      (1, 784)
    """

    encoder: nn.Module
    decoder: nn.Module

    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """The decoder's outputs at the mean latents of `x` `[B, ...]`."""
        return self.decode(self.encode(x, train)[0], train)

    def encode(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """Means and logarithms of variances of q(z | x), each `[B, L]`.

        Raises:
          ValueError: the encoder has an odd number of outputs.
        """
        outputs = self.encoder(x, train)
        if outputs.shape[-1] % 2:
            raise ValueError(
                f"the encoder has {outputs.shape[-1]} outputs; expected an even number: means, log-variances"
            )
        mean, log_variance = jnp.split(outputs, 2, axis=-1)
        return mean, log_variance

    def decode(self, z: jax.Array, train: bool = False) -> jax.Array:
        """Outputs `[B, ...]` of latents `[B, L]`."""
        return self.decoder(z, train)
