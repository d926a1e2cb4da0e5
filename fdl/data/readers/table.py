"""Tables from CSV and Parquet files as data sets: typed columns, scaled by train statistics."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fdl.arguments import checked
from fdl.data.partition import split_groups, split_rows
from fdl.data.readers.columns import Columns, check_names, joined, read_table
from fdl.data.readers.features import category_texts, features, quantities
from fdl.data.readers.new_rows import new_rows_of
from fdl.data.readers.table_cells import NA_VALUES, Declared, Missing, check_notation, missing
from fdl.data.readers.table_targets import kept_column, names_kept, targets_of, weights_read
from fdl.data.splits import Reader, Splits
from fdl.storage import Folder, path_of


class _Roles(NamedTuple):
    """Columns that are no features."""

    targets: tuple[str, ...]
    group: str | None
    weight: str | None
    keep: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        return (*self.targets, *(name for name in (self.group, self.weight) if name is not None), *self.keep)


@checked
def table(
    path: str | os.PathLike[str],
    *,
    target: str | Sequence[str],
    validation: str | os.PathLike[str] | None = None,
    test: str | os.PathLike[str] | None = None,
    categorical: Sequence[str] = (),
    dates: Mapping[str, str] | None = None,
    converters: Mapping[str, Callable[[str], Any]] | None = None,
    missing: Missing | Mapping[str, Missing] = "refuse",
    na_values: Sequence[str] = NA_VALUES,
    drop: Sequence[str] = (),
    group: str | None = None,
    weight: str | None = None,
    keep: Sequence[str] = (),
    regression: bool = False,
    separator: str | None = None,
    decimal: str = ".",
    thousands: str | None = None,
) -> Splits:
    """A table with one row an example: features x and what is to be predicted, y.

    The rows of one file are split by `split_rows`, stratified by class, or, with `group`, by
    `split_groups`. A file for test alone makes the same split's validation part of the first file's rows, and
    train of the others.

    Every column that has no other role becomes features, in the order of the file. A column is numeric if at
    least half of its cells that are not missing are numbers; then all must be. It is shifted and scaled to
    mean 0 and standard deviation 1 over train; one that is constant over train is shifted only. Texts,
    booleans and columns named in `categorical` become one feature for each text that the column has in
    train, in the order of their code points: 1.0 where the cell is that text, else 0.0. A text that train
    lacks is all zeros. Texts that seem to be no categories are refused unless they are declared: numbers in
    another notation ("1,037", "12%", "$5.00"), dates, and columns more than half of whose texts are distinct.

    Args:
      path: a `.csv` or `.tsv` file (UTF-8, first line the names), one of these compressed (`.csv.gz`), or a
        `.parquet` file; endings are in either case.
      target: the column to predict, or several, of which `y` has one column each.
      validation: a file of the same columns, for that part; `test` must be one too.
      test: a file of the same columns, for that part.
      categorical: columns whose numbers are names, such as postal codes, or texts of which most differ.
        The target may be one.
      dates: how dates are written, by column, as `{"day": "%d.%m.%Y"}` (`strftime`'s codes), or
        `"ISO8601"`, which the dates of Parquet files are. Each becomes the days since 1970 (UTC), scaled as
        numbers are, then sine and cosine of the place in the year and in the week, and in the day where
        train has times that are not midnight.
      converters: functions from a cell to a float (NaN where it is missing), by column, as
        `{"share": lambda cell: float(cell.rstrip("%")) / 100}`.
      missing: what is done about missing cells, for all columns or by column: "refuse"; "drop" leaves the
        row out, before rows are split; "impute" puts train's mean, of dates the mean day and zeros, and,
        where train has such cells, adds a feature that is 1.0 where one is missing, else 0.0. A missing
        category is one of its own, `""`. A missing target can only be dropped.
      na_values: the texts, in any case, that mean that a cell is missing.
      drop: columns to leave out, such as row identifiers.
      group: a column of names, such as patients, all rows of one of which are in the same part; no feature.
      weight: a column of each row's weight, at least 0; no feature, see `fdl.tasks.columns`.
      keep: columns that are no features but stay beside x, such as a group of people that `fdl check --group`
        is to tell apart: numbers as they are, float32 `[N]`; of texts, booleans and columns named in
        `categorical` int32 `[N]`, numbered over all rows in the order of their code points.
      regression: the target is a quantity and not a class.
      separator: what stands between cells, as ";"; a comma, or a tab in `.tsv`, if None.
      decimal: what stands before decimals, "." or ",".
      thousands: what stands between groups of three digits, as ","; nothing if None.

    Returns:
      Parts with `x`, float32 `[N, F]`; `y`: for a class int32 `[N]`, numbered in the order of
      the values (`classes` has their names), for quantities float32 `[N, K]`, not scaled, for several targets
      without `regression` float32 `[N, K]` of 0 and 1; with `weight` also `sample_weight`, float32 `[N]`; and
      what `keep` names.

    Raises:
      OSError: a file cannot be read.
      ValueError: a file that is malformed, cells that are missing or not of their column's type (it
        names the line and the column), columns that are not there, that seem to be something else than they
        would become, or that have two roles, a target that is one class only, a class of a given file that
        train's lacks.

    Example:
      >>> rows = "150,red,apple\\n120,yellow,banana\\n" * 5
      >>> _ = pathlib.Path("fruit.csv").write_text("grams,colour,kind\\n" + rows)
      >>> splits = fdl.data.table("fruit.csv", target="kind")
      >>> splits.train["x"].shape, splits.classes
      ((6, 3), ('apple', 'banana'))
    """
    check_notation(decimal, thousands, na_values)
    targets = (target,) if isinstance(target, str) else tuple(target)
    roles = _Roles(targets, group, weight, names_kept(keep))
    known = frozenset(value.casefold() for value in na_values)
    declared = Declared(categorical, dates or {}, converters or {}, missing, known, decimal, thousands)
    read, origin = _read(path_of(path), validation, test, separator=separator, drop=drop)
    _check_roles(read, roles, declared, regression=regression)
    read, origin = _without_missing(read, origin, roles, declared)
    y, classes = targets_of(read, targets, declared, regression=regression)
    groups = None if group is None else category_texts(read, group, declared._replace(categorical=[group]))
    rows = _rows(read, origin, y, groups)
    names = [name for name in read.cells if name not in roles.all]
    made = [features(read, name, declared, rows[0]) for name in names]
    arrays = {"x": np.concatenate([x for _, x in made], axis=1), "y": y}
    if weight is not None:
        arrays["sample_weight"] = weights_read(read, weight, declared)
    arrays |= {name: kept_column(read, name, declared) for name in roles.keep}
    train, held_out, tested = ({name: array[part] for name, array in arrays.items()} for part in rows)
    given = len(set(origin.tolist())) > 1
    if given and classes and (unseen := sorted(set(range(len(classes))) - set(train["y"].tolist()))):
        raise ValueError(
            f"{path}: class {classes[unseen[0]]!r} of column {targets[0]!r} is in no row of train; expected "
            "each class there: drop its rows, or give more of them"
        )

    read_new = new_rows_of([feature for feature, _ in made], declared, separator)
    return Splits(train, held_out, tested, classes=classes, reader=Reader(read_new, train["x"]))


def _read(
    path: Folder,
    validation: str | os.PathLike[str] | None,
    test: str | os.PathLike[str] | None,
    *,
    separator: str | None,
    drop: Sequence[str],
) -> tuple[Columns, np.ndarray]:
    """All rows, and the part of each, `[N]`: 0 for the first file, 1 for validation's and 2 for test's."""
    if isinstance(drop, str):
        raise ValueError(f"drop is the text {drop!r}; expected several names, as ({drop!r},)")
    if validation is not None and test is None:
        raise ValueError("there is a file for validation but none for test; give that too, or only test's")
    paths = {0: path, 1: validation, 2: test}
    tables = {
        part: read_table(path_of(one), separator=separator, drop=drop) for part, one in paths.items() if one
    }
    for one in tables.values():
        if one.size < (least := 3 if one is tables[0] and len(tables) < 3 else 1):
            raise ValueError(
                f"{one.path} has {one.size} rows; expected at least {least}, to have some in each part"
            )
    return joined([*tables.values()]), np.repeat([*tables], [one.size for one in tables.values()])


def _check_roles(read: Columns, roles: _Roles, declared: Declared, *, regression: bool) -> None:
    path = read.path
    check_names(path, roles.all, read.cells)
    if not roles.targets or len(set(roles.all)) < len(roles.all):
        raise ValueError(
            f"{path}: the targets, group, weight and keep are {roles.all}; expected different columns"
        )
    names = [name for name in read.cells if name not in roles.all]
    if not names:
        raise ValueError(f"{path} has no column but {', '.join(roles.all)}; expected at least one feature")
    if isinstance(declared.categorical, str):
        raise ValueError(f"categorical is the text {declared.categorical!r}; expected several names")
    classes = () if regression or len(roles.targets) > 1 else roles.targets
    check_names(path, declared.categorical, [*names, *classes, *roles.keep])
    check_names(path, declared.dates, names)
    quantities = roles.targets if regression else ()
    numbers = [*names, *quantities, *roles.keep, *filter(None, [roles.weight])]
    check_names(path, declared.converters, numbers)
    about = {"all columns": declared.missing} if isinstance(declared.missing, str) else declared.missing
    check_names(path, () if isinstance(declared.missing, str) else about, read.cells)
    for name, done in about.items():
        if done not in ("refuse", "impute", "drop"):
            raise ValueError(f"missing is {done!r} for {name}; expected 'refuse', 'impute' or 'drop'")
    for name in read.cells:
        ways = [way for way in ("categorical", "dates", "converters") if name in getattr(declared, way)]
        if len(ways) > 1:
            raise ValueError(
                f"{path}: column {name!r} is declared in {' and '.join(ways)}; expected one of them"
            )


def _without_missing(
    read: Columns, parts: np.ndarray, roles: _Roles, declared: Declared
) -> tuple[Columns, np.ndarray]:
    """The rows that stay, and their parts, after a check of columns that nothing can be put into."""
    keep = np.ones(read.size, bool)
    for name, cells in read.cells.items():
        gone, done = missing(cells, declared), declared.about_missing(name)
        if name in declared.converters:
            gone = np.isnan(quantities(read, name, declared))
        if done == "drop":
            keep &= ~gone
        elif name in roles.all and gone.any():
            what = (
                "the target"
                if name in roles.targets
                else "the group"
                if name == roles.group
                else "the weight"
                if name == roles.weight
                else "what is kept"
            )
            raise ValueError(
                f"{read.place(int(np.argmax(gone)))}, column {name!r}: {what} is missing; fill it in, leave "
                f"such rows out by missing={{{name!r}: 'drop'}}, or, if it is a name, change `na_values`"
            )
    if keep.all():
        return read, parts
    kept = read.taken(np.flatnonzero(keep))
    if kept.size < 3 or set(parts[keep]) != set(parts):
        raise ValueError(
            f"{read.path}: {kept.size} of {read.size} rows have no cell missing; expected some in each part: "
            "let `missing` be 'impute', or drop the columns that are mostly empty"
        )
    return kept, parts[keep]


def _rows(
    read: Columns, parts: np.ndarray, y: np.ndarray, groups: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The row numbers of train, validation and test."""
    if groups is not None:
        for part in (1, 2):
            if shared := sorted(set(groups[parts == part]) & set(groups[parts != part])):
                raise ValueError(f"{read.path}: the group {shared[0]!r} is in more than one of the files")
    if 1 in parts:
        return np.flatnonzero(parts == 0), np.flatnonzero(parts == 1), np.flatnonzero(parts == 2)
    own = np.flatnonzero(parts == 0)
    labels = y[own] if y.ndim == 1 else None
    split = split_rows(labels, len(own)) if groups is None else split_groups(groups[own])
    first, second, third = (own[part] for part in split)
    if 2 not in parts:
        return first, second, third
    return np.sort(np.concatenate([first, third])), second, np.flatnonzero(parts == 2)
