"""What a denoiser is told beside the noisy data: time and label, as one vector.

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
from fdl.arguments import Count, NotNegative, Positive, checked
from fdl.models.axes import constrain, with_axes

Initializer = Callable[[], nn.initializers.Initializer]
Waves = Callable[[jax.Array, int], jax.Array]
"""`waves(time, width)`, times `[B]` to their embedding `[B, width]`."""


@checked
def time_waves(time: jax.Array, width: Count, *, longest: Positive[float] = 10000.0) -> jax.Array:
    """Cosines, then sines, of 1000 times at `width / 2` rates from 1 down to nearly 1 / longest.

    Vaswani et al.'s rates, longest^(-2 i / width), in the order of Dhariwal & Nichol 2021, Diffusion Models
    Beat GANs, whose code is that of later work too; Ho et al.'s are `ddpm_waves`.

    Args:
      time: `[B]`, from 0 to 1.
      width: an even number.
      longest: the base of the rates.

    Returns:
      float32 `[B, width]`; float64 of float64 times.

    Raises:
      ValueError: an odd width.
    """
    angles = _angles(time, width, math.log(longest) / max(width // 2, 1))
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


@checked
def ddpm_waves(time: jax.Array, width: Count) -> jax.Array:
    """Sines, then cosines, of 1000 times at `width / 2` rates from 1 down to 1 / 10000, as in the code of
    Ho et al. 2020; `width` is an even number from 4 on, and what comes out as of `time_waves`."""
    angles = _angles(time, width, math.log(10000.0) / max(width // 2 - 1, 1))
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


def _angles(time: jax.Array, width: int, fall: float) -> jax.Array:
    """1000 times at rates exp(-fall i), `[B, width / 2]`."""
    if width % 2:
        raise ValueError(f"the width of the time's embedding is {width}; expected an even number")
    time = time.astype(jnp.promote_types(time.dtype, jnp.float32))
    return 1000.0 * time[:, None] * jnp.exp(-fall * jnp.arange(width // 2, dtype=time.dtype))


@checked
class Condition(nn.Module):
    """Time and label as one vector `[B, width]`: waves through two layers, plus the label's vector.

    Attributes:
      width: entries of the vector.
      waves: entries of the time's waves, an even number.
      classes: how many labels there are; 0: labels are not used.
      deviation: of the initial entries of the labels' vectors.
      embed: makes the waves.
      initializer: makes the initialiser of the two layers' kernels.
    """

    width: Count
    waves: Count
    classes: NotNegative[int] = 0
    deviation: NotNegative[float] = 0.02
    embed: Waves = time_waves
    initializer: Initializer = nn.initializers.lecun_normal

    @nn.compact
    def __call__(self, time: jax.Array, label: jax.Array | None, dtype: jnp.dtype) -> jax.Array:
        """The vector, of `dtype`, for times `[B]` and labels `[B]`, -1 where there is none, or None; NaN for
        a label of no class."""
        layer = functools.partial(dense, self.width, (None, "embed"), initializer=self.initializer)
        x = layer(name="time_in")(self.embed(time, self.waves).astype(dtype))
        # Both axes of a square kernel cannot bear one name; the hidden layer stays whole.
        x = layer(name="time_out")(nn.silu(x))
        if self.classes:
            label = jnp.full(time.shape, -1) if label is None else label
            table = with_axes(nn.initializers.normal(self.deviation), "vocab", "embed")
            vectors = nn.Dense(self.width, use_bias=False, kernel_init=table, name="labels")
            none = (label == -1)[:, None]
            x = x + vectors(jnp.where(none, 0, losses.one_hot(label, self.classes, dtype=dtype)))
        return constrain(x, "batch", "embed")


def dense(
    outputs: int,
    axes: tuple[str | None, str | None],
    *,
    name: str,
    initializer: Initializer = nn.initializers.lecun_normal,
) -> nn.Dense:
    """A dense layer whose kernel's axes are named; its bias starts at zero."""
    kernel, bias = with_axes(initializer(), *axes), with_axes(nn.initializers.zeros, axes[1])
    return nn.Dense(outputs, kernel_init=kernel, bias_init=bias, name=name)
