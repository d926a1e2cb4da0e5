"""Configs: frozen dataclasses that are pytrees. Floats are traced, everything else is static.

A traced field is a leaf: a sweep over it shares one compiled program. A static field is part of
the tree's structure: each of its values is a program of its own.
"""

import dataclasses
import functools
import itertools
import math
import numbers
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, dataclass_transform

import jax
import numpy as np
import typeguard

from fdl.text import hint

T = TypeVar("T")


def static(default: Any = dataclasses.MISSING, *, low: Any = None, high: Any = None) -> Any:
    """A field whose every value is its own program, whatever its type.

    Args:
      default: the field's default; a required field if missing.
      low: the smallest allowed value.
      high: the largest allowed value.

    Example:
      >>> import fdl
      >>> @fdl.config
      ... class Config:
      ...     dropout: float = fdl.static(0.1, low=0.0, high=1.0)  # each value is compiled by itself
      ...
      >>> Config(dropout=0.5)
      Config(dropout=0.5)
    """
    return _field(default, traced=False, low=low, high=high)


def traced(default: Any = dataclasses.MISSING, *, low: Any = None, high: Any = None) -> Any:
    """A field whose values share one program: a number that reaches the program as an array.

    Args:
      default: the field's default; a required field if missing.
      low: the smallest allowed value.
      high: the largest allowed value.

    Example:
      >>> import fdl
      >>> @fdl.config
      ... class Config:
      ...     lr: float = fdl.traced(1e-3, low=0.0)  # all values share one program
      ...
      >>> Config(lr=0.01)
      Config(lr=0.01)
    """
    return _field(default, traced=True, low=low, high=high)


def _field(default: Any, *, traced: bool, low: Any, high: Any) -> Any:
    metadata = {"traced": traced, "low": low, "high": high}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass_transform(frozen_default=True)
def config(cls: type[T]) -> type[T]:
    """Makes a class with annotated fields a config: frozen, validated, hashable parts, a pytree.

    Values are checked when a config is made (`ValueError`: unknown field, wrong type, not finite,
    out of the bounds declared by `static`/`traced`). Inside a compiled function the traced fields
    hold tracers. Configs are equal if their values are, of the same types: 1, 1.0 and True are not.

    Example:
      >>> import fdl
      >>> @fdl.config
      ... class Config:
      ...     depth: int = 4
      ...     lr: float = 1e-3
      ...
      >>> Config(lr=0.01)
      Config(depth=4, lr=0.01)
    """
    _check_class(cls)
    wrapped = dataclasses.dataclass(frozen=True)(cls)
    initialize = wrapped.__init__

    def __init__(self: Any, /, *args: Any, **kwargs: Any) -> None:  # a field may be called self
        check_names(wrapped, kwargs)
        initialize(self, *args, **kwargs)
        _validate(self)

    __init__.__wrapped__ = initialize  # pyright: ignore[reportFunctionMemberAccess]
    wrapped.__init__ = __init__  # pyright: ignore[reportAttributeAccessIssue]
    names = [field.name for field in dataclasses.fields(wrapped)]  # pyright: ignore[reportArgumentType]
    leaves = traced_fields(wrapped)
    rest = tuple(name for name in names if name not in leaves)

    def typed(self: Any) -> Any:
        return _typed(tuple(getattr(self, name) for name in names))

    def __eq__(self: Any, other: Any) -> bool:
        return type(self) is type(other) and typed(self) == typed(other)

    wrapped.__eq__ = __eq__  # pyright: ignore[reportAttributeAccessIssue]
    wrapped.__hash__ = lambda self: hash(typed(self))  # pyright: ignore[reportAttributeAccessIssue]

    def flatten(self: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        children = tuple((jax.tree_util.GetAttrKey(name), getattr(self, name)) for name in leaves)
        fixed = tuple(getattr(self, name) for name in rest)
        return children, (fixed, _typed(fixed))

    def unflatten(aux: tuple[Any, ...], children: Iterable[Any]) -> Any:
        # Past __init__: transformations put tracers, shapes and sentinels into the leaves.
        self = object.__new__(wrapped)
        for name, value in zip((*leaves, *rest), (*children, *aux[0]), strict=True):
            object.__setattr__(self, name, value)
        return self

    jax.tree_util.register_pytree_with_keys(wrapped, flatten, unflatten)
    return wrapped


def is_config(cls: Any) -> bool:
    """Whether `cls` is a class made by `config`."""
    return isinstance(cls, type) and hasattr(cls.__init__, "__wrapped__") and dataclasses.is_dataclass(cls)


def traced_fields(cls: Any) -> tuple[str, ...]:
    """The names of a config class's traced fields, in the order of declaration."""
    hints, fields = typing.get_type_hints(cls), dataclasses.fields(cls)
    return tuple(f.name for f in fields if f.metadata.get("traced", hints[f.name] is float))


def values(config: Any) -> dict[str, Any]:
    """The fields of a config and their values, by name, in the order of declaration."""
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}


def leaves(config: Any) -> dict[str, Any]:
    """As `values`, but with the fields of dataclasses inside by path, as `"net.depth"`, in their place."""
    found = {}
    for name, value in values(config).items():
        inner = leaves(value) if dataclasses.is_dataclass(value) else None
        found |= {name: value} if inner is None else {f"{name}.{k}": v for k, v in inner.items()}
    return found


def at(config: Any, path: str) -> Any:
    """The value of a field, also of one in a dataclass inside: `"net.depth"`."""
    return functools.reduce(getattr, path.split("."), config)


