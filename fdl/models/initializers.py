"""Initialisers that Flax has not; each, called, makes an initialiser, as `nn.initializers.he_normal`.

Orthogonal and delta-orthogonal ones are Flax's own (`nn.initializers.orthogonal`,
`nn.initializers.delta_orthogonal`); a residual block that starts as the identity has
`functools.partial(batch_norm, gain=nn.initializers.zeros)` as its last norm.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp


def identity(gain: float = 1.0) -> nn.initializers.Initializer:
    """`gain` times the identity map: kernels `[I, O]`, and convolutions' `[*K, I, O]` at their centre.

    Le et al. 2015, A Simple Way to Initialize Recurrent Networks of Rectified Linear Units, sec. 2.
    Where I and O differ, the first min(I, O) entries are passed on.
    """

    def init(key: jax.Array, shape: Sequence[int], dtype: jnp.dtype = jnp.float32) -> jax.Array:
        del key
        centre = tuple((size - 1) // 2 for size in shape[:-2])
        return jnp.zeros(shape, dtype).at[centre].set(gain * jnp.eye(shape[-2], shape[-1], dtype=dtype))

    return init
