"""Vector quantisation: codes from a learned table, and the autoencoder whose latents they are."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl import shards
from fdl.arguments import Count, Share, checked
from fdl.models.autoencoder import Initializer
from fdl.models.axes import constrain, with_axes


class Quantised(NamedTuple):
    """Latents and their nearest codes.

    Attributes:
      latents: what the encoder gave, `[..., D]`.
      vectors: the nearest codes, `[..., D]`; differentiable in the table where that is a parameter.
      indices: their places in the table, int32 `[...]`.
      table: all codes, `[K, D]`.
    """

    latents: jax.Array
    vectors: jax.Array
    indices: jax.Array
    table: jax.Array

    @property
    def passed(self) -> jax.Array:
        """The vectors, exactly, with the latents' gradient (straight-through), `[..., D]`."""
        zero = self.latents - jax.lax.stop_gradient(self.latents)
        return jax.lax.stop_gradient(self.vectors) + zero


def nearest(latents: jax.Array, table: jax.Array) -> jax.Array:
    """The row of `table` `[K, D]` at the least Euclidean distance from each of `latents` `[..., D]`,
    int32 `[...]`; the first of equals."""
    # |z|² is the same for all codes, so it is left out. Half precision would confuse codes that are near.
    precise = jnp.promote_types(latents.dtype, jnp.float32)
    latents, table = latents.astype(precise), table.astype(precise)
    scores = jnp.einsum("...d,kd->...k", latents, table, precision="highest")
    return jnp.argmin(jnp.sum(jnp.square(table), axis=-1) - 2 * scores, axis=-1).astype(jnp.int32)


@checked
class VectorQuantiser(nn.Module):
    """A table `[K, D]` of codes (van den Oord et al. 2017, Neural Discrete Representation Learning, sec. 3).

    Without `decay`, the table is the parameter `table`, learned by the task's codebook loss (eq. 3). With
    it, the collection `"codebook"` holds the table and, for each code, how many latents a batch gives it,
    a moving average; a pass with `train` moves each code to the moving average of its latents (appendix
    A.1), N' = γ N + (1 - γ) n and e' = e + (1 - γ) (Σ z - n e) / N', which is the paper's m / N.

    Attributes:
      codes: K.
      decay: γ, below 1; it may be traced. None: the table is a parameter.
      initializer: makes the table's initialiser.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.VectorQuantiser(codes=32, decay=0.99)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 7, 7, 4)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.indices.shape
      (1, 7, 7)
    """

    codes: Count
    decay: Share[float | jax.Array] | None = None
    initializer: Initializer = nn.initializers.lecun_normal

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> Quantised:
        """The nearest codes of latents `x` `[..., D]`, by the table as it was before this pass."""
        shape = (self.codes, x.shape[-1])
        if self.decay is None:
            return _quantised(x, self.param("table", with_axes(self.initializer(), None, "embed"), shape))
        made = lambda: self.initializer()(self.make_rng("params"), shape, jnp.float32)  # noqa: E731
        table = self.variable("codebook", "table", made)
        counts = self.variable("codebook", "counts", jnp.ones, (self.codes,))
        found = _quantised(x, table.value)
        if train and not self.is_initializing():
            table.value, counts.value = _moved(table.value, counts.value, x, found.indices, self.decay)
        return found


def _quantised(x: jax.Array, table: jax.Array) -> Quantised:
    codes = table.astype(x.dtype)
    indices = nearest(x, codes)
    return Quantised(x, codes[indices], indices, codes)


def _moved(
    table: jax.Array, counts: jax.Array, latents: jax.Array, indices: jax.Array, decay: float | jax.Array
) -> tuple[jax.Array, jax.Array]:
    latents = jax.lax.stop_gradient(latents).reshape(-1, latents.shape[-1]).astype(table.dtype)
    member = jax.nn.one_hot(indices.ravel(), len(table), dtype=table.dtype)
    number = shards.total(jnp.sum(member, axis=0))
    sums = shards.total(jnp.einsum("nk,nd->kd", member, latents, precision="highest"))
    counts = decay * counts + (1 - decay) * number
    # A count may decay to zero; a code without latents stays where it is.
    step = (1 - decay) * (sums - number[:, None] * table) / jnp.maximum(counts, 1e-30)[:, None]
    return table + step, counts


@checked
class VQVAE(nn.Module):
    """An autoencoder whose latents are codes of a table.

    Attributes:
      encoder: `encoder(x, train)`, `[B, ...]` to `[B, ...]`, such as `StridedConvs`.
      quantiser: the table.
      decoder: `decoder(z, train)`, latents `[B, ..., D]` to `[B, ...]`, such as `TransposedConvs`.
      width: D, entries of a code; a dense layer maps the encoder's last axis to it.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> quantiser = models.VectorQuantiser(codes=32)
      >>> model = models.VQVAE(models.MLP((64,), 8), quantiser, models.MLP((64,), 784), width=4)
      >>> outputs, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), jnp.zeros((1, 784)))
      >>> outputs.shape
      (1, 784)
    """

    encoder: nn.Module
    quantiser: VectorQuantiser
    decoder: nn.Module
    width: Count

    def setup(self) -> None:
        """Makes the layer before the quantiser."""
        kernel = with_axes(nn.initializers.lecun_normal(), None, "embed")
        bias = with_axes(nn.initializers.zeros, "embed")
        self.project = nn.Dense(self.width, kernel_init=kernel, bias_init=bias)

    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """The decoder's outputs for `x` `[B, ...]`."""
        return self.decode(self.encode(x, train).passed, train)

    def encode(self, x: jax.Array, train: bool = False) -> Quantised:
        """Latents `[B, ..., D]` of `x` `[B, ...]` and their codes."""
        latents = self.project(self.encoder(x, train))
        names = ("height", "width") if latents.ndim == 4 else (None,) * (latents.ndim - 2)
        return self.quantiser(constrain(latents, "batch", *names, "embed"), train)

    def decode(self, z: jax.Array, train: bool = False) -> jax.Array:
        """Outputs `[B, ...]` of latents `[B, ..., D]`."""
        return self.decoder(z, train)
