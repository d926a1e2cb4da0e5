"""What states say of new rows, which are prepared as those of the training were; in batches of one size, so
that one program is compiled."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from fdl import tree
from fdl.data.splits import Part, Rows, lengths, row_of, size_of
from fdl.experiment import Experiment, State
from fdl.text import hint
from fdl.train.user_errors import told

BATCH = 512
"""Rows at a time: as in an evaluation."""
LARGEST = 2**28
"""Bytes of the outputs of so many rows at most, but of one."""
Outputs = Mapping[str, np.ndarray]
"""By name `[N, ...]`."""


def rows_of_inputs(experiment: Experiment, given: Any) -> Part:
    """New rows by name, as the experiment's data has them before they are prepared.

    Args:
      experiment: whose learner predicts.
      given: the array `x` `[N, ...]`, arrays by name, or `fdl.data.Rows`.

    Raises:
      ValueError: no rows, another shape or dtype than those of the training, or unknown names.
    """
    wanted = dict(experiment.inputs.row) if experiment.inputs else None
    if isinstance(given, Rows):
        _check_rows(row_of(given), wanted)
        return given
    rows = dict(given) if isinstance(given, Mapping) else {"x": given}
    rows = jax.tree.map(np.asarray, rows)
    if wanted is not None:
        _check_rows({name: _form(one) for name, one in rows.items()}, wanted)
        rows = {name: _cast(name, one, wanted[name]) for name, one in rows.items()}
    sizes = lengths(rows)
    if len(set(sizes.values())) != 1 or not next(iter(sizes.values())):
        raise ValueError(f"the inputs have {sizes} rows; expected at least one, and as many in each")
    return rows


def _form(column: Any) -> Any:
    """Shape and dtype of a row."""
    if any(leaf.ndim < 1 for leaf in jax.tree.leaves(column)):
        raise ValueError("an input is a single number; expected an array [N, ...], also of one row")
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), column)


def _check_rows(found: Mapping[str, Any], wanted: Mapping[str, Any] | None) -> None:
    """Raises `ValueError` unless rows have the shapes of the training's."""
    if wanted is None:
        return
    for name, column in found.items():
        if name not in wanted:
            raise ValueError(f"there is no input {name!r}; {hint(name, wanted)}")
        there, ours = (tree.leaves_of(one, name=name) for one in (column, wanted[name]))
        for place in dict.fromkeys([*ours, *there]):
            a, b = (["N", *one[place].shape] if place in one else None for one in (there, ours))
            if a != b:
                raise ValueError(f"input {place} is {a}; expected {b}, as in the training")


def _cast(name: str, column: Any, wanted: Any) -> Any:
    def cast(leaf: np.ndarray, form: Any) -> np.ndarray:
        if not np.can_cast(leaf.dtype, form.dtype, "same_kind"):
            raise ValueError(
                f"input {name!r} is {leaf.dtype}; expected {form.dtype}, as in the training before it is "
                "prepared"
            )
        return leaf.astype(form.dtype, copy=False)

    return jax.tree.map(cast, column, wanted)


def in_batches(function: Callable[[State, Any], Any], state: State, rows: Part, *, axis: int = 0) -> Outputs:
    """A jitted function's outputs for all rows.

    Args:
      function: `(state, rows) -> outputs`.
      state: its first argument.
      rows: any number N of rows; the last batch is filled up by its last row.
      axis: of the outputs, along which rows go.

    Raises:
      ValueError: what is computed fails for such rows.
    """
    size = size_of(rows)
    found: list[Any] = []
    with told("the prediction"):
        batch = _batch_for(function, state, rows, size)
        for start in range(0, size, batch):
            index = np.minimum(np.arange(start, start + batch), size - 1)
            taken = rows.take(index) if isinstance(rows, Rows) else tree.take(dict(rows), index)
            outputs = jax.device_get(function(state, taken))
            there = min(batch, size - start)
            found.append(jax.tree.map(lambda one, n=there: np.take(one, range(n), axis), outputs))
    outputs = {name: np.concatenate([one[name] for one in found], axis) for name in found[0]}
    _check_numbers(outputs, rows.where if isinstance(rows, Rows) else "row {}".format, axis)
    return outputs


def _batch_for(function: Callable[[State, Any], Any], state: State, rows: Part, size: int) -> int:
    """Rows at a time: `BATCH`, and fewer where their outputs are large."""
    row = {
        name: jax.tree.map(lambda one: jax.ShapeDtypeStruct((1, *one.shape), one.dtype), form)
        for name, form in row_of(rows).items()
    }
    most = max(1, LARGEST // max(1, tree.nbytes(jax.eval_shape(function, state, row))))
    return min(BATCH, 1 << (most.bit_length() - 1), 1 << (size - 1).bit_length())


def _check_numbers(outputs: Outputs, where: Callable[[int], str], axis: int) -> None:
    """Raises `ValueError` with the first row of which something that is said is not a number."""
    for name, values in outputs.items():
        if np.issubdtype(values.dtype, np.floating) and np.isnan(values).any():
            gone = np.isnan(np.moveaxis(values, axis, 0)).reshape(values.shape[axis], -1)
            bad = np.asarray(gone.any(axis=1))
            raise ValueError(
                f"{where(int(np.argmax(bad)))}: the {name} is not a number, and so of {int(bad.sum())} of "
                f"{bad.size} inputs in all, as of those that have NaN; leave them out, or mend them"
            )
