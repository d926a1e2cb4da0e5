"""Initialisers; each, called, makes one, as `nn.initializers.he_normal`.

Flax's own orthogonal ones ask LAPACK, which on CPUs waits in one of XLA's threads for the others: where two
devices, or two kernels, start at once on two cores, they were seen to wait forever (jaxlib 0.10.2). These
have the same values but for rounding, and wait for nothing. A residual block that starts as the identity
has `functools.partial(batch_norm, gain=nn.initializers.zeros)` as its last norm.
"""

import math
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from fdl.arguments import checked


def suited_to(activation: Callable[[jax.Array], jax.Array]) -> Callable[[], nn.initializers.Initializer]:
    """The initialiser that keeps the size of activations: for ReLU He's normal, for all others LeCun's.

    He et al. 2015, Delving Deep into Rectifiers, sec. 2.2: ReLU halves the mean square, so the variance is
    2 / I; LeCun et al. 1998, Efficient BackProp, sec. 4.6: 1 / I. Both are normal, cut off at two
    deviations.

    Args:
      activation: what follows the layers; ReLU is `nn.relu` itself.
    """
    return nn.initializers.he_normal if activation is nn.relu else nn.initializers.lecun_normal


@checked
def orthogonal(scale: float = 1.0) -> nn.initializers.Initializer:
    """Kernels `[..., I, O]` whose columns, or rows where there are fewer, are orthonormal, times `scale`.

    Saxe et al. 2013, Exact solutions to the nonlinear dynamics of learning in deep linear neural networks,
    sec. 3. A uniformly drawn one: the columns of a Gaussian matrix, made orthonormal one after another.
    """

    def init(key: jax.Array, shape: Sequence[int], dtype: jnp.dtype = jnp.float32) -> jax.Array:
        rows, columns = math.prod(shape[:-1]), shape[-1]
        high, wide = max(rows, columns), min(rows, columns)
        basis = _orthonormal(jax.random.normal(key, (high, wide), dtype))
        return scale * (basis.T if rows < columns else basis).reshape(shape)

    return init


@checked
def delta_orthogonal(scale: float = 1.0) -> nn.initializers.Initializer:
    """Convolutions' kernels `[*K, I, O]`, I <= O: orthonormal rows at their centre, else 0, times `scale`.

    Xiao et al. 2018, Dynamical Isometry and a Mean Field Theory of CNNs, algorithm 2.
    """

    def init(key: jax.Array, shape: Sequence[int], dtype: jnp.dtype = jnp.float32) -> jax.Array:
        if shape[-2] > shape[-1]:
            raise ValueError(
                f"a kernel {tuple(shape)} has more inputs than outputs; expected [*K, I, O], I <= O"
            )
        centre = tuple((size - 1) // 2 for size in shape[:-2])
        return jnp.zeros(shape, dtype).at[centre].set(orthogonal(scale)(key, shape[-2:], dtype))

    return init


def _orthonormal(matrix: jax.Array) -> jax.Array:
    """Gram and Schmidt's, each column twice: once leaves rounding errors that grow with the columns."""

    def column(index: jax.Array, basis: jax.Array) -> jax.Array:
        vector = lax.dynamic_index_in_dim(matrix, index, 1, keepdims=False)
        for _ in range(2):
            vector = vector - precisely(basis, precisely(basis.T, vector))
        unit = vector / jnp.sqrt(jnp.sum(jnp.square(vector)))
        return jnp.where(jnp.arange(basis.shape[1]) == index, unit[:, None], basis)

    def precisely(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.matmul(a, b, precision="highest")

    return lax.fori_loop(0, matrix.shape[1], column, jnp.zeros_like(matrix))


@checked
def identity(gain: float = 1.0) -> nn.initializers.Initializer:
    """`gain` times the identity map: kernels `[I, O]`, and convolutions' `[*K, I, O]` at their centre.

    Le et al. 2015, A Simple Way to Initialize Recurrent Networks of Rectified Linear Units, sec. 2.
    Where I and O differ, the first min(I, O) entries are passed on.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.MLP((64,) * 3, 10, skip=False, initializer=models.identity)
      >>> outputs, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), jnp.zeros((1, 8)))
      >>> outputs.shape
      (1, 10)
    """

    def init(key: jax.Array, shape: Sequence[int], dtype: jnp.dtype = jnp.float32) -> jax.Array:
        del key
        centre = tuple((size - 1) // 2 for size in shape[:-2])
        return jnp.zeros(shape, dtype).at[centre].set(gain * jnp.eye(shape[-2], shape[-1], dtype=dtype))

    return init
