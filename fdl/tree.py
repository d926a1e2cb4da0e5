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


def difference(found: Any, expected: Any, *, name: str) -> str | None:
    """Where two trees of arrays, or of their shapes, differ first; None where they are alike.

    Args:
      found: what is there.
      expected: what should be.
      name: of the tree, as in `state['w'] is float32[3], expected float32[]`.
    """
    there, wanted = (leaves_of(tree, name=name) for tree in (found, expected))
    for path in dict.fromkeys([*wanted, *there]):
        a, b = (shown(leaves[path]) if path in leaves else "nothing" for leaves in (there, wanted))
        if a != b:
            return f"{path} is {a}, expected {b}"
    a, b = (str(jax.tree.structure(tree)) for tree in (found, expected))
    return None if a == b else f"{name} is a {a[:200]}, expected a {b[:200]}"


def leaves_of(tree: Any, *, name: str) -> dict[str, Any]:
    """The leaves by path, as `{"state['w']": ...}` of a tree that is called `state`."""
    return {f"{name}{jax.tree_util.keystr(path)}": leaf for path, leaf in jax.tree.leaves_with_path(tree)}


def named_leaves(found: Any) -> dict[str, Any]:
    """A tree's leaves by their path, as `params/Dense_0/kernel`."""
    leaves = jax.tree.leaves_with_path(found)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def shown(leaf: Any) -> str:
    """An array, or its shape, in words: `float32[3,4]`; of anything else its value and type."""
    if not (hasattr(leaf, "shape") and hasattr(leaf, "dtype")):
        return f"{repr(leaf)[:60]} ({type(leaf).__name__})"
    return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"
