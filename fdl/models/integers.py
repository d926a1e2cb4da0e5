"""Numbers as integers of few bits: kernels as they are stored, and what is computed with their values."""

import functools
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from fdl.arguments import Limit

Bits = Annotated[int, Limit(lambda bits: 2 <= bits <= 8, "2 to 8")]


class Integers(NamedTuple):
    """A kernel as it is stored.

    Attributes:
      values: int8 `[..., O]`, of `bits` bits from -(2^(bits - 1) - 1) to the same above zero.
      scale: what one step of each unit's values is worth, `[1, ..., O]`.
    """

    values: jax.Array
    scale: jax.Array


def to_integers(kernel: jax.Array, *, bits: Bits = 8) -> Integers:
    """A kernel `[..., O]` as integers, symmetric about zero, each unit's own scale by its largest |w|.

    Jacob et al. 2018, Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference, sec. 3, keep the lowest integer out too; a scale a unit is Krishnamoorthi 2018, Quantizing
    Deep Convolutional Networks for Efficient Inference, sec. 3.1. A stack of scanned layers `[L, I, O]` has a
    scale for each O.
    """
    largest = jnp.max(jnp.abs(kernel), axis=range(kernel.ndim - 1), keepdims=True)
    scale = largest / (2 ** (bits - 1) - 1)
    values = jnp.round(kernel / jnp.where(scale > 0, scale, 1))
    return Integers(values.astype(jnp.int8), scale)


def from_integers(stored: Integers) -> jax.Array:
    """The kernel that integers stand for, in their scale's type."""
    return stored.values.astype(stored.scale.dtype) * stored.scale


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def round_kernel(kernel: jax.Array, bits: int) -> jax.Array:
    """A kernel's nearest with `bits` bits, exactly what its integers stand for; the gradient passes straight
    through (Bengio et al. 2013, Estimating or Propagating Gradients Through Stochastic Neurons, sec. 4)."""
    return from_integers(to_integers(kernel, bits=bits))


@round_kernel.defjvp
def _(bits: int, primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    return round_kernel(primals[0], bits), tangents[0]


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def round_between(x: jax.Array, low: jax.Array, high: jax.Array, bits: int) -> jax.Array:
    """`x` at the nearest of 2^bits even steps from `low` to `high`, `low <= 0 <= high`, moved so that zero is
    one of them (Jacob et al. 2018, sec. 2.1 and 3). Beyond both ends it is cut, and the gradient is zero."""
    return _stepped(x, low, high, bits)[0]


@round_between.defjvp
def _(bits: int, primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    x, low, high = primals
    y, inside = _stepped(x, low, high, bits)
    return y, jnp.where(inside, tangents[0], 0)


def _stepped(x: jax.Array, low: jax.Array, high: jax.Array, bits: int) -> tuple[jax.Array, jax.Array]:
    """The rounded values, and which were not cut."""
    step = (high - low) / (2**bits - 1)  # not a number without a range, 0 of zeros alone
    places = jnp.where(step == 0, 1, step)
    first = jnp.round(low / places)
    place = jnp.round(x / places)
    inside = (place >= first) & (place <= first + 2**bits - 1)
    return (jnp.clip(place, first, first + 2**bits - 1) * step).astype(x.dtype), inside
