"""Checks of data against a model before anything is compiled."""

import math
import types
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from fdl import arguments
from fdl.data import Rows, Splits
from fdl.data.splits import lengths, parts, prepared_row, row_of, size_of
from fdl.data.verified import outside, verified
from fdl.tasks.inputs import output_shapes
from fdl.text import one_line


def check_argument(name: str, value: Any, declared: Any) -> None:
    """Raises `ValueError` for what no task takes: another thing than the model, data set or optimizer that it
    declares, or what its annotation forbids.

    Args:
      name: of the argument.
      value: what came.
      declared: the annotation of its parameter.
    """
    steps = all(callable(getattr(value, part, None)) for part in ("init", "update"))
    expected = None
    if declared is nn.Module and not isinstance(value, nn.Module):
        expected = "a Flax module, as models.MLP((64,), 10)"
    elif declared is Splits and not isinstance(value, Splits):
        expected = "data.Splits(train, validation, test)"
    elif declared is optax.GradientTransformation and not steps:
        expected = "a transformation of Optax, as optax.adam(1e-3)"
    if expected:
        came = one_line(repr(value), most=60)
        uncalled = isinstance(value, types.FunctionType | type)
        call = f"what it returns, by {value.__name__}(...): " if uncalled else ""
        raise ValueError(f"{name} is {came} ({type(value).__name__}); expected {call}{expected}")
    arguments.check_value(name, value, declared)


def check_labels(model: nn.Module, splits: Splits) -> Splits:
    """The data set, every label of which is one of the model's classes, one for each row (see `verified`).

    Raises:
      ValueError: labels that are not, here or, of those that are not in memory, when they are read.
    """
    classes = count_outputs(model, splits)
    for name, split in parts(splits).items():
        row = row_of(split)["y"]
        if not np.issubdtype(row.dtype, np.integer) or row.shape:
            shape = ["N", *row.shape]
            raise ValueError(
                f"{name} labels are {row.dtype}{shape}; expected integers [N]: convert them first"
            )
    why, fix = f"as the model has {classes} outputs", "change the outputs or the labels"
    return verified(splits, ("y",), outside("y", 0, classes - 1, what="labels", why=why, fix=fix))


def check_targets(model: nn.Module, splits: Splits) -> None:
    """Raises `ValueError` unless every row has as many float targets as the model has outputs."""
    outputs = count_outputs(model, splits)
    for name, split in parts(splits).items():
        y = row_of(split)["y"]
        if not np.issubdtype(y.dtype, np.floating):
            raise ValueError(f"{name} targets are {y.dtype}; expected floats: use y.astype(numpy.float32)")
        if math.prod(y.shape) != outputs:
            raise ValueError(
                f"{name} targets have shape {[size_of(split), *y.shape]}; expected [N, {outputs}], "
                f"as the model has {outputs} outputs: change the outputs or the targets"
            )


def count_outputs(model: nn.Module, splits: Splits) -> int:
    """How many outputs the model gives a row, after a check of the rows themselves; errors as above."""
    row = _shapes(row_of(splits.train)["x"])
    for name, split in parts(splits).items():
        if not isinstance(split, Rows):
            y = len(split["y"])
            for x in lengths({"x": split["x"]}).values():
                if x != y or x == 0:
                    raise ValueError(f"{name} has {x} rows of x and {y} of y; expected as many, at least one")
        shape = _shapes(row_of(split)["x"])
        if shape != row:
            raise ValueError(f"{name} x has rows of shape {shape}; expected {row}, as in train")
    x = jax.tree.map(lambda one: jnp.zeros(one.shape, one.dtype), prepared_row(splits)["x"])
    shape = output_shapes(model, x).shape
    if len(shape) != 2:
        raise ValueError(f"the model's outputs for one row have shape {list(shape)}; expected [1, outputs]")
    return shape[1]


def _shapes(row: Any) -> Any:
    """The shape of x, or, of several inputs, those by name."""
    return jax.tree.map(lambda one: list(one.shape), row)
