"""Normalisations as functions to be called inside a compact module: `norm(x, train)`."""

import flax.linen as nn
import jax

_EPSILON = 1e-5  # PyTorch's, for both; Flax's own layer norm has 1e-6


def batch_norm(x: jax.Array, train: bool) -> jax.Array:
    """Batch normalisation of `x` `[B, ..., D]` over all axes but the last, then scale and shift.

    Ioffe & Szegedy 2015, Batch Normalization, algorithm 1. With `train` by the batch's own mean
    and variance, which also move the running ones (collection `"batch_stats"`) by a tenth of the
    way, as PyTorch's momentum 0.1; else by the running ones. One difference from PyTorch: the
    running variance averages the biased variance of batches (divisor B), PyTorch's the unbiased
    one (divisor B - 1); both normalise a batch by its biased variance.
    """
    # Flax's fast variance, E[x²] - E[x]², cancels where the mean is large.
    norm = nn.BatchNorm(
        use_running_average=not train, momentum=0.9, epsilon=_EPSILON, use_fast_variance=False
    )
    return norm(x)


def layer_norm(x: jax.Array, train: bool) -> jax.Array:
    """Layer normalisation of `x` `[..., D]` over its last axis, then scale and shift.

    Ba et al. 2016, Layer Normalization, eq. 3; `train` makes no difference.
    """
    del train
    return nn.LayerNorm(epsilon=_EPSILON, use_fast_variance=False)(x)
