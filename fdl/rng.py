"""Named key streams: arms that differ in one thing share the randomness of everything else."""

import zlib

import jax


def stream(key: jax.Array, name: str) -> jax.Array:
    """The key of the stream `name`, independent of every other name's.

    Args:
      key: a typed PRNG key, any shape `[...]`.
      name: what the randomness is for, as `"init"`, `"data"`, `"dropout"`.

    Returns:
      A key of the same shape; a pure function of both arguments, the same on every Python.
    """
    tag = zlib.crc32(name.encode())
    fold = lambda one: jax.random.fold_in(one, tag)  # noqa: E731
    for _ in range(key.ndim):
        fold = jax.vmap(fold)
    return fold(key)
