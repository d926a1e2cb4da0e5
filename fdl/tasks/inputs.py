"""Checks of data whose inputs x are what a model learns to give, before anything is compiled."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from fdl.data.splits import Part, Rows, Splits, parts, prepared_row, row_of, size_of
from fdl.text import named, one_line

_LOOKED_AT = 256  # rows, so that data on the host is checked at once too


def check_inputs(splits: Splits, *, low: float, high: float) -> None:
    """Raises `ValueError` unless x is float, finite and in range, as models get it.

    Of each part, the first 256 rows are looked at.

    Args:
      splits: with `"x"` `[N, ...]`.
      low: the least entry of x that is right.
      high: the largest.
    """
    for name, x in _prepared(splits).items():
        if not np.issubdtype(x.dtype, np.floating):
            raise ValueError(f"{name} x is {x.dtype}; expected floats: scale it in the splits' prepare")
        if not np.isfinite(x).all():
            raise ValueError(f"{name} x is not finite; expected numbers: clean the data")
        if x.min() < low or x.max() > high:
            raise ValueError(
                f"{name} x goes from {x.min():g} to {x.max():g}; expected {low:g} to {high:g}: "
                "scale it, or take another likelihood"
            )


def check_unit_scale(splits: Splits) -> None:
    """Raises `ValueError` unless x is as large as noise of deviation 1, by a factor of 10 at most."""
    check_inputs(splits, low=-np.inf, high=np.inf)
    size = float(np.sqrt(np.mean(np.square(_prepared(splits)["train"]))))
    if not 0.1 <= size <= 10:
        raise ValueError(
            f"train x has a root mean square of {size:g}; expected about 1 (0.1 to 10), as the noise has: "
            "standardise it, or scale it to -1 to 1"
        )


def check_outputs(apply: Callable[[jax.Array], Any], splits: Splits) -> None:
    """Raises `ValueError` unless a model gives as many numbers for a row as x has.

    Args:
      apply: `apply(x)`, x `[1, ...]` as prepared, to outputs; only its shapes are computed.
      splits: with `"x"` `[N, ...]`.
    """
    x = prepared_row(splits)["x"]
    shape = jax.eval_shape(apply, x).shape
    if shape[:1] != (1,) or np.prod(shape) != np.prod(x.shape):
        raise ValueError(
            f"the model's outputs for one row have shape {list(shape)}; expected as many numbers as x has, "
            f"{list(x.shape)}: change the model's outputs"
        )


def zero_row(splits: Splits) -> jax.Array:
    """A row of zeros `[1, ...]`: parameters depend on shapes alone, so it makes them at the least cost."""
    row = prepared_row(splits)["x"]
    return jnp.zeros(row.shape, row.dtype)


def _prepared(splits: Splits) -> dict[str, np.ndarray]:
    """The first rows of x of each part, prepared, after a check that they have one shape."""
    row, found = row_of(splits.train), {}
    if "x" not in row:
        raise ValueError(f"train has {sorted(row)}; expected x among them")
    for name, part in parts(splits).items():
        if row_of(part) != row:
            raise ValueError(f"{name} has rows {row_of(part)}; expected those of train, {row}")
        sizes = [size_of(part)] if isinstance(part, Rows) else [len(array) for array in part.values()]
        if min(sizes) != max(sizes) or not sizes[0]:
            raise ValueError(f"{name} has {sizes} rows; expected as many of each array, at least one")
        rows = _first(part)
        found[name] = np.asarray((rows if splits.prepare is None else splits.prepare(rows))["x"])
    return found


def _first(part: Part) -> dict[str, np.ndarray]:
    count = min(size_of(part), _LOOKED_AT)
    if isinstance(part, Rows):
        return part.take(np.arange(count))
    return {name: np.asarray(array[:count]) for name, array in part.items()}


def output_shapes(model: nn.Module, *inputs: Any) -> Any:
    """Shapes and types of what a model gives for some inputs when it is evaluated; nothing is computed.

    Raises:
      ValueError: a model of fdl's fails on them. What a user's own raises is left as it is: it tells where.
    """
    try:
        return jax.eval_shape(
            lambda key: model.init_with_output(key, *inputs, train=False)[0], jax.random.key(0)
        )
    except Exception as error:
        if isinstance(error, ValueError) or not type(model).__module__.startswith("fdl."):
            raise
        forms = ", ".join(str(list(one.shape)) for one in jax.tree.leaves(inputs))
        fields = {f.name: (getattr(model, f.name), f.default) for f in dataclasses.fields(model)}
        own = {name: value for name, (value, default) in fields.items() if value is not default}
        given = ", ".join(f"{name}={value!r}" for name, value in own.items() if name != "parent")
        called = one_line(f"{type(model).__name__}({given})", most=120)
        raise ValueError(f"{called} fails on inputs of shape {forms}: {named(error, most=200)}") from error


def in_memory(part: Part) -> Mapping[str, np.ndarray]:
    """The columns of a data set's part that are in memory: all of them, or those of `Rows` that are."""
    return part.memory if isinstance(part, Rows) else part
