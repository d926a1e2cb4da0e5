"""The columns of a table that are no features: what is to be predicted, weights, and what is kept."""

from collections.abc import Sequence

import numpy as np

from fdl.data.readers.columns import Columns
from fdl.data.readers.features import category_texts, quantities
from fdl.data.readers.table_cells import Declared, numeric

_TAKEN = ("x", "y", "weight", "sample_weight")
"""Names that columns of a batch have already."""


def targets_of(
    read: Columns, names: Sequence[str], declared: Declared, *, regression: bool
) -> tuple[np.ndarray, tuple[str, ...]]:
    """What is to be predicted, and the names of the classes."""
    if not regression and len(names) == 1:
        return _classes(read, names[0], declared)
    y = np.stack([quantities(read, name, declared) for name in names], axis=1).astype(np.float32)
    if not regression and (broken := ~np.isin(y, (0, 1))).any():
        row, column = np.argwhere(broken)[0]
        raise ValueError(
            f"{read.place(int(row))}, column {names[column]!r}: {y[row, column]:g} is neither 0 nor 1, which "
            "several targets are (tasks.multilabel); for quantities pass regression=True"
        )
    return y, ()


def _classes(read: Columns, target: str, declared: Declared) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels `[N]` and the names of the classes."""
    if target in declared.categorical or not numeric(read.cells[target], declared):
        values = category_texts(read, target, declared)
    else:
        values = quantities(read, target, declared)
        if (broken := values != np.floor(values)).any():
            row = int(np.argmax(broken))
            raise ValueError(
                f"{read.place(row)}, column {target!r}: {values[row]} is no class; expected "
                "whole numbers or names; for a quantity pass regression=True"
            )
        if len(different := np.unique(values)) > max(2, len(values) // 2):
            raise ValueError(
                f"{read.path}: column {target!r} has {len(different)} different numbers in {len(values)} "
                "rows; for a quantity pass regression=True, for classes name it in `categorical`"
            )
    found, labels = np.unique(values, return_inverse=True)
    names = tuple(value if isinstance(value, str) else str(int(value)) for value in found)
    if len(names) == 1:
        raise ValueError(
            f"{read.path}: every target in column {target!r} is {names[0]!r}; expected 2 classes or more"
        )
    return labels.astype(np.int32), names


def weights_read(read: Columns, name: str, declared: Declared) -> np.ndarray:
    """What each row counts, float32 `[N]`."""
    values = quantities(read, name, declared)
    if (values < 0).any():
        row = int(np.argmax(values < 0))
        raise ValueError(
            f"{read.place(row)}, column {name!r}: the weight is {values[row]}; expected at least 0"
        )
    return values.astype(np.float32)


def names_kept(keep: Sequence[str]) -> tuple[str, ...]:
    """The columns to keep, after a look at their names."""
    if isinstance(keep, str):
        raise ValueError(f"keep is the text {keep!r}; expected several names, as ({keep!r},)")
    for name in keep:
        if name in _TAKEN:
            raise ValueError(
                f"keep has {name!r}, which a batch has of its own; rename the column in the file"
            )
    return tuple(keep)


def kept_column(read: Columns, name: str, declared: Declared) -> np.ndarray:
    """A column that is no feature, `[N]`: its numbers, or those of its texts."""
    if name in declared.converters or (
        name not in declared.categorical and numeric(read.cells[name], declared)
    ):
        return quantities(read, name, declared).astype(np.float32)
    return np.unique(category_texts(read, name, declared), return_inverse=True)[1].astype(np.int32)
