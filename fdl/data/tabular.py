"""Tables from CSV and Parquet files as data sets: typed columns, scaled by train statistics."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fdl.data.columns import Columns, check_names, numbers, numeric, read_csv, read_parquet
from fdl.data.partition import split_rows
from fdl.data.splits import Splits

_CATEGORIES = 1000
_READERS = {".csv": read_csv, ".parquet": read_parquet}


def table(
    path: str | os.PathLike[str],
    *,
    target: str,
    categorical: Sequence[str] = (),
    drop: Sequence[str] = (),
    regression: bool = False,
) -> Splits:
    """A table with one row an example: features x and one column to predict, y.

    The rows are split by `split_rows`, stratified by class. Every column but the target becomes
    features, in the order of the file. A column is numeric if at least half of its cells that are
    not missing (empty, NA, N/A, NaN, null, none in any case) are numbers; then all must be. It is shifted and
    scaled to mean 0 and standard deviation 1 over train; one that is constant over train is shifted
    only. Strings, booleans and columns named in `categorical` become one feature for each text that
    the column has in train, in the order of their code points: 1.0 where the cell is that text,
    else 0.0. A text that train lacks is all zeros; an empty cell is a text like any other.

    Args:
      path: a `.csv` file (comma-separated, UTF-8, first line the names) or a `.parquet` file.
      target: the column to predict.
      categorical: columns whose numbers are names, such as postal codes. The target may be one.
      drop: columns to leave out, such as row identifiers.
      regression: the target is a quantity and not a class.

    Returns:
      Parts with `x`, float32 `[N, F]`, and `y`: for classes int32 `[N]`, numbered in the order of
      their values (`classes` has their names); for quantities float32 `[N, 1]`, not scaled.

    Raises:
      OSError: the file cannot be read.
      ValueError: a file that is malformed, cells that are missing or not of their column's type (it
        names the line and the column), a column that is not there, a target that is one class only.
    """
    path = Path(path)
    if path.suffix not in _READERS:
        raise ValueError(f"{path} ends in {path.suffix!r}; expected {' or '.join(_READERS)}")
    read = _READERS[path.suffix](path, drop=drop)
    if read.size < 3:
        raise ValueError(f"{path} has {read.size} rows; expected at least 3, one for each part")
    check_names(path, [target], read.cells)
    features = [name for name in read.cells if name != target]
    if not features:
        raise ValueError(f"{path} has no column but the target {target!r}; expected at least one feature")
    check_names(path, categorical, features if regression else list(read.cells))
    if regression:
        y, classes = numbers(read, target).astype(np.float32)[:, None], ()
    else:
        y, classes = _classes(read, target, by_text=target in categorical)
    rows = split_rows(None if regression else y, read.size)
    x = _features(read, features, categorical, rows[0])
    train, validation, test = ({"x": x[part], "y": y[part]} for part in rows)
    return Splits(train, validation, test, classes=classes)


def _classes(read: Columns, target: str, *, by_text: bool) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels `[N]` and the names of the classes."""
    cells = read.cells[target]
    if by_text or not numeric(cells):
        values = _texts(cells)
        if (missing := values == "").any():
            place = read.place(int(np.argmax(missing)))
            raise ValueError(f"{read.path}: {place}, column {target!r}: the target is missing; fill it in")
    else:
        values = numbers(read, target)
        if (broken := values != np.floor(values)).any():
            row = int(np.argmax(broken))
            raise ValueError(
                f"{read.path}: {read.place(row)}, column {target!r}: {values[row]} is no class; expected "
                "whole numbers or names; for a quantity pass regression=True"
            )
    found, labels = np.unique(values, return_inverse=True)
    names = tuple(value if isinstance(value, str) else str(int(value)) for value in found)
    if len(names) == 1:
        raise ValueError(
            f"{read.path}: every target in column {target!r} is {names[0]!r}; expected 2 classes or more"
        )
    return labels.astype(np.int32), names


def _features(
    read: Columns, names: Sequence[str], categorical: Sequence[str], train: np.ndarray
) -> np.ndarray:
    """All features `[N, F]`."""
    blocks = []
    for name in names:
        cells = read.cells[name]
        if name in categorical or not numeric(cells):
            blocks.append(_one_hot(read, name, _texts(cells), train))
        else:
            blocks.append(_standardised(numbers(read, name), train)[:, None])
    return np.concatenate(blocks, axis=1)


def _standardised(values: np.ndarray, train: np.ndarray) -> np.ndarray:
    seen = values[train]
    # Equality, as the deviation of equal numbers can come out as a rounding error above zero.
    if (seen == seen[0]).all():
        return (values - seen[0]).astype(np.float32)
    return ((values - seen.mean()) / seen.std()).astype(np.float32)


def _one_hot(read: Columns, name: str, texts: np.ndarray, train: np.ndarray) -> np.ndarray:
    if not any(texts):
        raise ValueError(f"{read.path}: column {name!r} has no value in any row; name it in `drop`")
    categories = {text: number for number, text in enumerate(sorted(set(texts[train])))}
    if len(categories) > _CATEGORIES:
        raise ValueError(
            f"{read.path}: column {name!r} has {len(categories)} different texts in train; expected at most "
            f"{_CATEGORIES} categories; name it in `drop`"
        )
    number = np.array([categories.get(text, -1) for text in texts])
    return (number[:, None] == np.arange(len(categories))).astype(np.float32)


def _texts(cells: np.ndarray) -> np.ndarray:
    """A column as texts, `""` where missing."""
    if cells.dtype == object:
        return cells
    return np.array(["" if value != value else str(value) for value in cells.tolist()], object)
