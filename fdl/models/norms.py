"""Normalisations as functions to be called inside a compact module: `norm(x, train)`.

Their scales start at `gain`: with `functools.partial(batch_norm, gain=nn.initializers.zeros)` as its
last norm, a residual block starts as the identity. Scales and shifts are vectors, of which every
device keeps all: their axes have no names.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from fdl import shards
from fdl.arguments import Count, NotNegative, checked

_EPSILON = 1e-5  # PyTorch's; Flax's own layer and group norm have 1e-6
_ONES = nn.initializers.ones


@checked
def batch_norm(x: jax.Array, train: bool, *, gain: nn.initializers.Initializer = _ONES) -> jax.Array:
    """Batch normalisation of `x` `[B, ..., D]` over all axes but the last, then scale and shift.

    Ioffe & Szegedy 2015, Batch Normalization, algorithm 1. With `train` by the batch's own mean
    and variance, which also move the running ones (collection `"batch_stats"`) by a tenth of the
    way, as PyTorch's momentum 0.1; else by the running ones. One difference from PyTorch: the
    running variance averages the biased variance of batches (divisor B), PyTorch's and the paper's
    (algorithm 2) the unbiased one (divisor B - 1); all normalise a batch by its biased variance.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.MLP(widths=(64,), outputs=10, norm=models.batch_norm)
      >>> outputs, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), jnp.zeros((1, 8)))
      >>> outputs.shape
      (1, 10)
      >>> sum(leaf.size for leaf in jax.tree.leaves(variables))
      1482
    """
    # Flax's fast variance, E[x²] - E[x]², cancels where the mean is large.
    norm = nn.BatchNorm(
        use_running_average=not train,
        momentum=0.9,
        epsilon=_EPSILON,
        use_fast_variance=False,
        scale_init=gain,
        axis_name=shards.AXIS if shards.count() > 1 else None,
    )
    return norm(x)


@checked
def layer_norm(
    x: jax.Array,
    train: bool,
    *,
    epsilon: NotNegative[float] = _EPSILON,
    gain: nn.initializers.Initializer = _ONES,
) -> jax.Array:
    """Layer normalisation of `x` `[..., D]` over its last axis, then scale and shift.

    Ba et al. 2016, Layer Normalization, eq. 3; `epsilon` is added to the variance, which the paper does
    not do. `train` makes no difference.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.MLP(widths=(64,), outputs=10, norm=models.layer_norm)
      >>> outputs, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), jnp.zeros((1, 8)))
      >>> outputs.shape
      (1, 10)
      >>> sum(leaf.size for leaf in jax.tree.leaves(variables))
      1354
    """
    del train
    return nn.LayerNorm(epsilon=epsilon, use_fast_variance=False, scale_init=gain)(x)


@checked
def group_norm(
    x: jax.Array,
    train: bool,
    *,
    groups: Count = 32,
    epsilon: NotNegative[float] = _EPSILON,
    gain: nn.initializers.Initializer = _ONES,
) -> jax.Array:
    """Group normalisation of `x` `[B, ..., D]`, then scale and shift of each channel.

    Wu & He 2018, Group Normalization, eq. 7: a row's `D / groups` neighbouring channels, at all
    places, share mean and variance; `epsilon` is added to the variance. `groups=D` is instance norm.
    `train` makes no difference.

    Raises:
      ValueError: channels that do not divide into the groups.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> import functools
      >>> model = models.conv_net((32,), (), norm=functools.partial(models.group_norm, groups=8))
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 32, 32, 3)))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 10)
    """
    del train
    if x.shape[-1] % groups:
        raise ValueError(f"{x.shape[-1]} channels do not divide into {groups} groups")
    return nn.GroupNorm(groups, epsilon=epsilon, use_fast_variance=False, scale_init=gain)(x)


@checked
def rms_norm(
    x: jax.Array,
    train: bool,
    *,
    epsilon: NotNegative[float] = 1e-6,
    gain: nn.initializers.Initializer = _ONES,
) -> jax.Array:
    """`x` `[..., D]` over the root of its mean square along the last axis, times a scale.

    Zhang & Sennrich 2019, Root Mean Square Layer Normalization, eq. 4; `epsilon` is added to the mean
    square. `train` makes no difference.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.MLP(widths=(64,), outputs=10, norm=models.rms_norm)
      >>> outputs, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), jnp.zeros((1, 8)))
      >>> outputs.shape
      (1, 10)
      >>> sum(leaf.size for leaf in jax.tree.leaves(variables))
      1290
    """
    del train
    return nn.RMSNorm(epsilon=epsilon, scale_init=gain)(x)


@checked
def local_response_norm(
    x: jax.Array, *, size: Count = 5, offset: float = 2.0, scale: float = 1e-4, power: float = 0.75
) -> jax.Array:
    """`x` `[..., D]` over `(offset + scale * squares) ** power`, without parameters.

    Krizhevsky et al. 2012, ImageNet Classification with Deep Convolutional Neural Networks, sec. 3.3:
    `squares` is the sum of x² over `size` neighbouring channels (PyTorch's takes their mean).

    Example:
      >>> from fdl import models
      >>> import jax.numpy as jnp
      >>> models.local_response_norm(jnp.ones((1, 4, 4, 8))).shape
      (1, 4, 4, 8)
    """
    before = size // 2
    widths = ((0, 0),) * (x.ndim - 1) + ((before, size - 1 - before),)
    squares = jnp.pad(jnp.square(x), widths)
    total = sum(lax.slice_in_dim(squares, i, i + x.shape[-1], axis=-1) for i in range(size))
    return x / (offset + scale * total) ** power


class _Length(nn.Module):
    """The vectors' lengths in a kernel, free of their directions: `[..., O]` to `[..., O]`."""

    @nn.compact
    def __call__(self, kernel: jax.Array) -> jax.Array:
        norm = jnp.sqrt(jnp.sum(jnp.square(kernel), axis=range(kernel.ndim - 1)))
        return kernel / norm * self.param("scale", lambda key: norm)


@checked
def weight_norm(kernel: jax.Array) -> jax.Array:
    """A kernel `[..., O]` as direction times length, for `Conv(weight=weight_norm)`.

    Salimans & Kingma 2016, Weight Normalization, eq. 2: the kernel's parameter `[..., o]` gives each
    output's direction, a parameter of its own the length, which starts at the kernel's own.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.MLPDiscriminator(widths=(64,), weight=models.weight_norm)
      >>> outputs, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), jnp.zeros((1, 8)))
      >>> sorted(variables)
      ['params']
    """
    return _Length()(kernel)
