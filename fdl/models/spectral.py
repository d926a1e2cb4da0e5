"""Spectral normalisation of kernels, by power iteration."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from fdl.arguments import Count, checked

_FIRST_ITERATIONS = 15  # PyTorch's, so that the first step already divides by nearly the right number
_EPSILON = 1e-12  # PyTorch's, of `spectral_norm`


class _Spectral(nn.Module):
    """A kernel `[..., O]` over the estimate of its largest singular value; see `spectral_norm`."""

    iterations: int

    @nn.compact
    def __call__(self, kernel: jax.Array) -> jax.Array:
        # The vectors are kept in float32, and so are their products where the kernel is narrower.
        precise = jnp.promote_types(kernel.dtype, jnp.float32)
        matrix = kernel.reshape(-1, kernel.shape[-1]).astype(precise)
        fixed = lax.stop_gradient(matrix)

        def first() -> tuple[jax.Array, jax.Array]:
            start = jax.random.normal(self.make_rng("params"), matrix.shape[:1], matrix.dtype)
            return _iterate(fixed, _unit(start), _FIRST_ITERATIONS)

        pair = self.variable("spectral", "vectors", first)
        if self.is_mutable_collection("spectral") and not self.is_initializing():
            pair.value = _iterate(fixed, pair.value[1], self.iterations)
        left, right = pair.value
        # The vectors count as constants: at the true ones the value's gradient is exact all the same.
        return kernel / jnp.vdot(left, right @ matrix).astype(kernel.dtype)


@checked
def spectral_norm(kernel: jax.Array, *, iterations: Count = 1) -> jax.Array:
    """A kernel `[..., O]` over its largest singular value, for `Conv(weight=spectral_norm)`.

    Miyato et al. 2018, Spectral Normalization for Generative Adversarial Networks, sec. 2.1 and
    algorithm 1; the kernel counts as a matrix from all its other axes to O. The singular vectors
    `[O]` and `[prod(...)]` are the collection `"spectral"`: a call that may change it does
    `iterations` of the power method first, as a training step of PyTorch's; other calls use them as
    they are. A convolution's own norm as a map of images is another number.

    Args:
      kernel: `[..., O]`, not zero.
      iterations: of the power method, in each training call.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> model = models.MLPDiscriminator(widths=(64,), weight=models.spectral_norm)
      >>> outputs, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), jnp.zeros((1, 8)))
      >>> sorted(variables)
      ['params', 'spectral']
    """
    return _Spectral(iterations)(kernel)


def _iterate(matrix: jax.Array, right: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """`count` times from the vector `[I]` to the vectors `[O]` and `[I]`, by `matrix` `[I, O]`."""
    left = jnp.zeros(matrix.shape[1], matrix.dtype)

    def once(_: int, pair: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        left = _unit(pair[1] @ matrix)
        return left, _unit(matrix @ left)

    return lax.fori_loop(0, count, once, (left, right))


def _unit(x: jax.Array) -> jax.Array:
    return x / jnp.maximum(jnp.linalg.norm(x), _EPSILON)
