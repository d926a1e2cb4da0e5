"""Random keys as the words that they are, for what stores plain arrays alone."""

from typing import Any

import jax
import jax.numpy as jnp


def words(leaf: jax.Array) -> jax.Array:
    """Of a random key its words; another array as it is."""
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def shape_of_words(shape: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    """What `words` makes of an array of this shape, with the same layout on devices."""
    if not _is_key(shape):
        return shape
    found = jax.eval_shape(jax.random.key_data, jax.ShapeDtypeStruct(shape.shape, shape.dtype))
    return jax.ShapeDtypeStruct(found.shape, found.dtype, sharding=shape.sharding)


def of_words(found: jax.Array, shape: jax.ShapeDtypeStruct) -> jax.Array:
    """The array of this shape whose `words` were found."""
    if not _is_key(shape):
        return found
    return jax.random.wrap_key_data(found, impl=_impl(shape))


def _impl(shape: jax.ShapeDtypeStruct) -> Any:
    """The kind of a key, asked of one that is traced: making one would be compiled, at every resuming."""
    found: list[Any] = []
    jax.eval_shape(lambda key: found.append(jax.random.key_impl(key)), jax.ShapeDtypeStruct((), shape.dtype))
    return found[0]


def _is_key(leaf: jax.Array | jax.ShapeDtypeStruct) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
