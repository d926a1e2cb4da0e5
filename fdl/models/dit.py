"""The diffusion transformer: a denoiser of images as texts of patches."""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from fdl.arguments import Count, NotNegative, Share, checked
from fdl.models.attention import Attention
from fdl.models.axes import constrain
from fdl.models.condition import Condition, dense
from fdl.models.transformer import FeedForward

_xavier, _zeros = nn.initializers.xavier_uniform, nn.initializers.zeros_init
_small = functools.partial(nn.initializers.normal, 0.02)


def _norm(x: jax.Array) -> jax.Array:
    """Layer norm without parameters: the condition has shift and scale."""
    return nn.LayerNorm(epsilon=1e-6, use_bias=False, use_scale=False, use_fast_variance=False)(x)


@checked
class DiTBlock(nn.Module):
    """Attention and feed-forward branches, shifted, scaled and gated by the condition, from zero on.

    Peebles & Xie 2023, Scalable Diffusion Models with Transformers, sec. 3.2 (adaLN-Zero).

    Attributes:
      heads: of the attention.
      hidden: units of the feed-forward net.
      dropout: rate of dropout of the attention's weights.
    """

    heads: Count
    hidden: Count
    dropout: Share[float | jax.Array] = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, condition: jax.Array, train: bool) -> jax.Array:
        """`[B, T, E]` and `[B, E]` to `[B, T, E]`."""
        modulation = dense(6 * x.shape[-1], (None, "embed"), name="modulation", initializer=_zeros)
        parts = jnp.split(modulation(nn.silu(condition))[:, None], 6, axis=-1)
        shift, scale, gate, shift_last, scale_last, gate_last = parts
        attention = Attention(self.heads, dropout=self.dropout, initializer=_xavier, name="attention")
        x = x + gate * attention(_norm(x) * (1 + scale) + shift, train)
        activation = functools.partial(nn.gelu, approximate=True)
        feed_forward = FeedForward(self.hidden, activation, initializer=_xavier, name="feed_forward")
        x = x + gate_last * feed_forward(_norm(x) * (1 + scale_last) + shift_last, train)
        return constrain(x, "batch", "length", "embed")


@checked
class DiT(nn.Module):
    """Patches with fixed places, blocks, and a last modulated layer back to patches, which starts at zero.

    Peebles & Xie 2023, fig. 3; by default DiT-S/2. The paper's net also predicts variances, for which
    its last layer has twice as many outputs, and has a vector for no label, which here is zero.

    Attributes:
      patch: P, height and width of a patch.
      width: E, entries of a patch's vector, a multiple of 4.
      layers: how many blocks.
      heads: of each attention.
      classes: how many labels there are; 0: labels are not used.
      dropout: rate of dropout of the attentions' weights; it may be traced.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.DiT(patch=2, width=64, layers=2, heads=4, classes=10)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 32, 32, 3)), jnp.zeros(1))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 32, 32, 3)
    """

    patch: Count = 2
    width: Count = 384
    layers: NotNegative[int] = 12
    heads: Count = 6
    classes: NotNegative[int] = 0
    dropout: Share[float | jax.Array] = 0.0

    @nn.compact
    def __call__(
        self, x: jax.Array, time: jax.Array, label: jax.Array | None = None, train: bool = False
    ) -> jax.Array:
        """Predictions `[B, H, W, C]` for noisy images `x` of that shape, at times `[B]`; labels `[B]` are
        -1 where there is none.

        Raises:
          ValueError: images that do not divide into patches, or a width that is no multiple of 4.
        """
        _, height, width, channels = x.shape
        if height % self.patch or width % self.patch:
            raise ValueError(f"images are {height}x{width}; expected multiples of the patch's {self.patch}")
        patches = dense(self.width, (None, "embed"), name="patches", initializer=_xavier)
        y = patches(to_patches(x, self.patch))
        places = place_waves(height // self.patch, width // self.patch, self.width)
        y = constrain(y + places.astype(y.dtype), "batch", "length", "embed")
        embedding = Condition(self.width, 256, self.classes, initializer=_small, name="condition")
        condition = embedding(time, label, x.dtype)
        for index in range(self.layers):
            block = DiTBlock(self.heads, 4 * self.width, self.dropout, name=f"block_{index}")
            y = block(y, condition, train)
        modulation = dense(2 * self.width, (None, "embed"), name="modulation", initializer=_zeros)
        shift, scale = jnp.split(modulation(nn.silu(condition))[:, None], 2, axis=-1)
        last = dense(self.patch**2 * channels, ("embed", None), name="out", initializer=_zeros)
        return from_patches(last(_norm(y) * (1 + scale) + shift), self.patch, height)


def to_patches(x: jax.Array, size: int) -> jax.Array:
    """Images `[B, H, W, C]` as `[B, (H / size) (W / size), size size C]`, row by row."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // size, size, width // size, size, channels)
    return jnp.swapaxes(x, 2, 3).reshape(batch, -1, size * size * channels)


def from_patches(x: jax.Array, size: int, height: int) -> jax.Array:
    """What `to_patches` makes of images of that height, back as images."""
    batch, places, entries = x.shape
    rows = height // size
    x = x.reshape(batch, rows, places // rows, size, size, entries // size**2)
    return jnp.swapaxes(x, 2, 3).reshape(batch, height, -1, entries // size**2)


def place_waves(height: int, width: int, entries: int) -> jax.Array:
    """Fixed vectors of places `[height width, entries]`: sines and cosines of the column, then of the row.

    Raises:
      ValueError: entries that are no multiple of 4.
    """
    if entries % 4:
        raise ValueError(f"the width is {entries}; expected a multiple of 4, for waves of rows and columns")
    quarter = entries // 4
    rates = np.exp(-math.log(10000.0) * np.arange(quarter) / quarter)
    rows, columns = np.divmod(np.arange(height * width), width)
    angles = [place[:, None] * rates for place in (columns, rows)]
    waves = [wave(angle) for angle in angles for wave in (np.sin, np.cos)]
    return jnp.asarray(np.concatenate(waves, axis=-1), jnp.float32)
