"""What a data set is: parts of rows by name, in memory or on the host, and how a batch is prepared."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np

from fdl.arguments import checked
from fdl.experiment import Inputs

SOON_READ = 2**26
"""Bytes of a column in a file that are read whole for a check before training: a fraction of a second."""


class Rows(NamedTuple):
    """Rows that stay on the host, read by number: larger than a device's memory, or files.

    Attributes:
      size: how many rows there are, N.
      row: shape and dtype of one row's arrays, by name.
      take: `take(index) -> {name: [n, ...]}` for integers `[n]` in `range(N)`; the same index is the
        same row, from any thread and process.
      memory: those of the columns `[N, ...]` that are in memory anyway or soon read whole, such as labels,
        for checks before training.
      where: `where(n)`, how messages call row n: its file and place there, if it has them.
      identity: what tells these rows from others, as `fdl.identity.files` of their files, or the arrays
        that they are read from; `None` for what `take` closes over.
    """

    size: int
    row: Mapping[str, jax.ShapeDtypeStruct]
    take: Callable[[np.ndarray], dict[str, np.ndarray]]
    memory: Mapping[str, np.ndarray] = MappingProxyType({})
    where: Callable[[int], str] = "row {}".format
    identity: Any = None


Part = Mapping[str, Any] | Rows
"""Rows by name: arrays `[N, ...]` in memory, or `Rows`. Instead of an array there may be a dictionary of
them, such as an `x` of several inputs, which a model then gets as such."""


class Reader(NamedTuple):
    """How new rows are read from a file or folder like the one that a data set came from.

    Attributes:
      read: `read(path) -> part`, the rows without targets, scaled and coded as train's rows are.
      of: train's own rows as they were read (the array `x`, or the identity of `Rows`): where a data set
        has others in their place, they were changed since, and new rows would not be.
    """

    read: Callable[[Any], Part]
    of: Any


class Splits(NamedTuple):
    """A data set in three parts, each a `Part`.

    Attributes:
      train: to fit parameters, and the only part that preprocessing may learn from.
      validation: to choose hyper-parameters and when to stop.
      test: to report.
      prepare: `prepare(batch) -> batch`, pure: what is done on the device to every batch of every
        part, such as scaling bytes to floats; or None.
      classes: the names of the labels 0, 1, ...; `()` where they have none.
      sampling: weights `[N]` by which train's rows are drawn with replacement (see `weighted`); each row
        comes once an epoch if None.
      reader: how new rows are read; None for what did not come from files.
    """

    train: Any  # a `Part`; so typed, one must not cast before every look at an array
    validation: Any
    test: Any
    prepare: Callable[[Any], Any] | None = None
    classes: tuple[str, ...] = ()
    sampling: np.ndarray | None = None
    reader: Reader | None = None


@checked
def select_columns(splits: Splits, *names: str) -> Splits:
    """The data set with some of its columns.

    Raises:
      ValueError: a column that a part has not.

    Example:
      >>> splits = fdl.data.Splits(*[{"x": np.zeros((4, 2)), "y": np.arange(4)}] * 3)
      >>> list(fdl.data.select_columns(splits, "x").train)
      ['x']
    """
    return splits._replace(**{name: _selected(name, part, names) for name, part in parts(splits).items()})


def _selected(title: str, part: Part, names: tuple[str, ...]) -> Part:
    for name in names:
        if name not in row_of(part):
            raise ValueError(f"{title} has no column {name!r}; it has {', '.join(row_of(part))}")
    if not isinstance(part, Rows):
        return {name: part[name] for name in names}

    def take(index: np.ndarray) -> dict[str, np.ndarray]:
        rows = part.take(index)
        return {name: rows[name] for name in names}

    memory = {name: one for name, one in part.memory.items() if name in names}
    own = part.take if part.identity is None else part.identity
    row = {name: part.row[name] for name in names}
    return part._replace(row=row, take=take, memory=memory, identity=[own, list(names)])


def parts(splits: Splits) -> dict[str, Part]:
    """The three parts by name."""
    return {"train": splits.train, "validation": splits.validation, "test": splits.test}


def row_of(part: Part) -> dict[str, Any]:
    """Shape and dtype of one row's arrays, by name."""
    if isinstance(part, Rows):
        return dict(part.row)
    return {name: jax.tree.map(_row_form, array, is_leaf=_is_list) for name, array in part.items()}


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _row_form(array: Any) -> jax.ShapeDtypeStruct:
    if not hasattr(array, "shape") or not hasattr(array, "dtype"):
        raise ValueError(
            f"a column is a {type(array).__name__}; expected an array, as numpy.array(...) makes"
        )
    return jax.ShapeDtypeStruct(array.shape[1:], array.dtype)


def prepared_row(splits: Splits) -> dict[str, Any]:
    """Shape and dtype of a batch of one row, `[1, ...]` by name, as models get it."""
    one = lambda form: jax.ShapeDtypeStruct((1, *form.shape), form.dtype)  # noqa: E731
    row = jax.tree.map(one, row_of(splits.train))
    return row if splits.prepare is None else dict(jax.eval_shape(splits.prepare, row))


def inputs_of(splits: Splits) -> Inputs:
    """What new rows of a data set are like. `read` is None where train's rows were changed after reading."""
    train, reader = splits.train, splits.reader
    if isinstance(train, Rows):
        own = train.identity
        own = [own, own[0] if isinstance(own, list) and own else None]  # `select_columns` puts it in a list
    else:
        own = [train.get("x")]
    same = reader is not None and any(one is reader.of for one in own)
    return Inputs(row_of(train), splits.prepare, splits.classes, reader.read if reader and same else None)


def size_of(part: Part) -> int:
    """How many rows a part has; `ValueError` for one without arrays."""
    if isinstance(part, Rows):
        return part.size
    if not (leaves := jax.tree.leaves(dict(part))):
        raise ValueError("arrays is empty; give at least one array [N, ...] by name")
    return len(leaves[0])


def lengths(arrays: Mapping[str, Any]) -> dict[str, int]:
    """How many rows each array has, by name; of a dictionary of arrays, as `x/image`."""
    leaves: Any = jax.tree_util.tree_leaves_with_path(dict(arrays))
    return {"/".join(str(key.key) for key in path): len(array) for path, array in leaves}


@checked
def on_host(arrays: Mapping[str, np.ndarray]) -> Rows:
    """Arrays `[N, ...]` that are not to be put on a device whole, such as memory-mapped files.

    Raises:
      ValueError: no arrays, or lengths that disagree.

    Example:
      >>> rows = fdl.data.on_host({"x": np.arange(6.0).reshape(3, 2)})
      >>> rows.take(np.array([2, 0]))["x"].tolist()
      [[4.0, 5.0], [0.0, 1.0]]
    """
    arrays = dict(arrays)
    sizes = lengths(arrays)
    if len(set(sizes.values())) != 1:
        raise ValueError(
            f"the arrays have {sizes} rows; expected at least one array, and as many rows in each"
        )
    return Rows(
        size=next(iter(sizes.values())),
        row=row_of(arrays),
        take=lambda index: jax.tree.map(lambda one: np.asarray(np.take(one, index, axis=0)), arrays),
        memory={
            name: array
            for name, array in arrays.items()
            if isinstance(array, np.ndarray)
            and (not isinstance(array, np.memmap) or array.nbytes <= SOON_READ)
        },
        identity=dict(arrays),
    )
