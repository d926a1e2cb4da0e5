"""Columns that must hold what a task can learn from: looked at before training, or else as they are read."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from fdl.data.splits import Part, Rows, Splits, parts, row_of

Fault = Callable[[Mapping[str, np.ndarray]], tuple[int, str] | None]
"""`fault(rows)`, arrays `[n, ...]` by name, to the place of a wrong row and what is wrong, in which `{row}`
stands for the row; or None."""


def verified(splits: Splits, columns: Sequence[str], fault: Fault) -> Splits:
    """The data set, no row of which comes into a batch before it was looked at.

    Columns in memory are looked at now, others whenever rows are read. A column that `prepare` makes
    anew is not what a model gets, and is not looked at.

    Args:
      splits: the data set.
      columns: what `fault` looks at; a part that lacks one of them is left as it is.
      fault: what is wrong with rows; it may be called from several threads.

    Raises:
      ValueError: columns in memory have a wrong row; or, when rows are taken, these have. One line names
        the part and the row (and its file, where there is one).
    """
    if not set(columns) <= _handed_on(splits):
        return splits
    looked_at = {name: _looked_at(name, part, columns, fault) for name, part in parts(splits).items()}
    return splits._replace(**looked_at)


def outside(column: str, low: float, high: float, *, what: str, why: str, fix: str) -> Fault:
    """The `Fault` of rows with an entry below `low`, above `high`, or that is not a number.

    Args:
      column: the column's name.
      low: the least that is right, or minus infinity.
      high: the largest, or infinity.
      what: the entries are, as "labels".
      why: these are the bounds.
      fix: what to do.
    """

    def fault(rows: Mapping[str, np.ndarray]) -> tuple[int, str] | None:
        values = np.asarray(rows[column])
        if not values.size or low <= values.min() <= values.max() <= high:
            return None
        wrong = ~((values >= low) & (values <= high)).reshape(len(values), -1)
        place = int(np.argmax(wrong.any(axis=1)))
        found = values.reshape(len(values), -1)[place, np.argmax(wrong[place])]
        bounds = f"{low} to {high}"
        if np.isinf([low, high]).any():
            bounds = f"at least {low}" if high == np.inf else f"at most {high}"
        return place, (
            f"{what} go from {values.min()} to {values.max()}; expected {bounds}, {why} "
            f"({{row}} has {found}): {fix}"
        )

    return fault


def _looked_at(name: str, part: Part, columns: Sequence[str], fault: Fault) -> Part:
    def look(rows: Mapping[str, np.ndarray], where: Callable[[int], str]) -> None:
        found = fault(rows)
        if found is not None:
            place, text = found
            raise ValueError(f"{name} {text.replace('{row}', where(place))}")

    if not set(columns) <= set(row_of(part)):
        return part
    memory = part.memory if isinstance(part, Rows) else part
    if set(columns) <= set(memory):
        where = part.where if isinstance(part, Rows) else "row {}".format
        look({column: memory[column] for column in columns}, where)
        return part
    assert isinstance(part, Rows)

    def take(index: np.ndarray) -> dict[str, np.ndarray]:
        rows = part.take(index)
        look(rows, lambda place: part.where(int(index[place])))
        return rows

    return part._replace(take=take)


def _handed_on(splits: Splits) -> set[str]:
    """The columns that `prepare` leaves as they are, or casts to another type."""
    row = row_of(splits.train)
    if splits.prepare is None:
        return set(row)
    one = jax.tree.map(lambda form: jax.ShapeDtypeStruct((1, *form.shape), form.dtype), row)
    traced, made = jax.make_jaxpr(splits.prepare, return_shape=True)(one)
    into: Any = jax.tree_util.tree_leaves_with_path(one)
    names = [path[0].key for path, _ in into]
    origin: dict[int, str] = {id(v): name for v, name in zip(traced.jaxpr.invars, names, strict=True)}
    for step in traced.jaxpr.eqns:
        if step.primitive.name == "convert_element_type" and id(step.invars[0]) in origin:
            origin[id(step.outvars[0])] = origin[id(step.invars[0])]
    paths: list[Any] = [path for path, _ in jax.tree_util.tree_leaves_with_path(made)]
    named = {path[0].key: out for path, out in zip(paths, traced.jaxpr.outvars, strict=True)}
    return {name for name, out in named.items() if origin.get(id(out)) == name}
