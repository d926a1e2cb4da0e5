"""Arguments checked by their annotations, before anything is made of them."""

import collections.abc
import functools
import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import jax
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from fdl.text import one_line

P = ParamSpec("P")
T = TypeVar("T")


def checked(function: Callable[P, T]) -> Callable[P, T]:
    """The same function, which refuses what is not of the kind that an argument's annotation says, and NaN.

    Traced values and arrays pass as what they are; annotations that are unknown here take everything.

    Raises:
      ValueError: (the function returned) an argument of another kind, in one line.

    >>> checked(lambda rate: rate)(rate=3)  # no annotation
    3
    >>> def draw(*, count: int, low: float = 0.0) -> int: ...
    >>> checked(draw)(count=2.5)
    Traceback (most recent call last):
    ValueError: count is 2.5 (float); expected a whole number
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError:  # Python says it better
            return function(*args, **kwargs)
        for name, value in given.items():
            parameter = signature.parameters[name]
            fixed = parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
            if fixed and (expected := _expected(value, parameter.annotation)):
                came = one_line(repr(value), most=60)
                raise ValueError(f"{name} is {came} ({type(value).__name__}); expected {expected}")
        return function(*args, **kwargs)

    return call


def check_shares(**shares: Any) -> None:
    """Raises `ValueError` for the first of the named probabilities, or pairs of them, that is none.

    Here and below traced ones pass.

    >>> check_shares(rate=1.5)
    Traceback (most recent call last):
    ValueError: rate is 1.5; expected from 0 to 1
    """
    _check(lambda share: 0 <= share <= 1, "from 0 to 1", shares)


def check_positive(**numbers: Any) -> None:
    """Raises `ValueError` for the first of the named numbers, or pairs of them, that is not above 0.

    >>> check_positive(sigma=(0.1, -2.0))
    Traceback (most recent call last):
    ValueError: sigma is (0.1, -2.0); expected above 0
    """
    _check(lambda number: number > 0, "above 0", numbers)


def check_not_negative(**numbers: Any) -> None:
    """Raises `ValueError` for the first of the named numbers, or pairs of them, that is below 0.

    >>> check_not_negative(most=-1)
    Traceback (most recent call last):
    ValueError: most is -1; expected 0 or more
    """
    _check(lambda number: number >= 0, "0 or more", numbers)


def _check(holds: Callable[[Any], Any], expected: str, named: Mapping[str, Any]) -> None:
    for name, value in named.items():
        for part in value if isinstance(value, tuple | list) else (value,):
            if not isinstance(part, Tracer) and not np.all(holds(part)):
                raise ValueError(f"{name} is {value}; expected {expected}")


def _expected(value: Any, kind: Any) -> str | None:
    """What was expected instead of a value, if it is not of a kind."""
    parts = typing.get_args(kind)
    if kind == ArrayLike:
        return None if _is_array(value, listed=True) or _is_number(value) else "a number or an array"
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        wanted = [_expected(value, part) for part in parts]
        return None if None in wanted else next(one for one in wanted if one)
    if typing.get_origin(kind) is tuple and parts[-1:] != (...,):
        return _expected_parts(value, parts)
    if typing.get_origin(kind) in (tuple, collections.abc.Sequence):
        if isinstance(value, str) and parts[0] in (str, Any):
            return None
        return _expected_parts(value, parts[:1] * (len(value) if isinstance(value, Sequence) else 1))
    if typing.get_origin(kind) is collections.abc.Callable:
        return None if callable(value) else "a function"
    simple = _SIMPLE.get(typing.get_origin(kind) or kind)
    return simple[1] if simple and not simple[0](value) else None


def _expected_parts(value: Any, kinds: Sequence[Any]) -> str | None:
    if isinstance(value, Sequence) and not isinstance(value, str):
        wrong = [_expected(part, kind) for part, kind in zip(value, kinds, strict=False)]
        found = next((one for one in wrong if one), None)
        if found is None and len(value) == len(kinds):
            return None
        return f"{len(kinds)} values" if found is None else f"a tuple, and of each value {found}"
    return None if _is_array(value) else "a tuple"


def _is_array(value: Any, *, listed: bool = False) -> bool:
    if listed and isinstance(value, tuple | list):
        return np.asarray(value).dtype.kind in "biuf"
    return hasattr(value, "shape") and hasattr(value, "dtype") and not isinstance(value, np.generic)


def _is_number(value: Any) -> bool:
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return not math.isnan(value)
    return _is_array(value) and np.ndim(value) == 0


def _is_whole(value: Any) -> bool:
    return not isinstance(value, bool) and (hasattr(value, "__index__") or isinstance(value, Tracer))


_SIMPLE: dict[Any, tuple[Callable[[Any], bool], str]] = {
    int: (_is_whole, "a whole number"),
    float: (_is_number, "a number"),
    bool: (lambda value: isinstance(value, bool | np.bool_) or _is_array(value), "True or False"),
    str: (lambda value: isinstance(value, str), "a text"),
    types.NoneType: (lambda value: value is None, "None"),
    jax.Array: (_is_array, "an array"),
    np.ndarray: (_is_array, "an array"),
    collections.abc.Mapping: (
        lambda value: isinstance(value, Mapping),
        "arrays by name, as {'x': ..., 'y': ...}",
    ),
}
"""By kind: whether a value is of it, and what it is called."""
