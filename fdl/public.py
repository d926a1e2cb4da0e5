"""Which names of a package are for users: what TAB and `dir()` show."""

import types
from collections.abc import Collection, Mapping
from typing import Any


def public(namespace: Mapping[str, Any], *, modules: Collection[str] = ()) -> list[str]:
    """The names of a package without its submodules, which importing leaves behind, and private ones.

    Args:
      namespace: the package's `globals()`.
      modules: submodules that users name, which are shown all the same.

    >>> public({"MLP": object, "mlp": types, "games": types, "_row": 1}, modules=("games",))
    ['MLP', 'games']
    """
    return sorted(
        name
        for name, value in namespace.items()
        if not name.startswith("_") and (name in modules or not isinstance(value, types.ModuleType))
    )
