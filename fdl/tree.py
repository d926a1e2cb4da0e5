"""Operations on whole pytrees that JAX has no name for."""

from typing import Any

import jax
import jax.numpy as jnp


def where(condition: jax.Array, x: Any, y: Any) -> Any:
    """`x` where the scalar bool `condition` holds, else `y`; both of one structure."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), x, y)


def stack(trees: list[Any]) -> Any:
    """Trees of one structure with leaves `[...]`, as one tree with leaves `[len(trees), ...]`."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def take(tree: Any, index: Any) -> Any:
    """Every leaf `[N, ...]` indexed along its first axis."""
    return jax.tree.map(lambda leaf: leaf[index], tree)


def nbytes(tree: Any) -> int:
    """Bytes of all leaves; works on shapes (`jax.ShapeDtypeStruct`) too."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
