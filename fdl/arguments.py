"""Arguments checked by their annotations, before anything is made of them."""

import collections.abc
import functools
import inspect
import itertools
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, ParamSpec, TypeVar, overload

import flax.linen as nn
import jax
import numpy as np
import numpy.typing
from jax.core import Tracer
from jax.typing import ArrayLike

from fdl.text import one_line

P = ParamSpec("P")
T = TypeVar("T")


class Limit(NamedTuple):
    """What a value keeps to beside being of its kind, as `Annotated[int, Limit(...)]`; traced ones pass.

    Attributes:
      holds: whether a value does.
      words: what was expected where it does not.
    """

    holds: Callable[[Any], Any]
    words: str


Count = Annotated[int, Limit(lambda number: np.asarray(number) >= 1, "at least 1")]
NotNegative = Annotated[T, Limit(lambda number: np.asarray(number) >= 0, "0 or more")]
Positive = Annotated[T, Limit(lambda number: np.asarray(number) > 0, "above 0")]
Share = Annotated[T, Limit(lambda share: np.asarray(share) == np.clip(share, 0, 1), "from 0 to 1")]
InnerShare = Annotated[T, Limit(lambda share: 0 < share < 1, "above 0 and below 1")]
Rising = Annotated[T, Limit(lambda pair: pair[0] <= pair[1], "the lower value first")]
NotEmpty = Annotated[T, Limit(len, "at least one value")]
Whole = Annotated[T, Limit(lambda number: np.asarray(number).dtype.kind in "iu", "whole numbers")]


@overload
def checked(function: type[T]) -> type[T]: ...


@overload
def checked(function: Callable[P, T]) -> Callable[P, T]: ...


def checked(function: Any) -> Any:
    """The same function or class, which refuses what an annotation does not allow: what is of another kind,
    NaN or infinite, or beyond a limit such as `Count` or `Share[float]`.

    Traced values pass, arrays as what they are; annotations that are unknown here take everything.

    Raises:
      ValueError: (the function returned) such an argument, in one line.

    >>> checked(lambda rate: rate)(rate=3)  # no annotation
    3
    >>> def draw(*, count: Count, rate: Share[float] = 0.0) -> int: ...
    >>> checked(draw)(count=2.5)
    Traceback (most recent call last):
    ValueError: count is 2.5 (float); expected a whole number
    >>> checked(draw)(count=3, rate=1.5)
    Traceback (most recent call last):
    ValueError: rate is 1.5; expected from 0 to 1
    """
    if isinstance(function, type):
        made = "__new__" if hasattr(function, "_fields") else "__init__"  # a NamedTuple, or a Flax module
        setattr(function, made, checked(getattr(function, made)))
        return function
    signature = inspect.signature(function)
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    kinds = {name: one.annotation for name, one in signature.parameters.items() if one.kind not in several}

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError:  # Python says it better
            return function(*args, **kwargs)
        for name, value in given.items():
            if name in kinds:
                check_value(name, value, kinds[name])
        return function(*args, **kwargs)

    return call


def check_value(name: str, value: Any, kind: Any) -> None:
    """Raises `ValueError` if a value is not of a kind, or is beyond one of its limits.

    >>> check_value("sigma", (0.1, -2.0), tuple[Positive[float], Positive[float]])
    Traceback (most recent call last):
    ValueError: sigma is (0.1, -2.0); expected above 0
    """
    if expected := _expected(value, kind):
        came = one_line(repr(value), most=60)
        raise ValueError(f"{name} is {came} ({type(value).__name__}); expected {expected}")
    if beyond := _beyond(value, kind):
        raise ValueError(f"{name} is {one_line(str(value), most=60)}; expected {beyond}")


def _expected(value: Any, kind: Any) -> str | None:
    """What was expected instead of a value, if it is not of a kind."""
    origin, parts = _parsed(kind)
    if origin is Annotated:
        return _expected(value, parts[0])
    if kind in _ARRAYS:
        return None if _is_array(value, listed=True) or _is_number(value) else "a number or an array"
    if origin in _UNIONS:
        wanted = list(itertools.takewhile(bool, (_expected(value, part) for part in parts)))
        return None if len(wanted) < len(parts) else " or ".join(dict.fromkeys(map(str, wanted[:2])))
    if origin is Literal:
        fits = any(isinstance(value, type(part)) and value == part for part in parts)
        return None if fits else f"one of {', '.join(map(repr, parts))}"
    if origin in (tuple, collections.abc.Sequence) and parts:
        return _expected_parts(value, origin, parts)
    simple = _SIMPLE.get(origin)
    if simple:
        return None if simple[0](value) else simple[1]
    return _expected_class(value, origin)


