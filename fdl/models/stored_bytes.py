"""How many bytes a model's variables need where they are stored for use."""

import math
from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl.arguments import Limit, checked
from fdl.models.fake_quantised import RANGES
from fdl.optim.paths import names

_FLOAT = 4  # bytes of a scale, or of an end of a range


@checked
def stored_bytes(
    variables: Any, *, bits: Annotated[int, Limit(lambda bits: 2 <= bits <= 32, "2 to 32")] = 32
) -> jax.Array:
    """The bytes of all numbers that are needed to predict; of variables that may be traced.

    A float32 scalar, which tells more than 16 million bytes to seven digits alone.

    Each kernel (a leaf named so) is stored in that of three forms which takes least: all its values; those
    that are not zero, with a bit for each place; or the units `[..., O]` that are not zero, with a bit for
    each. Values take `bits`, fractions of a byte rounded up once a kernel, and below 32 bits each stored
    unit a scale of 4 bytes. A layer's range takes 8 bytes; everything else what its type takes. Names, shapes
    and the program are not counted, nor is entropy coding.

    Args:
      variables: a model's collections, `{"params": ..., ...}`; factors of `low_rank` count as they are.
      bits: of a kernel's value.

    Example:
      >>> import jax.numpy as jnp
      >>> from fdl import models
      >>> variables = {"params": {"kernel": jnp.ones((100, 10)), "bias": jnp.zeros(10)}}
      >>> float(models.stored_bytes(variables)), float(models.stored_bytes(variables, bits=8))
      (4040.0, 1080.0)
    """
    total = jnp.zeros(())
    for path, leaf in jax.tree_util.tree_leaves_with_path(nn.meta.unbox(variables)):
        own = names(path)
        if own[0] == RANGES:
            total += _FLOAT * (own[-1] != "count")
        elif own[-1] == "kernel" and not hasattr(path[-1], "name"):
            total += _kernel(leaf, bits)
        else:
            total += leaf.nbytes
    return total


def _kernel(kernel: jax.Array, bits: int) -> jax.Array:
    unit, rows = kernel.shape[-1], kernel.size // kernel.shape[-1]
    live = jnp.any(kernel.reshape(rows, unit) != 0, axis=0)
    units, values = jnp.sum(live), jnp.count_nonzero(kernel)
    scales = _FLOAT if bits < 32 else 0
    packed = lambda count: jnp.ceil(count * bits / 8)  # noqa: E731
    dense = packed(kernel.size) + scales * unit
    sparse = packed(values) + math.ceil(kernel.size / 8) + scales * unit
    fewer = packed(units * rows) + math.ceil(unit / 8) + scales * units
    return jnp.minimum(jnp.minimum(dense, sparse), fewer)
