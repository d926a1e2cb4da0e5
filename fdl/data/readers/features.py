"""Columns of a table as numbers: as they are, as categories, as dates; scaled by what train holds."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np

from fdl.data.readers.columns import Columns
from fdl.data.readers.table_cells import (
    Declared,
    compact_dates,
    how_to_read,
    missing,
    number,
    numeric,
    question,
)
from fdl.text import named

_CATEGORIES = 1000  # of a text column: one feature each, so more is an identifier most often
_EXACT = 2.0**53  # from here on float64 leaves out whole numbers
_LARGEST = float(np.finfo(np.float32).max)
Kind = Literal["number", "date", "category"]
"""What a column is."""


class Feature(NamedTuple):
    """How one column becomes features: what train's rows say of it, JSON-able, so that new rows can be made
    the same without them.

    Attributes:
      name: the column.
      kind: what it is.
      shift: of numbers and of days what is subtracted.
      scale: what they are divided by then.
      categories: the texts that have a feature, in their order.
      numbers: whether the categories were numbers, as in a Parquet file, and not texts.
      times: whether dates have a place in the day.
      impute: whether cells may be missing.
      flag: whether a feature tells that one is missing.
    """

    name: str
    kind: Kind
    shift: float = 0.0
    scale: float = 1.0
    categories: tuple[str, ...] = ()
    numbers: bool = False
    times: bool = False
    impute: bool = False
    flag: bool = False


def quantities(table: Columns, name: str, declared: Declared) -> np.ndarray:
    """A column as float64 `[N]`, NaN where a cell is missing.

    Raises:
      ValueError: a cell is no number, beyond float32, or has too many digits; it names the place.
    """
    cells, gone = table.cells[name], missing(table.cells[name], declared)
    convert = declared.converters.get(name)
    if convert is None and cells.dtype != object:
        values = cells.astype(np.float64)
    else:
        known: dict[str, float | None] = {}
        for row in np.flatnonzero(~gone).tolist():
            if (cell := cells[row]) not in known:
                value = number(cell, declared) if convert is None else _converted(table, name, convert, row)
                if value is None:
                    raise _fault(table, name, row, f"{cell!r} is not a number; fix it, {how_to_read(cell)}")
                known[cell] = value
        values = np.array([np.nan if out else known[cell] for cell, out in zip(cells, gone, strict=True)])
    gone = gone | np.isnan(values)
    bad = ~gone & ~(np.abs(np.where(gone, 0, values)) <= _LARGEST)
    if bad.any():
        row = int(np.argmax(bad))
        raise _fault(table, name, row, f"{cells[row]} is beyond float32; expected a finite number")
    for row in np.flatnonzero(~gone & (np.abs(values) > _EXACT)).tolist() if convert is None else ():
        text = str(cells[row]).strip()
        if text.lstrip("+-").isdigit() and int(text) != int(values[row]):
            told = "has more digits than float64 holds, so that neighbours become equal"
            raise _fault(table, name, row, f"{text} {told}; name the column in `drop`, or as categorical")
    return np.where(gone, np.nan, values)


def present(table: Columns, name: str, gone: np.ndarray) -> None:
    """Raises `ValueError` where a cell of a column is missing, `gone` `[N]`; it names the place."""
    if gone.any():
        raise _fault(
            table,
            name,
            int(np.argmax(gone)),
            "the value is missing; fill it in, or declare `missing` 'drop' (the row) or 'impute'; a text "
            "that means no gap is left out of `na_values`",
        )


def category_texts(table: Columns, name: str, declared: Declared) -> np.ndarray:
    """A column as texts `[N]`, `""` where missing; a column of texts must look like categories.

    Raises:
      ValueError: texts that seem to be numbers, dates or names, and are not declared to be categories.
    """
    texts, gone = _texts(table, name, declared), missing(table.cells[name], declared)
    if name not in declared.categorical and (why := question(texts[~gone], declared)):
        raise ValueError(f"{table.path}: column {name!r} {why}")
    return texts


def _texts(table: Columns, name: str, declared: Declared) -> np.ndarray:
    cells, gone = table.cells[name], missing(table.cells[name], declared)
    texts = [str(cell) for cell in cells.tolist()]
    return np.array(["" if out else cell for cell, out in zip(texts, gone, strict=True)], object)


def features(table: Columns, name: str, declared: Declared, train: np.ndarray) -> tuple[Feature, np.ndarray]:
    """How one column becomes features, and they, `[N, F]` float32; see `fdl.data.table`.

    Args:
      table: all rows.
      name: the column.
      declared: how columns are read.
      train: the numbers of train's rows, whose statistics all rows are scaled by.

    Raises:
      ValueError: cells that are missing, or not what their column is.
    """
    if missing(table.cells[name], declared).all():
        raise ValueError(f"{table.path}: column {name!r} has no value in any row; name it in `drop`")
    kind = _kind(table, name, declared)
    if kind == "category":
        category_texts(table, name, declared)  # whether they are
    values, gone = _values(table, name, kind, declared)
    impute = declared.about_missing(name) == "impute"
    if not impute:
        present(table, name, gone)
    if kind == "category":
        known, numbers = _categories(table, name, values[train]), table.cells[name].dtype != object
        feature = Feature(name, kind, categories=known, numbers=numbers, impute=impute)
        return feature, _coded(feature, values, gone)
    if impute and gone[train].all():
        raise ValueError(f"{table.path}: column {name!r} has no value in train to impute from; drop it")
    numbers = _days(values) if kind == "date" else values
    seen = numbers[train][~gone[train]]
    shift, scale = _statistics(seen)
    # Of a flag that train never sees, nothing could be learned.
    flag, times = impute and bool(gone[train].any()), kind == "date" and bool((seen % 1 != 0).any())
    feature = Feature(name, kind, float(shift), float(scale), times=times, impute=impute, flag=flag)
    return feature, _coded(feature, values, gone)


def features_of_new(table: Columns, feature: Feature, declared: Declared) -> np.ndarray:
    """One column of new rows as the features, `[N, F]` float32, that it was in the training.

    Raises:
      ValueError: cells that are missing, or not what the column was.
    """
    numbers = table.cells[feature.name].dtype != object
    if feature.kind == "category" and numbers != feature.numbers:
        ours, theirs = ("numbers", "texts") if numbers else ("texts", "numbers")
        raise ValueError(
            f"{table.path}: column {feature.name!r} is one of {ours}, and of {theirs} in the training; "
            "convert it"
        )
    values, gone = _values(table, feature.name, feature.kind, declared)
    if not feature.impute:
        present(table, feature.name, gone)
    return _coded(feature, values, gone)


def _kind(table: Columns, name: str, declared: Declared) -> Kind:
    if name in declared.dates:
        return "date"
    if name in declared.converters:
        return "number"
    if name in declared.categorical or not numeric(table.cells[name], declared):
        return "category"
    if compact_dates(table.cells[name]):
        raise ValueError(
            f"{table.path}: column {name!r} looks like dates ({table.cells[name][0]}); declare it by "
            "`dates`, as {name: '%Y%m%d'}, or, if it holds numbers, by `converters`, as {name: float}"
        )
    return "number"


def _values(table: Columns, name: str, kind: Kind, declared: Declared) -> tuple[np.ndarray, np.ndarray]:
    """A column's numbers, moments or texts `[N]`, and which are missing."""
    if kind == "date":
        return _moments(table, name, declared)
    if kind == "number":
        values = quantities(table, name, declared)
        return values, np.isnan(values)
    texts = _texts(table, name, declared)
    return texts, texts == ""


