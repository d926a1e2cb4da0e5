"""Checks of data against a model before anything is compiled."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from fdl.data import Splits


def check_counts(**counts: int) -> None:
    """Raises `ValueError` for the first of the named counts that is below 1."""
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} is {count}; expected at least 1")


def check_labels(model: nn.Module, splits: Splits) -> None:
    """Raises `ValueError` unless every label is one of the model's classes, one for each row."""
    classes = _outputs(model, splits)
    for name, split in splits._asdict().items():
        y = split["y"]
        if not np.issubdtype(y.dtype, np.integer) or y.ndim != 1:
            raise ValueError(
                f"{name} labels are {y.dtype}{list(y.shape)}; expected integers [N]: convert them first"
            )
        if y.min() < 0 or y.max() >= classes:
            raise ValueError(
                f"{name} labels go from {y.min()} to {y.max()}; expected 0 to {classes - 1}, "
                f"as the model has {classes} outputs: change the outputs or the labels"
            )


def check_targets(model: nn.Module, splits: Splits) -> None:
    """Raises `ValueError` unless every row has as many float targets as the model has outputs."""
    outputs = _outputs(model, splits)
    for name, split in splits._asdict().items():
        y = split["y"]
        if not np.issubdtype(y.dtype, np.floating):
            raise ValueError(f"{name} targets are {y.dtype}; expected floats: use y.astype(numpy.float32)")
        if y.shape[1:] != (outputs,) and (y.ndim, outputs) != (1, 1):
            raise ValueError(
                f"{name} targets have shape {list(y.shape)}; expected [N, {outputs}], "
                f"as the model has {outputs} outputs: change the outputs or the targets"
            )


def _outputs(model: nn.Module, splits: Splits) -> int:
    """How many outputs the model gives a row, after a check of the rows themselves."""
    row = splits.train["x"].shape[1:]
    for name, split in splits._asdict().items():
        x, y = split["x"], split["y"]
        if len(x) != len(y) or len(x) == 0:
            raise ValueError(
                f"{name} has {len(x)} rows of x and {len(y)} of y; expected as many, at least one"
            )
        if x.shape[1:] != row:
            raise ValueError(
                f"{name} x has rows of shape {list(x.shape[1:])}; expected {list(row)}, as in train"
            )
    x = jnp.asarray(np.zeros_like(splits.train["x"][:1]))
    init = lambda key: model.init_with_output(key, x, train=False)[0]  # noqa: E731
    shape = jax.eval_shape(init, jax.random.key(0)).shape
    if len(shape) != 2:
        raise ValueError(f"the model's outputs for one row have shape {list(shape)}; expected [1, outputs]")
    return shape[1]
