"""Looking into live objects: the state of any of them, cells, members of classes, names in modules."""

import copyreg
import dataclasses
import enum
import functools
import importlib
import inspect
import sys
import types
from collections.abc import Mapping
from typing import Any

from fdl.serialization import PUBLIC

METHODS = (types.FunctionType, staticmethod, classmethod, property, functools.cached_property)
"""What a class makes of the functions in its body."""
_NEW = ("inspect", "log_every")
"""Fields of an experiment that came later: where one is None, it is what it was without, also to directories
of before."""


def state_of(value: Any, *, whole: bool = False) -> dict[str, Any]:
    """What makes an object differ from others of its type: parts by name, to be described in turn.

    Args:
      value: the object.
      whole: whether data on the host that says itself what it is has the functions that read it too.

    Raises:
      TypeError: it has no state that could be read, as a lock or an open file.
    """
    if isinstance(value, types.MethodType):
        return {"function": value.__func__, "self": value.__self__}
    if isinstance(value, functools.partial):
        return {"function": value.func, "arguments": value.args, "keywords": value.keywords}
    if hasattr(value, "__wrapped__"):  # by jax.jit, functools.cache, ...
        more = {key: one for key, one in getattr(value, "__dict__", {}).items() if key[:1] != "_"}
        return {"wrapped": value.__wrapped__, **more}
    if isinstance(value, enum.Enum):
        return {"name": value.name}
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):  # a named one
        fields: dict[str, Any] = value._asdict()  # pyright: ignore[reportAttributeAccessIssue]
        told = fields.get("identity") is not None  # data on the host, which says itself what it is
        left_out = ("take", "fetch", "where") if told and not whole else ()
        new = [key for key in _NEW if fields.get(key, ...) is None]
        return {key: one for key, one in fields.items() if key not in (*left_out, *new)}
    if isinstance(getattr(value, "_fingerprint", None), str):  # a data set of Hugging Face's `datasets`
        return {"fingerprint": value._fingerprint}
    reduce = copyreg.dispatch_table.get(type(value))
    reduced: Any = reduce(value) if reduce else value.__reduce_ex__(4)
    if isinstance(reduced, str):
        return {"name": reduced}
    return {"state": [*reduced[:3], *(None if items is None else list(items) for items in reduced[3:])]}


def cells_of(function: types.FunctionType) -> dict[str, Any]:
    """What a function closes over, by name."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return {name: _content(cell) for name, cell in cells if name != "__class__"}


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def bare(members: Mapping[str, Any]) -> dict[str, Any]:
    """Members of a class as functions and values, without their descriptors."""
    found = {}
    for key, value in members.items():
        inner = (
            getattr(value, "__func__", None) or getattr(value, "fget", None) or getattr(value, "func", None)
        )
        found[key] = inner if isinstance(value, METHODS) and inner else value
    return found


def code_of(value: Any) -> types.CodeType | None:
    """The code under a method's wrappers, or `None`."""
    value = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
    try:
        value = inspect.unwrap(value)
    except ValueError:
        return None
    return getattr(value, "__code__", None)


def closed_over(member: Any) -> dict[str, Any]:
    """What a member of a class closes over, under its wrappers."""
    inner: Any = bare({"": member})[""]
    while hasattr(inner, "__wrapped__"):
        inner = inner.__wrapped__
    return cells_of(inner) if isinstance(inner, types.FunctionType) else {}


def public_name(value: Any) -> str | None:
    """The name under which an object is found in its module, if it is; a public name before others."""
    short: Any = getattr(value, "__name__", None)
    for place in PUBLIC:
        if isinstance(short, str) and getattr(sys.modules.get(place), short, None) is value:
            return f"{place}.{short}"
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str):
        return None
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return f"{module}.{name}" if found is value else None


def imported(name: str, scope: Mapping[str, Any]) -> types.ModuleType | None:
    """A module as an import statement in a module of this scope finds it, or `None`."""
    try:
        return importlib.import_module(name, scope.get("__package__"))
    except Exception:  # whatever a module that is not used may raise
        return None


def leaves(described: Any) -> int:
    """How many parts JSON-able data has."""
    if isinstance(described, dict):
        described = list(described.values())
    return sum(map(leaves, described)) if isinstance(described, list) else 1
