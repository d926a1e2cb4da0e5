"""Config values in tables: how they are held, shown and told apart, without pandas' idea of sameness.

To pandas 1, 1.0 and True are one value, and None is none at all: it leaves out the runs of an arm
`clip=None`, or makes the whole numbers beside it floats. Here they are values like others.
"""

import dataclasses
import enum
import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

Identity = tuple[str, Any]
"""The name of a value's type, and the value; NaN and None are `("NoneType", None)`."""


def cell(value: Any) -> Any:
    """A config value as a table holds it: functions and enums by their short name, tuples and dataclasses as
    text."""
    if isinstance(value, enum.Enum):
        return value.name
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        given = (f"{f.name}={cell(getattr(value, f.name))}" for f in dataclasses.fields(value))
        return f"{type(value).__name__}({', '.join(given)})"
    if isinstance(value, tuple):
        return str(tuple(cell(item) for item in value))
    if isinstance(value, functools.partial):
        given = [*map(str, map(cell, value.args)), *(f"{k}={cell(v)}" for k, v in value.keywords.items())]
        return f"{cell(value.func)}({', '.join(given)})"
    if callable(value):
        return getattr(value, "__name__", repr(value))
    return value


def identity(value: Any) -> Identity:
    """What tells the values of a field apart: 1, 1.0 and True are three."""
    value = cell(value)
    if isinstance(value, np.generic):
        value = value.item()
    # A config holds no NaN: where a table has one, pandas put it in the place of None.
    if value is None or value is pd.NA or value != value:
        return "NoneType", None
    return type(value).__name__, value


def identities(values: Iterable[Any]) -> list[Identity]:
    """The `identity` of each value."""
    return [identity(value) for value in values]


def column(values: Sequence[Any]) -> pd.Series:
    """A table's column that gives back the very values: of dtype object if they are of several types."""
    there = identities(values)
    alike = len({kind for kind, _ in there}) == 1 and there[0][1] is not None
    return pd.Series([value for _, value in there], dtype=None if alike else object)


def named(value: Any, there: Iterable[Identity]) -> Identity | None:
    """The one of `there` that a user means by `value`: the same, or else the only one equal to it (1 for
    1.0); None if there is none."""
    wanted, found = identity(value), dict.fromkeys(there)
    if wanted in found:
        return wanted
    equal = [other for other in found if other[1] == wanted[1]]
    return equal[0] if len(equal) == 1 else None


def listed(there: Iterable[Identity]) -> str:
    """Different values as a line of text, for an error."""
    return ", ".join(sorted(str(value) for _, value in dict.fromkeys(there)))


def text(value: Any) -> str:
    """A config value or a count as a table shows it, floats to 6 digits."""
    value = identity(value)[1]
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def texts(values: Iterable[Any]) -> list[str]:
    """The `text` of each value, in full where two different ones would look the same."""
    there = identities(values)
    short = {one: text(one[1]) for one in there}
    alike = Counter(short.values())
    return [short[one] if alike[short[one]] == 1 else repr(one[1]) for one in there]
