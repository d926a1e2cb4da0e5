"""Records on disk, read at random: ArrayRecord files and Hugging Face data sets."""

import os
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike

from fdl import copies, identity
from fdl.arguments import checked
from fdl.data.readers.opened_files import opened
from fdl.data.splits import SOON_READ, Rows
from fdl.storage import Folder, path_of
from fdl.text import message_of, named

_OPENERS = 16  # threads: opening waits for the disk or the network
_NARROW = {"int64": "int32", "uint64": "int32", "float64": "float32"}


@checked
def array_record(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    parse: Callable[[bytes], Mapping[str, ArrayLike]],
) -> Rows:
    """The records of ArrayRecord files, one file after another, through Grain's random access.

    Files written with `group_size:1` are read fastest.

    Args:
      paths: one file, or several in a fixed order.
      parse: `parse(record) -> {name: array}`, pure, callable from any thread, and with the same
        names, shapes and dtypes for every record.

    Returns:
      Rows that `parse` made, numbered through all files.

    Raises:
      OSError: a file cannot be read.
      ValueError: a file is not a whole ArrayRecord file, there are no records, or the extra `stream`
        is missing; when rows are taken: a damaged record, or one that `parse` fails on or makes a
        row of another form than of the first (both name the file and the record).

    Example:
      >>> parse = lambda record: {"x": np.frombuffer(record, np.float32)}
      >>> rows = fdl.data.array_record("train.array_record", parse)  # doctest: +SKIP
    """
    names = [path_of(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
    with ThreadPoolExecutor(_OPENERS) as pool:
        files = list(pool.map(copies.local, names))
        sources = list(pool.map(_open, names, files))
    ends = list(accumulate(map(len, sources)))
    if not ends or ends[-1] == 0:
        raise ValueError(f"there are no records in {[str(name) for name in names]}; expected at least one")

    def place(number: int) -> tuple[int, int]:
        file = bisect_right(ends, number)
        return file, number - (ends[file - 1] if file else 0)

    def where(number: int) -> str:
        file, record = place(number)
        return f"{names[file]}: record {record}"

    def read(number: int) -> dict[str, np.ndarray]:
        file, record = place(number)
        return _parsed(where(number), sources[file], record, parse)

    row = _forms(read(0))

    def take(index: np.ndarray) -> dict[str, np.ndarray]:
        taken = {name: np.empty((len(index), *form.shape), form.dtype) for name, form in row.items()}
        for at, number in enumerate(index.tolist()):
            made = read(number)
            if (forms := _forms(made)) != row:
                raise ValueError(
                    f"{where(number)} is parsed to {_listed(forms)}; expected {_listed(row)}, as record 0"
                )
            for name, array in made.items():
                taken[name][at] = array
        return taken

    return Rows(ends[-1], row, take, where=where, identity=[identity.files(files), parse])


@checked
def hugging_face(dataset: Any, *, columns: Mapping[str, str] | None = None) -> Rows:
    """The rows of a Hugging Face data set that is loaded already: `load_dataset(..., split="train")`.

    Numbers of 64 bits become int32 and float32, which are JAX's own. A missing float is NaN. Columns of one
    integer a row, such as labels, are read whole at once, for checks before training.

    Args:
      dataset: a `datasets.Dataset`.
      columns: the data set's columns by the names that they get, as `{"x": "image", "y": "label"}`;
        all under their own names if None.

    Raises:
      ValueError: another type of object (such as the dictionary of all splits), no rows, a column
        that is not there or not of numbers, or the extra `stream` is missing; when rows are taken:
        one whose shape is not that of row 0, a missing integer, or one beyond int32.

    Example:
      >>> import datasets  # doctest: +SKIP
      >>> rows = fdl.data.hugging_face(datasets.Dataset.from_dict({"x": [[1.0, 2.0]]}))  # doctest: +SKIP
      >>> rows.row["x"].shape  # doctest: +SKIP
      (2,)
    """
    _check_dataset(dataset)
    columns = {name: name for name in dataset.column_names} if columns is None else columns
    for column in columns.values():
        if column not in dataset.column_names:
            raise ValueError(f"the data set has no column {column!r}; it has {dataset.column_names}")
    formatted = dataset.with_format("numpy", columns=list(dict.fromkeys(columns.values())))
    first = formatted[[0]]
    row = {
        name: _form(column, first[column], _stored(dataset.features[column]))
        for name, column in columns.items()
    }

    def take(index: np.ndarray) -> dict[str, np.ndarray]:
        numbers = index.tolist()
        taken = formatted[numbers]
        for name, column in columns.items():
            if numbers and not _fits(taken[column], row[name]):
                raise ValueError(_misfit(formatted, column, numbers, row[name]))
        return {name: _cast(column, taken[column], row[name], numbers) for name, column in columns.items()}

    memory = {name: _whole(formatted, column, row[name]) for name, column in columns.items()}
    known = {name: one for name, one in memory.items() if one is not None}
    return Rows(len(dataset), row, take, known, identity=[dataset, dict(columns)])


def _whole(formatted: Any, column: str, form: jax.ShapeDtypeStruct) -> np.ndarray | None:
    """A column of one integer a row, read whole if that takes no time and all of it is of the form."""
    if form.shape or form.dtype.kind not in "iu" or len(formatted) * 8 > SOON_READ:
        return None
    values = formatted.with_format("numpy", columns=[column])[:][column]
    whole = _fits(values, form) and (values == values.astype(form.dtype)).all()
    return values.astype(form.dtype) if whole else None


def _open(name: Folder, file: Path) -> Any:
    try:
        from grain.sources import ArrayRecordDataSource
    except ImportError:
        raise ValueError("ArrayRecord files need the extra 'stream': pip install fdl[stream]") from None
    with opened(file):  # an OSError that names the file; the library's errors do not say what is wrong
        pass
    try:
        return ArrayRecordDataSource(str(file))
    except RuntimeError as error:
        reason = message_of(error)
        raise ValueError(
            f"{name} is not a whole ArrayRecord file ({reason}); write or fetch it again"
        ) from None


def _parsed(
    where: str, source: Any, record: int, parse: Callable[[bytes], Mapping[str, ArrayLike]]
) -> dict[str, np.ndarray]:
    try:
        return {name: np.asarray(value) for name, value in parse(source[record]).items()}
    except Exception as error:  # whatever the caller's function raises
        raise ValueError(f"{where} cannot be read ({named(error)})") from error


def _forms(arrays: Mapping[str, np.ndarray]) -> dict[str, jax.ShapeDtypeStruct]:
    return {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in arrays.items()}


def _listed(row: Mapping[str, jax.ShapeDtypeStruct]) -> str:
    return ", ".join(f"{name!r} {form.dtype} {list(form.shape)}" for name, form in row.items())


def _check_dataset(dataset: Any) -> None:
    try:
        import datasets
    except ImportError:
        raise ValueError("Hugging Face data sets need the extra 'stream': pip install fdl[stream]") from None
    if not isinstance(dataset, datasets.Dataset):
        raise ValueError(
            f"the data set is a {type(dataset).__name__}; expected a datasets.Dataset, as "
            "load_dataset(..., split='train') gives"
        )
    if not len(dataset):
        raise ValueError("the data set has no rows; expected at least one")


def _stored(feature: Any) -> str:
    """The dtype that a column's numbers have in the file, or `""` if they have none."""
    while hasattr(feature, "feature"):
        feature = feature.feature
    dtype = getattr(feature, "dtype", "")
    return dtype if hasattr(np, dtype) else ""


def _form(column: str, first: np.ndarray, stored: str) -> jax.ShapeDtypeStruct:
    """Shape and dtype of a row, from row 0 as `[1, ...]` and the dtype in the file."""
    dtype = np.dtype(stored or first.dtype)
    form = jax.ShapeDtypeStruct(first.shape[1:], np.dtype(_NARROW.get(dtype.name, dtype)))
    if first.dtype.kind not in "biuf" or not _fits(first, form):
        raise ValueError(
            f"row 0 of column {column!r} is {_shown(first)}; expected numbers of a fixed shape, none "
            "missing; leave the column out by `columns`, or map it to numbers first"
        )
    return form


def _fits(values: np.ndarray, form: jax.ShapeDtypeStruct) -> bool:
    # A missing integer makes the whole column floats, a missing Boolean or a ragged row makes it objects.
    kinds = ("iu" if dtype.kind in "iu" else dtype.kind for dtype in (values.dtype, form.dtype))
    return values.shape[1:] == form.shape and len(set(kinds)) == 1


def _misfit(formatted: Any, column: str, numbers: Sequence[int], form: jax.ShapeDtypeStruct) -> str:
    """What is wrong with the first row, of those taken together, that is not of the form."""
    singly = ((number, formatted[[number]][column]) for number in numbers)
    number, value = next(pair for pair in singly if not _fits(pair[1], form))
    return (
        f"row {number} of column {column!r} is {_shown(value)}; expected {form.dtype} {list(form.shape)} as "
        "in row 0, and none missing; pad, fill or filter it first"
    )


def _shown(values: np.ndarray) -> str:
    return f"{values.dtype} {list(values.shape[1:])}"


def _cast(column: str, values: np.ndarray, form: jax.ShapeDtypeStruct, numbers: Sequence[int]) -> np.ndarray:
    if form.dtype == np.int32 and values.size:
        beyond = (values != values.astype(np.int32)).reshape(len(numbers), -1).any(axis=1)
        if beyond.any():
            number = numbers[int(np.argmax(beyond))]
            raise ValueError(f"row {number} of column {column!r} has an integer beyond int32; map it first")
    return values.astype(form.dtype).reshape(len(numbers), *form.shape)
