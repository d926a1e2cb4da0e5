"""New rows of a table, without targets, as the features that its training rows are."""

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fdl.data.readers.columns import check_names, read_table
from fdl.data.readers.features import Feature, features_of_new
from fdl.data.readers.table_cells import Declared
from fdl.storage import path_of

Read = Callable[[str | os.PathLike[str]], dict[str, np.ndarray]]


def new_rows_of(features: Sequence[Feature], declared: Declared, separator: str | None) -> Read:
    """`read_new_rows` with all but the path: JSON-able, but for functions that convert cells."""
    notation = {
        "na_values": sorted(declared.na_values),
        "decimal": declared.decimal,
        "thousands": declared.thousands,
        "separator": separator,
    }
    names = [feature.name for feature in features]
    converters = {name: one for name, one in declared.converters.items() if name in names}
    functions = {"converters": converters} if converters else {}
    dates = {name: form for name, form in declared.dates.items() if name in names}
    told = [feature._asdict() for feature in features]
    return functools.partial(read_new_rows, features=told, dates=dates, **notation, **functions)


def read_new_rows(
    path: str | os.PathLike[str],
    *,
    features: Sequence[Mapping[str, Any]],
    dates: Mapping[str, str],
    na_values: Sequence[str],
    decimal: str,
    thousands: str | None,
    separator: str | None,
    converters: Mapping[str, Callable[[str], Any]] | None = None,
) -> dict[str, np.ndarray]:
    """The features of a file's rows, scaled and coded by what train's rows held.

    Args:
      path: the new file; columns that are no features, such as the target, are left out.
      features: the fields of `Feature`, of each column.
      dates: how dates are written, by column.
      na_values: the texts, case-folded, that mean that a cell is missing.
      decimal: what stands before decimals.
      thousands: what stands between groups of three digits.
      separator: what stands between cells, where the file is not one of Parquet.
      converters: functions from a cell to a float, by column.

    Returns:
      `x`, float32 `[N, F]`.

    Raises:
      OSError: the file cannot be read.
      ValueError: a column is not there, or a cell is missing or not of its column's type.
    """
    place, known = path_of(path), [Feature(**one) for one in features]
    parquet = place.name.lower().endswith(".parquet")
    new = read_table(place, separator=None if parquet else separator)
    check_names(new.path, [one.name for one in known], new.cells)
    if not new.size:
        raise ValueError(f"{new.path} has no rows; expected at least one")
    declared = Declared((), dates, converters or {}, "refuse", frozenset(na_values), decimal, thousands)
    return {"x": np.concatenate([features_of_new(new, one, declared) for one in known], axis=1)}
