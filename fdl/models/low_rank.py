"""Low-rank factorisation: kernels as products of two thin ones."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fdl.arguments import Count, checked
from fdl.optim.paths import map_kernels


class Factors(NamedTuple):
    """A kernel `[..., O]` as a product: of a convolution one into `rank` channels and one of size 1.

    Attributes:
      a: `[..., rank]`.
      b: `[rank, O]`.
    """

    a: jax.Array
    b: jax.Array


@checked
def low_rank(params: Any, *, rank: Count) -> Any:
    """The parameters whose kernels are the nearest products of a rank, as `Factors`.

    Eckart & Young 1936: of all matrices of that rank the one by the largest singular values has the least sum
    of squared differences. A kernel `[..., O]` counts as a matrix from all its other axes to O (for
    convolutions Denton et al. 2014, Exploiting Linear Structure, sec. 3). One that would not become fewer
    numbers stays.

    Args:
      params: a tree of parameters, of which leaves named `kernel` are factorised.
      rank: of the products.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> params = {"kernel": jnp.outer(jnp.arange(4.0), jnp.arange(5.0)), "bias": jnp.zeros(5)}
      >>> small = models.low_rank(params, rank=1)
      >>> small["kernel"].a.shape, small["kernel"].b.shape
      ((4, 1), (1, 5))
      >>> bool(jnp.allclose(models.full_rank(small)["kernel"], params["kernel"], atol=1e-5))
      True
    """

    def each(kernel: jax.Array) -> Any:
        rows, columns = kernel.size // kernel.shape[-1], kernel.shape[-1]
        if rank * (rows + columns) >= rows * columns:
            return kernel
        left, values, right = jnp.linalg.svd(kernel.reshape(rows, columns), full_matrices=False)
        a = left[:, :rank] * values[:rank]
        return Factors(a.reshape(*kernel.shape[:-1], rank), right[:rank])

    return map_kernels(each, params)


@checked
def full_rank(params: Any) -> Any:
    """The parameters with the products in place of their factors, as the model takes them.

    Args:
      params: what `low_rank` returned.

    Example:
      >>> import jax.numpy as jnp
      >>> from fdl import models
      >>> models.full_rank(models.low_rank({"kernel": jnp.zeros((8, 8))}, rank=2))["kernel"].shape
      (8, 8)
    """
    factors = lambda node: isinstance(node, Factors)  # noqa: E731

    def each(node: Any) -> Any:
        # Weights are no activations: whatever the device's default for products, these are not rounded.
        return jnp.matmul(node.a, node.b, precision=jax.lax.Precision.HIGHEST) if factors(node) else node

    return jax.tree.map(each, params, is_leaf=factors)
