"""Denoisers `model(x, time, label, train)`: a residual U-Net with attention for images, an MLP for vectors.

Times and labels are as for `fdl.models.condition`.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl.arguments import Count, NotEmpty, NotNegative, Share, checked
from fdl.models.attention import Attention
from fdl.models.autoencoder import check_halvings
from fdl.models.axes import constrain
from fdl.models.condition import Condition, Waves, ddpm_waves, dense, time_waves
from fdl.models.conv import Conv, constrain_map
from fdl.models.convolve import Padding
from fdl.models.dropout import Dropout
from fdl.models.norms import group_norm

Activation = Callable[[jax.Array], jax.Array]
Norm = Callable[[jax.Array, bool], jax.Array]
Initializer = Callable[[], nn.initializers.Initializer]

_zeros: Initializer = lambda: nn.initializers.zeros  # noqa: E731
_groups = functools.partial(group_norm, groups=8)
_uniform: Initializer = lambda: nn.initializers.variance_scaling(1.0, "fan_avg", "uniform")  # noqa: E731


@checked
class ConditionedBlock(nn.Module):
    """Norm, activation, convolution, twice, on a residual branch; the condition is added in the middle.

    Ho et al. 2020, appendix B. The second convolution starts at zero: the block starts as a projection.

    Attributes:
      channels: output channels.
      activation: the nonlinearity.
      norm: `norm(x, train)`.
      dropout: the rate before the second convolution; it may be traced.
      initializer: makes the initialiser of the other kernels.
    """

    channels: Count
    activation: Activation
    norm: Norm
    dropout: Share[float | jax.Array]
    initializer: Initializer

    @nn.compact
    def __call__(self, x: jax.Array, condition: jax.Array, train: bool) -> jax.Array:
        """`[B, H, W, I]` and `[B, E]` to `[B, H, W, channels]`."""
        conv = functools.partial(Conv, self.channels, initializer=self.initializer)
        y = conv(name="first")(self.activation(self.norm(x, train)))
        layer = dense(self.channels, (None, "channels"), name="condition", initializer=self.initializer)
        shift = layer(self.activation(condition))
        y = self.activation(self.norm(y + shift[:, None, None], train))
        y = Conv(self.channels, initializer=_zeros, name="second")(Dropout(self.dropout)(y, train))
        if x.shape[-1] != self.channels:
            x = conv(size=1, name="project")(x)
        return constrain_map(x + y)


@checked
class MapAttention(nn.Module):
    """Attention among the places of a map, on a residual branch that starts at zero.

    Attributes:
      heads: of the attention.
      norm: `norm(x, train)`.
      initializer: makes the initialiser of the other kernels.
    """

    heads: Count
    norm: Norm
    initializer: Initializer

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """`[B, H, W, C]` to the same shape."""
        places = self.norm(x, train).reshape(x.shape[0], -1, x.shape[-1])
        attention = Attention(
            self.heads, initializer=self.initializer, last_initializer=_zeros, name="attention"
        )
        return constrain_map(x + attention(places, train).reshape(x.shape))


@checked
class DiffusionUNet(nn.Module):
    """A U-Net in the form of Ho et al. 2020, Denoising Diffusion Probabilistic Models, appendix B; theirs
    itself is `ddpm_unet`.

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
      embed: makes the waves of times.
      padding: of the convolutions that halve the map; see `fdl.models.convolve.Padding`.
      initializer: makes the initialiser of the kernels that do not start at zero.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.DiffusionUNet(widths=(32, 64), blocks=1, attention=(False, True))
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 32, 32, 3)), jnp.zeros(1))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 32, 32, 3)
    """

    widths: NotEmpty[tuple[Count, ...]] = (128, 256, 256, 256)
    blocks: NotNegative[int] = 2
    attention: tuple[bool, ...] = (False, True, False, False)
    heads: Count = 1
    classes: NotNegative[int] = 0
    activation: Activation = nn.silu
    norm: Norm = _groups
    dropout: Share[float | jax.Array] = 0.0
    embed: Waves = time_waves
    padding: Padding = 1
    initializer: Initializer = nn.initializers.lecun_normal

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
        start = self.initializer
        condition = Condition(
            4 * first, first, self.classes, embed=self.embed, initializer=start, name="condition"
        )(time, label, x.dtype)
        conv = functools.partial(Conv, initializer=start)

        def block(x: jax.Array, channels: int, attention: bool) -> jax.Array:
            one = ConditionedBlock(channels, self.activation, self.norm, self.dropout, start)
            x = one(x, condition, train)
            return MapAttention(self.heads, self.norm, start)(x, train) if attention else x

        levels = list(zip(self.widths, self.attention, strict=True))
        x = conv(first, name="in")(x)
        kept = [x]
        for level, (channels, attention) in enumerate(levels):
            if level:
                x = conv(x.shape[-1], strides=2, padding=self.padding, name=f"down_{level}")(x)
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
                x = conv(channels, name=f"up_{level}")(x)
        return Conv(outputs, initializer=_zeros, name="out")(self.activation(self.norm(x, train)))


@checked
def ddpm_unet(
    widths: NotEmpty[tuple[Count, ...]] = (128, 256, 256, 256),
    *,
    attention: tuple[bool, ...] = (False, True, False, False),
    dropout: Share[float | jax.Array] = 0.1,
    **options: Any,
) -> DiffusionUNet:
    """Ho et al. 2020, appendix B, and the authors' code; by default the net for CIFAR-10, 35.7 million
    parameters.

    Group norms have 32 groups and an epsilon of 1e-6, kernels start uniform with variance 1 over the mean
    of inputs and outputs, times are embedded by `ddpm_waves`, maps are padded to be halved as by
    TensorFlow ("SAME"). The paper trains it by `from_betas(linear_betas())` at `times=1000`.

    Args:
      widths: see `DiffusionUNet`.
      attention: see there; the paper's nets have it at 16 × 16 places alone.
      dropout: the rate in each block: 0.1 for CIFAR-10, 0 for the larger images.
      **options: `DiffusionUNet`'s other attributes.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.ddpm_unet(widths=(32, 64), attention=(False, True))
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 32, 32, 3)), jnp.zeros(1))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 32, 32, 3)
    """
    given: dict[str, Any] = {
        "norm": functools.partial(group_norm, groups=32, epsilon=1e-6),
        "embed": ddpm_waves,
        "padding": "SAME",
        "initializer": _uniform,
    }
    return DiffusionUNet(widths, attention=attention, dropout=dropout, **(given | options))


@checked
class DiffusionMLP(nn.Module):
    """A denoiser of vectors: layers, to each of which the condition is added; the output starts at zero.

    Attributes:
      widths: units of each hidden layer.
      classes: how many labels there are; 0: labels are not used.
      activation: the nonlinearity.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.DiffusionMLP(widths=(64, 64))
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 2)), jnp.zeros(1))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 2)
    """

    widths: NotEmpty[tuple[Count, ...]] = (128, 128, 128)
    classes: NotNegative[int] = 0
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
        return dense(x.shape[-1], ("mlp", None), name="out", initializer=_zeros)(y)
