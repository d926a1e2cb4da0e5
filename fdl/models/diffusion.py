"""Denoisers `model(x, time, label, train)`: a residual U-Net with attention for images, an MLP for vectors.

Times `[B]` go from 0 (data) to 1 (noise). Labels are int32 `[B]`, -1 where a row has none; None: no row
has one. A label's vector is added to the time's; no label is a vector of zeros.
"""

import functools
import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl import losses
from fdl.models.attention import Attention
from fdl.models.autoencoder import check_halvings
from fdl.models.axes import constrain, named
from fdl.models.conv import Conv, constrain_map
from fdl.models.dropout import Dropout
from fdl.models.norms import group_norm

Activation = Callable[[jax.Array], jax.Array]
Norm = Callable[[jax.Array, bool], jax.Array]
Initializer = Callable[[], nn.initializers.Initializer]

_zeros: Initializer = lambda: nn.initializers.zeros  # noqa: E731
_groups = functools.partial(group_norm, groups=8)


def time_waves(time: jax.Array, width: int, *, longest: float = 10000.0) -> jax.Array:
    """Cosines, then sines, of 1000 times at `width / 2` rates from 1 down to nearly 1 / longest.

    Ho et al. 2020, Denoising Diffusion Probabilistic Models, appendix B, with Vaswani et al.'s waves; rate
    i is longest^(-2 i / width).

    Args:
      time: `[B]`, from 0 to 1.
      width: an even number.
      longest: the base of the rates.

    Returns:
      float32 `[B, width]`; float64 of float64 times.

    Raises:
      ValueError: an odd width.
    """
    if width % 2:
        raise ValueError(f"the width of the time's embedding is {width}; expected an even number")
    time = time.astype(jnp.promote_types(time.dtype, jnp.float32))
    rates = jnp.exp(-math.log(longest) * jnp.arange(width // 2, dtype=time.dtype) / (width // 2))
    angles = 1000.0 * time[:, None] * rates
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


class Condition(nn.Module):
    """Time and label as one vector `[B, width]`: waves through two layers, plus the label's vector.

    Attributes:
      width: entries of the vector.
      waves: entries of the time's waves, an even number.
      classes: how many labels there are; 0: labels are not used.
      deviation: of the initial entries of the labels' vectors.
    """

    width: int
    waves: int
    classes: int = 0
    deviation: float = 0.02

    @nn.compact
    def __call__(self, time: jax.Array, label: jax.Array | None, dtype: jnp.dtype) -> jax.Array:
        """The vector, of `dtype`, for times `[B]` and labels `[B]`, -1 where there is none, or None; NaN for
        a label of no class."""
        x = time_waves(time, self.waves).astype(dtype)
        x = dense(self.width, (None, "embed"), name="time_in")(x)
        # Both axes of a square kernel cannot bear one name; the hidden layer stays whole.
        x = dense(self.width, (None, "embed"), name="time_out")(nn.silu(x))
        if self.classes:
            label = jnp.full(time.shape, -1) if label is None else label
            table = named(nn.initializers.normal(self.deviation), "vocab", "embed")
            vectors = nn.Dense(self.width, use_bias=False, kernel_init=table, name="labels")
            none = (label == -1)[:, None]
            x = x + vectors(jnp.where(none, 0, losses.one_hot(label, self.classes, dtype=dtype)))
        return constrain(x, "batch", "embed")


def dense(outputs: int, axes: tuple[str | None, str | None], *, name: str, zero: bool = False) -> nn.Dense:
    """A dense layer whose kernel's axes are named; with `zero`, it starts at zero."""
    initializer = nn.initializers.zeros if zero else nn.initializers.lecun_normal()
    kernel, bias = named(initializer, *axes), named(nn.initializers.zeros, axes[1])
    return nn.Dense(outputs, kernel_init=kernel, bias_init=bias, name=name)


class ConditionedBlock(nn.Module):
    """Norm, activation, convolution, twice, on a residual branch; the condition is added in the middle.

    Ho et al. 2020, appendix B. The second convolution starts at zero: the block starts as a projection.

    Attributes:
      channels: output channels.
      activation: the nonlinearity.
      norm: `norm(x, train)`.
      dropout: the rate before the second convolution; it may be traced.
    """

    channels: int
    activation: Activation
    norm: Norm
    dropout: float | jax.Array

    @nn.compact
    def __call__(self, x: jax.Array, condition: jax.Array, train: bool) -> jax.Array:
        """`[B, H, W, I]` and `[B, E]` to `[B, H, W, channels]`."""
        y = Conv(self.channels, name="first")(self.activation(self.norm(x, train)))
        shift = dense(self.channels, (None, "channels"), name="condition")(self.activation(condition))
        y = self.activation(self.norm(y + shift[:, None, None], train))
        y = Conv(self.channels, initializer=_zeros, name="second")(Dropout(self.dropout)(y, train))
        if x.shape[-1] != self.channels:
            x = Conv(self.channels, size=1, name="project")(x)
        return constrain_map(x + y)


class MapAttention(nn.Module):
    """Attention among the places of a map, on a residual branch that starts at zero.

    Attributes:
      heads: of the attention.
      norm: `norm(x, train)`.
    """

    heads: int
    norm: Norm

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """`[B, H, W, C]` to the same shape."""
        places = self.norm(x, train).reshape(x.shape[0], -1, x.shape[-1])
        attention = Attention(self.heads, last_initializer=_zeros, name="attention")
        return constrain_map(x + attention(places, train).reshape(x.shape))


class DiffusionUNet(nn.Module):
    """The U-Net of Ho et al. 2020, Denoising Diffusion Probabilistic Models, appendix B.

    At each size: blocks, each followed by attention where that size has it. Down by strided
    convolutions, up by repetition and a convolution; every map of the way down is concatenated to one
    on the way up. In the middle: block, attention, block. The output starts at zero.

    Attributes:
      widths: channels at each size, from the largest map to the smallest.
      blocks: at each size on the way down; one more on the way up.
      attention: for each size, whether it has attention.
      heads: of the attention.
      classes: how many labels there are; 0: labels are not used.
      activation: the nonlinearity.
      norm: `norm(x, train)`; channels must divide into its groups, of several channels each: a norm of
        single channels would take the condition away again.
      dropout: the rate in each block; it may be traced.
    """

    widths: tuple[int, ...] = (128, 256, 256, 256)
    blocks: int = 2
    attention: tuple[bool, ...] = (False, True, False, False)
    heads: int = 1
    classes: int = 0
    activation: Activation = nn.silu
    norm: Norm = _groups
    dropout: float | jax.Array = 0.0

    @nn.compact
    def __call__(
        self, x: jax.Array, time: jax.Array, label: jax.Array | None = None, train: bool = False
    ) -> jax.Array:
        """Predictions `[B, H, W, C]` for noisy images `x` of that shape, at times `[B]`.

        Raises:
          ValueError: a height or width that cannot be halved as often as there are sizes, or other
            numbers of `widths` and of `attention`.
        """
        check_halvings(x.shape[1], x.shape[2], len(self.widths) - 1)
        if len(self.attention) != len(self.widths):
            raise ValueError(
                f"attention is {self.attention} for {len(self.widths)} widths; expected as many of both"
            )
        outputs, first = x.shape[-1], self.widths[0]
        condition = Condition(4 * first, first, self.classes, name="condition")(time, label, x.dtype)

        def block(x: jax.Array, channels: int, attention: bool) -> jax.Array:
            x = ConditionedBlock(channels, self.activation, self.norm, self.dropout)(x, condition, train)
            return MapAttention(self.heads, self.norm)(x, train) if attention else x

        levels = list(zip(self.widths, self.attention, strict=True))
        x = Conv(first, name="in")(x)
        kept = [x]
        for level, (channels, attention) in enumerate(levels):
            if level:
                x = Conv(x.shape[-1], strides=2, padding=1, name=f"down_{level}")(x)
                kept.append(x)
            for _ in range(self.blocks):
                x = block(x, channels, attention)
                kept.append(x)
        x = block(block(x, self.widths[-1], True), self.widths[-1], False)
        for level, (channels, attention) in reversed(list(enumerate(levels))):
            for _ in range(self.blocks + 1):
                x = block(jnp.concatenate([x, kept.pop()], axis=-1), channels, attention)
            if level:
                x = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
                x = Conv(channels, name=f"up_{level}")(x)
        return Conv(outputs, initializer=_zeros, name="out")(self.activation(self.norm(x, train)))


class DiffusionMLP(nn.Module):
    """A denoiser of vectors: layers, to each of which the condition is added; the output starts at zero.

    Attributes:
      widths: units of each hidden layer.
      classes: how many labels there are; 0: labels are not used.
      activation: the nonlinearity.
    """

    widths: tuple[int, ...] = (128, 128, 128)
    classes: int = 0
    activation: Activation = nn.silu

    @nn.compact
    def __call__(
        self, x: jax.Array, time: jax.Array, label: jax.Array | None = None, train: bool = False
    ) -> jax.Array:
        """Predictions `[B, D]` for noisy vectors `x` `[B, D]` at times `[B]`; `train` makes no difference."""
        del train
        y, first = x, self.widths[0]
        condition = Condition(first, 2 * (first // 2), self.classes, deviation=1.0, name="condition")
        vector = self.activation(condition(time, label, x.dtype))
        for index, width in enumerate(self.widths):
            shift = dense(width, (None, "mlp"), name=f"condition_{index}")(vector)
            y = self.activation(dense(width, (None, "mlp"), name=f"hidden_{index}")(y) + shift)
            y = constrain(y, "batch", "mlp")
        return dense(x.shape[-1], ("mlp", None), name="out", zero=True)(y)
