"""Columns of a table as numbers: as they are, as categories, as dates; scaled by what train holds."""

from collections.abc import Callable
from typing import Any

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
    cells, gone = table.cells[name], missing(table.cells[name], declared)
    texts = [str(cell) for cell in cells.tolist()]
    texts = np.array(["" if out else cell for cell, out in zip(texts, gone, strict=True)], object)
    if name not in declared.categorical and (why := question(texts[~gone], declared)):
        raise ValueError(f"{table.path}: column {name!r} {why}")
    return texts


def features(table: Columns, name: str, declared: Declared, train: np.ndarray) -> np.ndarray:
    """The features of one column, `[N, F]` float32; see `fdl.data.table`.

    Args:
      table: all rows.
      name: the column.
      declared: how columns are read.
      train: the numbers of train's rows, whose statistics all rows are scaled by.

    Raises:
      ValueError: cells that are missing, or not what their column is.
    """
    impute = declared.about_missing(name) == "impute"
    if missing(table.cells[name], declared).all():
        raise ValueError(f"{table.path}: column {name!r} has no value in any row; name it in `drop`")
    if name in declared.dates:
        moments, gone = _moments(table, name, declared)
        columns = _date_features(moments, gone, train)
    elif name in declared.converters or (
        name not in declared.categorical and numeric(table.cells[name], declared)
    ):
        if name not in declared.converters and compact_dates(table.cells[name]):
            raise ValueError(
                f"{table.path}: column {name!r} looks like dates ({table.cells[name][0]}); declare it by "
                "`dates`, as {name: '%Y%m%d'}, or, if it holds numbers, by `converters`, as {name: float}"
            )
        values = quantities(table, name, declared)
        gone = np.isnan(values)
        columns = [_standardised(values, gone, train)]
    else:
        texts = category_texts(table, name, declared)
        if not impute:
            present(table, name, texts == "")
        return _one_hot(table, name, texts, train)
    if not impute:
        present(table, name, gone)
        return np.stack(columns, axis=1)
    if gone[train].all():
        raise ValueError(f"{table.path}: column {name!r} has no value in train to impute from; drop it")
    if not gone[train].any():
        return np.stack(columns, axis=1)  # of a flag that train never sees, nothing could be learned
    return np.stack([*columns, gone.astype(np.float32)], axis=1)


def _standardised(values: np.ndarray, gone: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Shifted and scaled by the values of train that are there; 0, their mean, where one is missing."""
    seen = values[train][~gone[train]]
    # Equality, as the deviation of equal numbers can come out as a rounding error above zero.
    constant = not seen.size or (seen == seen[0]).all()
    shift, scale = (seen[:1].sum(), 1.0) if constant else (seen.mean(), seen.std())
    return np.where(gone, 0.0, (values - shift) / scale).astype(np.float32)


def _one_hot(table: Columns, name: str, texts: np.ndarray, train: np.ndarray) -> np.ndarray:
    categories = {text: place for place, text in enumerate(sorted(set(texts[train])))}
    if len(categories) > _CATEGORIES:
        raise ValueError(
            f"{table.path}: column {name!r} has {len(categories)} different texts in train; expected at most "
            f"{_CATEGORIES} categories; name it in `drop`"
        )
    places = np.array([categories.get(text, -1) for text in texts])
    return (places[:, None] == np.arange(len(categories))).astype(np.float32)


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


def _date_features(moments: np.ndarray, gone: np.ndarray, train: np.ndarray) -> list[np.ndarray]:
    """The day as a number, scaled; the place in the year and in the week and, of times, in the day."""
    day = np.timedelta64(1, "D")
    days = (moments - np.datetime64("1970-01-01", "ns")) / day
    year = moments.astype("datetime64[Y]")
    length = ((year + 1).astype("datetime64[ns]") - year.astype("datetime64[ns]")) / day
    turns = [(moments - year.astype("datetime64[ns]")) / day / length, (days - 4) / 7]  # 1970-01-05: a Monday
    if (days[train][~gone[train]] % 1 != 0).any():
        turns.append(days)
    waves = [wave(2 * np.pi * (turn % 1)) for turn in turns for wave in (np.sin, np.cos)]
    return [_standardised(days, gone, train), *(np.where(gone, 0, wave).astype(np.float32) for wave in waves)]


def _converted(table: Columns, name: str, convert: Callable[[str], Any], row: int) -> float:
    cell = table.cells[name][row]
    try:
        return float(convert(cell))
    except Exception as error:  # whatever the caller's function raises
        raise _fault(table, name, row, f"converters[{name!r}] fails on {cell!r} ({named(error)})") from error


def _fault(table: Columns, name: str, row: int, what: str) -> ValueError:
    return ValueError(f"{table.place(int(row))}, column {name!r}: {what}")
