"""Where a parameter is in its tree, and updates of weight matrices alone."""

from collections.abc import Callable
from typing import Any

import jax


def names(path: tuple[Any, ...]) -> tuple[str, ...]:
    """The names on the way to a leaf of nested dictionaries, as `("Dense_0", "kernel")`.

    Boxes with the names of axes, which may be around a parameter, leave no trace.
    """
    return tuple(str(entry.key) for entry in path if isinstance(entry, jax.tree_util.DictKey))


def map_kernels(function: Callable[..., jax.Array], tree: Any, *more: Any) -> Any:
    """`function` of the leaves whose own name is `kernel`; others stay as they are in `tree`."""

    def leaf(path: Any, first: jax.Array, *others: jax.Array) -> jax.Array:
        return function(first, *others) if names(path)[-1:] == ("kernel",) else first

    return jax.tree_util.tree_map_with_path(leaf, tree, *more)
