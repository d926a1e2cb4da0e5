"""Tables as columns of numbers or texts that remember where in the file each cell stands."""

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fdl.data.readers.opened_files import content_of
from fdl.data.tokens.corpus import decoded
from fdl.storage import Folder
from fdl.text import hint, message_of

SEPARATORS = {".csv": ",", ".tsv": "\t", ".csv.gz": ",", ".tsv.gz": "\t"}
"""What stands between the cells, by the ending of a file's name."""


class Columns(NamedTuple):
    """A table as it was read.

    Attributes:
      path: the file.
      cells: by column, `[N]`: numbers (NaN where missing), or an object array of str (`""` where missing).
      place: `place(row) -> "t.csv: line 7"`, the file of a row and where it stands there.
      size: N.
    """

    path: Folder
    cells: Mapping[str, np.ndarray]
    place: Callable[[int], str]
    size: int

    def taken(self, rows: np.ndarray) -> "Columns":
        """Some of the rows, by number `[n]`."""
        kept = {name: cells[rows] for name, cells in self.cells.items()}
        return Columns(self.path, kept, lambda row: self.place(int(rows[row])), len(rows))


def read_table(path: Folder, *, separator: str | None = None, drop: Collection[str] = ()) -> Columns:
    """The columns of a `.csv`, `.tsv` or `.parquet` file, also `.csv.gz` and `.tsv.gz`, in any case.

    Args:
      path: the file.
      separator: what stands between cells; by the file's name if None.
      drop: columns that are left out.

    Raises:
      OSError: the file cannot be read.
      ValueError: another ending, or a file that is malformed, as `read_csv` and `read_parquet` say.
    """
    name = path.name.lower()
    if name.endswith(".parquet"):
        if separator is not None:
            raise ValueError(f"separator is {separator!r} but {path} is a Parquet file, which has none")
        return read_parquet(path, drop=drop)
    own = next((mark for end, mark in SEPARATORS.items() if name.endswith(end)), None)
    if own is None:
        raise ValueError(f"{path} ends in {path.suffix!r}; expected .tsv, .csv.gz, .tsv.gz, .csv or .parquet")
    return read_csv(path, separator=own if separator is None else separator, drop=drop)


def read_csv(path: Folder, *, separator: str = ",", drop: Collection[str] = ()) -> Columns:
    """A comma-separated file (RFC 4180), or with another mark, in UTF-8, whose first line names the columns.

    Blank lines are skipped, and blanks around a cell are not part of it. All cells stay text. A name that
    ends in `.gz` is that of a file that gzip compressed.

    Rows are cut by the standard library's `csv`, as pandas fills a row that was cut short with missing cells,
    and so cannot tell it from a whole one.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is empty, not UTF-8, has a row with too few or too many cells, badly
        quoted, or its names are missing or repeated, or lack one of `drop`.
    """
    if len(separator) != 1 or separator in '"\r\n' or separator.isalnum():
        raise ValueError(f"separator is {separator!r}; expected one mark, such as ',', ';' or a tab")
    rows, lines = _csv_rows(path, separator)
    if not rows:
        raise ValueError(f"{path} is empty; expected a line of column names, then rows")
    hint = _other_separator(rows[0], separator)
    if len(rows[0]) == 1 and hint:
        raise ValueError(f"{path}: line {lines[0]} has no {separator!r}{hint}")
    names = _names(path, rows.pop(0), drop)
    for row, line in zip(rows, lines[1:], strict=True):
        if len(row) != len(names):
            raise ValueError(
                f"{path}: line {line} has {len(row)} cells; expected {len(names)}, as in line "
                f"{lines[0]}{hint}"
            )
    kept = {
        name: _texts([row[place] for row in rows]) for place, name in enumerate(names) if name not in drop
    }
    return Columns(path, kept, lambda row: f"{path}: line {lines[row + 1]}", len(rows))