def replaced(config: Any, changes: Mapping[str, Any]) -> Any:
    """A config with other values of some fields, which may lie in dataclasses inside: `{"net.depth": 3}`.

    Raises:
      ValueError: an unknown field, or a value that it does not take.
    """
    given: dict[str, Any] = {}
    inside: dict[str, dict[str, Any]] = {}
    check_paths(config, changes)
    for path, value in changes.items():
        first, _, rest = path.partition(".")
        if rest:
            inside.setdefault(first, {})[rest] = value
        else:
            given[first] = value
    for name, more in inside.items():
        given[name] = replaced(given.get(name, getattr(config, name)), more)
    return dataclasses.replace(config, **given)


def check_paths(config: Any, paths: Iterable[str]) -> None:
    """Raises `ValueError` for the first of `paths`, as `"lr"` or `"net.depth"`, that a config has not."""
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        raise ValueError(f"the config is {config!r}; expected an instance of a config class, as Config()")
    for path in paths:
        owner = config
        for name in path.split("."):
            if not dataclasses.is_dataclass(owner):
                raise ValueError(f"{type(config).__name__}.{path}: {owner!r} has no field {name!r}")
            check_names(type(owner), [name])
            owner = getattr(owner, name)


def check_names(cls: Any, names: Iterable[str]) -> None:
    """Raises `ValueError` with the nearest valid name for the first of `names` that is no field."""
    valid = [field.name for field in dataclasses.fields(cls)]
    for name in names:
        if name not in valid:
            raise ValueError(f"{cls.__name__} has no field {name!r}; {hint(name, valid)}")


def _typed(value: Any) -> Any:
    """A value with its type, and the items of a tuple with theirs: what Python calls equal, as 1 and True,
    may be other programs."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return type(value), tuple(_typed(one) for one in values(value).values())
    return type(value), tuple(map(_typed, value)) if isinstance(value, tuple) else value


def _check_class(cls: type) -> None:
    """Raises `ValueError` for annotations that are none, and for what looks like a field but is not."""
    try:
        hints = typing.get_type_hints(cls)
    except Exception as error:
        raise ValueError(f"an annotation of {cls.__name__} cannot be read: {error}") from None
    for name, kind in hints.items():
        if not (callable(kind) or typing.get_origin(kind) or kind is Any):
            raise ValueError(f"{cls.__name__}.{name} is annotated with {kind!r}; expected a type, as int")
    for name, value in vars(cls).items():
        if name in hints and isinstance(value, list | dict | set):
            raise ValueError(f"{cls.__name__}.{name} is {value!r}; expected a tuple, as fields are hashed")
        value = value.default if isinstance(value, dataclasses.Field) else value
        plain = isinstance(value, bool | int | float | str | tuple)
        if plain and name not in hints and not name.startswith("_"):
            kind = type(value).__name__
            raise ValueError(f"{cls.__name__}.{name} has no type; write {name}: {kind} = ...")


def _validate(config: Any) -> None:
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, jax.Array):  # a tracer or a computed leaf: checked when it was made
            continue
        annotation = hints[field.name]
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            _validate(value)
        value = _plain(value, annotation)
        object.__setattr__(config, field.name, value)
        traced = field.metadata.get("traced", annotation is float)
        problem = _problem(value, annotation, field.metadata) or _unfit(value, traced=traced)
        if problem:
            name = f"{type(config).__name__}.{field.name}"
            raise ValueError(f"{name} is {value!r} ({type(value).__name__}); expected {problem}")


def _plain(value: Any, annotation: Any) -> Any:
    """NumPy scalars become Python's, and an int where a float is declared becomes a float."""
    if isinstance(value, np.generic):
        value = value.item()
    if annotation is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def _parts(value: Any) -> Iterable[Any]:
    """A value, or the items of a tuple and of those in it."""
    return itertools.chain.from_iterable(map(_parts, value)) if isinstance(value, tuple) else (value,)


def _unfit(value: Any, *, traced: bool) -> str | None:
    """What a traced field expects instead of `value`, or None: programs get its values as float32."""
    if not traced or value is None:
        return None
    if not isinstance(value, numbers.Real):
        return "a number, as the field is traced"
    size, limits = abs(float(value)), np.finfo(np.float32)
    if size and not float(limits.tiny) <= size <= float(limits.max):
        return f"0 or a size from {limits.tiny:.3g} to {limits.max:.3g}, as traced fields are float32"
    if isinstance(value, int) and int(np.float32(value)) != value:
        return "a whole number that float32 holds, as the field is traced: up to 16777216, or fdl.static"
    return None


def _problem(value: Any, annotation: Any, metadata: Mapping[str, Any]) -> str | None:
    """What was expected instead of `value`, or None."""
    shown = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    if isinstance(value, bool) and annotation in (int, float):
        return shown
    try:
        typeguard.check_type(value, annotation)
    except typeguard.TypeCheckError:
        return shown
    if any(isinstance(part, float) and not math.isfinite(part) for part in _parts(value)):
        return f"a finite {shown}"
    if any(isinstance(part, int) and not -(2**63) <= part < 2**63 for part in _parts(value)):
        return f"{shown} of 64 bits"
    if dataclasses.is_dataclass(value) and not type(value).__dataclass_params__.frozen:  # pyright: ignore
        return "a frozen dataclass, as of @dataclasses.dataclass(frozen=True)"
    try:
        hash(value)
    except TypeError:
        return f"a hashable {shown} (a tuple instead of a list)"
    low, high = metadata.get("low"), metadata.get("high")
    if isinstance(value, numbers.Real):
        if low is not None and value < low:
            return f"at least {low}"
        if high is not None and value > high:
            return f"at most {high}"
    return None
