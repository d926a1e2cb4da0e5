"""Tables as columns of numbers or texts that remember where in the file each cell stands."""

import csv
import io
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fdl.data.corpus import read_text

_MISSING = {"", "na", "n/a", "nan", "null", "none"}
_LARGEST = float(np.finfo(np.float32).max)


class Columns(NamedTuple):
    """A table as it was read.

    Attributes:
      path: the file.
      cells: by column, `[N]`: numbers (NaN where missing), or an object array of str (`""` where missing).
      place: `place(row) -> "line 7"`, where a row stands in the file.
      size: N.
    """

    path: Path
    cells: Mapping[str, np.ndarray]
    place: Callable[[int], str]
    size: int


def read_csv(path: Path, *, drop: Collection[str] = ()) -> Columns:
    """A comma-separated file (RFC 4180) in UTF-8 whose first line names the columns.

    Blank lines are skipped, and blanks around a cell are not part of it. All cells stay text.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is empty, not UTF-8, has a row with too few or too many cells, badly
        quoted, or its names are missing or repeated, or lack one of `drop`.
    """
    rows, lines = _csv_rows(path)
    if not rows:
        raise ValueError(f"{path} is empty; expected a line of column names, then rows")
    names = _names(path, rows.pop(0), drop)
    for row, line in zip(rows, lines[1:], strict=True):
        if len(row) != len(names):
            raise ValueError(
                f"{path}: line {line} has {len(row)} cells; expected {len(names)}, as in line {lines[0]}"
            )
    kept = {
        name: _texts([row[place] for row in rows]) for place, name in enumerate(names) if name not in drop
    }
    return Columns(path, kept, lambda row: f"line {lines[row + 1]}", len(rows))


def read_parquet(path: Path, *, drop: Collection[str] = ()) -> Columns:
    """A Parquet file of numbers, booleans and strings; booleans become "False" and "True".

    Raises:
      OSError: the file cannot be read.
      ValueError: it is not a whole Parquet file, has a column of another type, or its names are
        missing or repeated, or lack one of `drop`.
    """
    import pyarrow as pa
    from pyarrow import parquet

    content = path.read_bytes()
    try:
        table = parquet.ParquetFile(pa.BufferReader(content)).read()
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is not a whole Parquet file ({reason}); write or fetch it again") from None
    names = _names(path, table.column_names, drop)
    kept = {name: _arrow(path, name, table[name]) for name in names if name not in drop}
    return Columns(path, kept, lambda row: f"row {row} (counted from 0)", table.num_rows)


def numeric(cells: np.ndarray) -> bool:
    """Whether a column is one of numbers: it has some, and at least half of what is not missing are."""
    if cells.dtype != object:
        return True
    present = [cell for cell in cells if cell.lower() not in _MISSING]
    found = sum(_number(cell) is not None for cell in present)
    return found > 0 and len(present) <= 2 * found


def numbers(table: Columns, name: str) -> np.ndarray:
    """A column as float64 `[N]`.

    Raises:
      ValueError: a cell is missing, no number, or beyond float32; it names the place.
    """
    cells = table.cells[name]
    parsed = [_number(cell) for cell in cells] if cells.dtype == object else cells
    values = np.array(parsed, np.float64)  # None becomes NaN
    bad = ~(np.abs(values) <= _LARGEST)
    if bad.any():
        row = int(np.argmax(bad))
        cell = cells[row] if cells.dtype == object else values[row]
        if str(cell).lower() in _MISSING:
            problem = "the value is missing; fill it in or leave the row out"
        elif np.isnan(values[row]):
            problem = f"{cell!r} is not a number; mend it, or name the column in `categorical`"
        else:
            problem = f"{cell} is beyond float32; expected a finite number"
        raise ValueError(f"{table.path}: {table.place(row)}, column {name!r}: {problem}")
    return values


def check_names(path: Path, wanted: Iterable[str], known: Collection[str]) -> None:
    """Raises `ValueError`, with the nearest name, where one of `wanted` is not `known`."""
    for name in wanted:
        if name not in known:
            nearest = get_close_matches(name, known, n=1, cutoff=0.0)
            raise ValueError(
                f"{path} has no column {name!r} to choose; the nearest is {nearest[0] if nearest else None!r}"
            )


def _csv_rows(path: Path) -> tuple[list[list[str]], list[int]]:
    """The rows that are not blank, and the line on which each starts."""
    reader = csv.reader(io.StringIO(read_text(path).removeprefix("\ufeff"), newline=""), strict=True)
    rows, lines, line = [], [], 1
    try:
        for row in reader:
            if row:
                rows.append([cell.strip() for cell in row])
                lines.append(line)
            line = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path}: line {line}: {error}; expected comma-separated values") from None
    return rows, lines


def _names(path: Path, names: Sequence[str], drop: Collection[str]) -> Sequence[str]:
    for number, name in enumerate(names, 1):
        if name == "" or name.startswith("__index_level_"):
            raise ValueError(
                f"{path}: column {number} has no name; name it, or write the file without its index"
            )
        if (first := names.index(name) + 1) != number:
            raise ValueError(f"{path}: columns {first} and {number} are both called {name!r}; rename one")
    check_names(path, drop, names)
    return names


def _arrow(path: Path, name: str, column: Any) -> np.ndarray:
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return column.to_numpy()
    if pa.types.is_decimal(kind):
        return column.cast(pa.float64()).to_numpy()
    if pa.types.is_boolean(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _texts(["" if cell is None else str(cell) for cell in column.to_pylist()])
    raise ValueError(
        f"{path}: column {name!r} is {kind}; expected numbers, booleans or strings; "
        "convert it, or name it in `drop`"
    )


def _texts(cells: Sequence[str]) -> np.ndarray:
    return np.array(cells, object)


def _number(cell: str) -> float | None:
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None