def joined(tables: Sequence[Columns]) -> Columns:
    """The rows of several files, one after another.

    Raises:
      ValueError: files whose columns are not the same, or not of the same kind.
    """
    first, *others = tables
    for other in others:
        if different := sorted(set(first.cells) ^ set(other.cells)):
            lacking = other.path if different[0] in first.cells else first.path
            raise ValueError(
                f"{lacking} has no column {different[0]!r}, but the other files have; expected the same "
                "columns in all, so add it or name it in `drop`"
            )
    kept = {}
    for name in first.cells:
        columns = [table.cells[name] for table in tables]
        if len({column.dtype == object for column in columns}) > 1:
            raise ValueError(
                f"{first.path}: column {name!r} is one of texts in some files and of numbers in others; "
                "convert it, or name it in `drop`"
            )
        kept[name] = np.concatenate(columns)
    ends = np.cumsum([table.size for table in tables])

    def place(row: int) -> str:
        number = int(np.searchsorted(ends, row, side="right"))
        return tables[number].place(row - int(ends[number]) + tables[number].size)

    return Columns(first.path, kept, place, int(ends[-1]))


def read_parquet(path: Folder, *, drop: Collection[str] = ()) -> Columns:
    """A Parquet file of numbers, booleans, strings, and dates and times, which become texts (ISO 8601).

    Booleans become "False" and "True".

    Raises:
      OSError: the file cannot be read.
      ValueError: it is not a whole Parquet file, has a column of another type, or its names are
        missing or repeated, or lack one of `drop`.
    """
    import pyarrow as pa
    from pyarrow import parquet

    content = content_of(path)
    try:
        table = parquet.ParquetFile(pa.BufferReader(content)).read()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{path} is not a whole Parquet file ({message_of(error)}); write or fetch it again"
        ) from None
    names = _names(path, table.column_names, drop)
    kept = {name: _arrow(path, name, table[name]) for name in names if name not in drop}
    return Columns(path, kept, lambda row: f"{path}: row {row} (counted from 0)", table.num_rows)


def check_names(path: Folder, wanted: Iterable[str], known: Collection[str]) -> None:
    """Raises `ValueError`, with the nearest name, where one of `wanted` is not `known`."""
    for name in wanted:
        if name not in known:
            raise ValueError(f"{path} has no column {name!r} to choose; {hint(name, known)}")


def _csv_rows(path: Folder, separator: str) -> tuple[list[list[str]], list[int]]:
    """The rows that are not blank, and the line on which each starts."""
    content = content_of(path)
    if path.suffix.lower() == ".gz":
        try:
            content = gzip.decompress(content)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is not a whole gzip file ({error}); write or fetch it again") from None
    text = decoded(path, content)
    if "\0" in text:
        raise ValueError(f"{path} has zero bytes, as of UTF-16 or of no text; expected text in UTF-8")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    rows, lines, line = [], [], 1
    try:
        for row in reader:
            if row:
                rows.append([cell.strip() for cell in row])
                lines.append(line)
            line = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path}: line {line}: {error}; expected cells with {separator!r} between") from None
    return rows, lines


def _other_separator(names: Sequence[str], separator: str) -> str:
    """What to say where the first line has more of another mark than of the one that it is cut at."""
    marks = {mark: sum(name.count(mark) for name in names) for mark in ";\t|,"}
    found = max(marks, key=lambda mark: marks[mark])
    if marks[found] < len(names):
        return ""
    return f" (it was cut at {separator!r} but has {marks[found]} {found!r}); pass separator={found!r}"


def _names(path: Folder, names: Sequence[str], drop: Collection[str]) -> Sequence[str]:
    for number, name in enumerate(names, 1):
        if name == "" or name.startswith("__index_level_"):
            raise ValueError(
                f"{path}: column {number} has no name; name it, or write the file without its index"
            )
        if (first := names.index(name) + 1) != number:
            raise ValueError(f"{path}: columns {first} and {number} are both called {name!r}; rename one")
    check_names(path, drop, names)
    return names


def _arrow(path: Folder, name: str, column: Any) -> np.ndarray:
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
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _texts(["" if cell is None else cell.isoformat() for cell in column.to_pylist()])
    raise ValueError(
        f"{path}: column {name!r} is {kind}; expected numbers, booleans, strings or dates; "
        "convert it, or name it in `drop`"
    )


def _texts(cells: Sequence[str]) -> np.ndarray:
    return np.array(cells, object)
