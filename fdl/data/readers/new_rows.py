"""New rows of a table, without targets, as the features that its training rows are."""

import os
from collections.abc import Callable, Sequence

import numpy as np

from fdl.data.readers.columns import Columns, check_names, joined, read_table
from fdl.data.readers.features import features
from fdl.data.readers.table_cells import Declared
from fdl.storage import path_of


def new_features(
    known: Callable[[], Columns],
    names: Sequence[str],
    declared: Declared,
    train: np.ndarray,
    made: np.ndarray,
    separator: str | None,
    path: str | os.PathLike[str],
) -> dict[str, np.ndarray]:
    """The features of a file's rows, scaled and coded by what train holds.

    Both files are read as one table, so that there is one rule for both; that train's features come out as
    they did is checked.

    Args:
      known: `known()` reads the rows that there were, with all their columns.
      names: the columns that are features; others of the new file, such as the target, are left out.
      declared: how columns are read.
      train: the numbers of train's rows.
      made: train's features `[n, F]`.
      separator: what stands between cells, where the new file is not one of Parquet.
      path: the new file.

    Returns:
      `x`, float32 `[N, F]`.

    Raises:
      OSError: a file cannot be read.
      ValueError: a column is not there, a cell is missing or not of its column's type, or what the training
        read has changed, or would be read otherwise beside the new rows.
    """
    place = path_of(path)
    parquet = place.name.lower().endswith(".parquet")
    new, old = read_table(place, separator=None if parquet else separator), known()
    check_names(new.path, names, new.cells)
    if not new.size:
        raise ValueError(f"{new.path} has no rows; expected at least one")
    ours = [one._replace(cells={name: one.cells[name] for name in names}) for one in (old, new)]
    both = joined(ours)
    if train.max() < old.size:
        x = np.concatenate([features(both, name, declared, train) for name in names], axis=1)
        if x.shape[1] == made.shape[1] and np.array_equal(x[train], made):
            return {"x": x[old.size :]}
    raise ValueError(
        f"{new.path}: beside its rows the training's come out otherwise, as {old.path} changed, or as a "
        "column of numbers where most new cells are none becomes one of texts; mend the cells"
    )