def _coded(feature: Feature, values: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """What `_values` gives as features `[N, F]`."""
    if feature.kind == "category":
        known = {text: place for place, text in enumerate(feature.categories)}
        places = np.array([known.get(text, -1) for text in values])
        return (places[:, None] == np.arange(len(known))).astype(np.float32)
    numbers = _days(values) if feature.kind == "date" else values
    columns = [np.where(gone, 0.0, (numbers - feature.shift) / feature.scale).astype(np.float32)]
    if feature.kind == "date":
        waves = _waves(values, times=feature.times)
        columns += [np.where(gone, 0, wave).astype(np.float32) for wave in waves]
    return np.stack([*columns, gone.astype(np.float32)] if feature.flag else columns, axis=1)


def _statistics(seen: np.ndarray) -> tuple[np.floating | float, np.floating | float]:
    """What the values of train that are there are shifted and scaled by."""
    # Equality, as the deviation of equal numbers can come out as a rounding error above zero.
    constant = not seen.size or (seen == seen[0]).all()
    return (seen[:1].sum(), 1.0) if constant else (seen.mean(), seen.std())


def _categories(table: Columns, name: str, texts: np.ndarray) -> tuple[str, ...]:
    """The texts of train's rows, in the order of their code points."""
    categories = sorted(set(texts))
    if len(categories) > _CATEGORIES:
        raise ValueError(
            f"{table.path}: column {name!r} has {len(categories)} different texts in train; expected at most "
            f"{_CATEGORIES} categories; name it in `drop`"
        )
    return tuple(categories)


def _moments(table: Columns, name: str, declared: Declared) -> tuple[np.ndarray, np.ndarray]:
    """A column's moments in UTC, datetime64 `[N]`, and which are missing."""
    import pandas as pd

    texts = pd.Series([str(cell) for cell in table.cells[name].tolist()], dtype=object)
    gone, form = missing(table.cells[name], declared), declared.dates[name]
    known = texts[~gone].drop_duplicates()
    try:
        parsed = pd.to_datetime(known, format=form, errors="coerce", utc=True)
    except ValueError as error:
        raise ValueError(f"dates[{name!r}] is {form!r}, which is no format of dates ({error})") from None
    if parsed.isna().any():
        row = int(parsed.index[parsed.isna()][0])
        raise _fault(table, name, row, f"{texts[row]!r} is no date of the form {form!r}; fix it, or `dates`")
    moments = texts.map(dict(zip(known, parsed, strict=True)))
    return pd.to_datetime(moments, utc=True).dt.tz_localize(None).to_numpy("datetime64[ns]"), gone


def _days(moments: np.ndarray) -> np.ndarray:
    """Days since 1970."""
    return (moments - np.datetime64("1970-01-01", "ns")) / np.timedelta64(1, "D")


def _waves(moments: np.ndarray, *, times: bool) -> list[np.ndarray]:
    """The place in the year and in the week and, of times, in the day."""
    day, days = np.timedelta64(1, "D"), _days(moments)
    year = moments.astype("datetime64[Y]")
    length = ((year + 1).astype("datetime64[ns]") - year.astype("datetime64[ns]")) / day
    turns = [(moments - year.astype("datetime64[ns]")) / day / length, (days - 4) / 7]  # 1970-01-05: a Monday
    if times:
        turns.append(days)
    return [wave(2 * np.pi * (turn % 1)) for turn in turns for wave in (np.sin, np.cos)]


def _converted(table: Columns, name: str, convert: Callable[[str], Any], row: int) -> float:
    cell = table.cells[name][row]
    try:
        return float(convert(cell))
    except Exception as error:  # whatever the caller's function raises
        raise _fault(table, name, row, f"converters[{name!r}] fails on {cell!r} ({named(error)})") from error


def _fault(table: Columns, name: str, row: int, what: str) -> ValueError:
    return ValueError(f"{table.place(int(row))}, column {name!r}: {what}")