def _expected_parts(value: Any, origin: Any, parts: Sequence[Any]) -> str | None:
    if isinstance(value, str):
        return None if origin is not tuple and parts[0] in (str, Any) else "a tuple"
    if not isinstance(value, Sequence):
        return None if _is_array(value) else "a tuple"
    kinds = _kinds(value, origin, parts)
    wrong = [_expected(part, kind) for part, kind in zip(value, kinds, strict=False)]
    found = next((one for one in wrong if one), None)
    if found is None and len(value) != len(kinds):
        return f"{len(kinds)} values"
    return None if found is None else f"a tuple, and of each value {found}"


@functools.cache
def _parsed(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    """An annotation without its parts, and these."""
    return typing.get_origin(kind) or kind, typing.get_args(kind)


def _kinds(value: Sequence[Any], origin: Any, parts: Sequence[Any]) -> Sequence[Any]:
    """The kind of each value of a tuple."""
    return [parts[0]] * len(value) if origin is not tuple or parts[-1] is ... else parts


def _expected_class(value: Any, kind: Any) -> str | None:
    if not isinstance(kind, type) or kind in (Any, inspect.Parameter.empty) or _is_unchecked(kind):
        return None
    if issubclass(kind, nn.Module) and isinstance(value, nn.Module):
        return None  # one that is wrapped, as for mixed precision, stands for what it wraps
    fields = getattr(kind, "_fields", None)
    if fields is None:
        return None if isinstance(value, kind) else f"a {kind.__name__} of {kind.__module__.split('.')[0]}"
    alike = not isinstance(value, type) and all(hasattr(value, field) for field in fields)
    return None if alike else f"{kind.__name__}({', '.join(fields)})"


def _is_unchecked(kind: type) -> bool:
    """Whether a class is one that `isinstance` does not know."""
    protocol = getattr(kind, "_is_protocol", False) and not getattr(kind, "_is_runtime_protocol", False)
    return protocol or typing.is_typeddict(kind)


def _beyond(value: Any, kind: Any) -> str | None:
    """What was expected of a value that is of a kind, if it is beyond a limit."""
    origin, parts = _parsed(kind)
    if origin is Annotated:
        broken = (limit.words for limit in parts[1:] if not _keeps(value, limit))
        return next(broken, None) or _beyond(value, parts[0])
    if kind in (float, *_ARRAYS):
        return "a finite number" if isinstance(value, float | np.floating) and math.isinf(value) else None
    if origin in _UNIONS:
        return next((_beyond(value, part) for part in parts if not _expected(value, part)), None)
    if origin in (tuple, collections.abc.Sequence) and isinstance(value, tuple | list):
        pairs = zip(value, _kinds(value, origin, parts), strict=False)
        return next((words for one, part in pairs if (words := _beyond(one, part))), None)
    return None


def _keeps(value: Any, limit: Limit) -> bool:
    numbers = value if isinstance(value, tuple | list) else (value,)
    # Of an array that is spread over processes none has all values.
    if not all(getattr(number, "is_fully_addressable", True) for number in numbers if not _hidden(number)):
        return True
    return any(map(_hidden, numbers)) or bool(np.all(limit.holds(value)))


def _hidden(value: Any) -> bool:
    """Whether a value is not known: traced, or a shape alone."""
    return isinstance(value, Tracer | jax.ShapeDtypeStruct)


def _is_array(value: Any, *, listed: bool = False) -> bool:
    if listed and isinstance(value, tuple | list):
        try:
            return np.asarray(value).dtype.kind in "biuf"
        except ValueError:  # rows of different lengths
            return False
    return hasattr(value, "shape") and hasattr(value, "dtype") and not isinstance(value, np.generic)


def _is_number(value: Any) -> bool:
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return not math.isnan(value)
    return _is_array(value) and np.ndim(value) == 0


def _is_whole(value: Any) -> bool:
    if isinstance(value, bool) or not (hasattr(value, "__index__") or isinstance(value, Tracer)):
        return False
    return isinstance(value, Tracer) or getattr(value, "dtype", np.dtype(int)).kind in "iu"


_ARRAYS = (ArrayLike, numpy.typing.ArrayLike)
_UNIONS = (typing.Union, types.UnionType)
_SIMPLE: dict[Any, tuple[Callable[[Any], bool], str]] = {
    int: (_is_whole, "a whole number"),
    float: (_is_number, "a number"),
    bool: (lambda value: isinstance(value, bool | np.bool_) or _is_array(value), "True or False"),
    str: (lambda value: isinstance(value, str), "a text"),
    types.NoneType: (lambda value: value is None, "None"),
    jax.Array: (_is_array, "an array"),
    np.ndarray: (_is_array, "an array"),
    jax.ShapeDtypeStruct: (_is_array, "a shape, as jax.ShapeDtypeStruct((3,), float)"),
    np.dtype: (lambda value: True, "a dtype"),
    collections.abc.Callable: (callable, "a function"),
    collections.abc.Mapping: (
        lambda value: isinstance(value, Mapping),
        "a dictionary, as {'x': ..., 'y': ...}",
    ),
}
"""By kind: whether a value is of it, and what it is called."""
