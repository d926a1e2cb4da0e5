"""The columns of a data set that a task reads: weights of rows, and those that nobody reads."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from fdl.data import Augmentation, Splits
from fdl.data.splits import parts, row_of
from fdl.data.verified import outside, verified
from fdl.losses import is_class
from fdl.tasks.inputs import in_memory
from fdl.text import one_line

WEIGHT = "sample_weight"
"""The column of what each row counts, float `[N]`, at least 0, where rows count unequally."""


def row_weights(batch: Mapping[str, Any]) -> jax.Array | None:
    """What each row of a batch counts, `[B]`: its `sample_weight`, and 0 for padding; None where all count 1.

    Means of losses and metrics are those that `sum(weight * value) / sum(weight)` gives, over the rows of a
    batch or a split.
    """
    found = [batch[name] for name in ("weight", WEIGHT) if name in batch]
    return found[0] if len(found) == 1 else found[0] * found[1] if found else None


def checked_columns(splits: Splits, taken: Sequence[str], augment: Augmentation | None) -> Splits:
    """The data set, whose row weights are checked, after a look at its columns.

    Args:
      splits: the data set.
      taken: the columns that the task reads; labels (`"y"`) that it does not need are nothing unusual.
      augment: what is done to a training batch first, which may read others.

    Raises:
      ValueError: weights of rows that the task does not read, that are no numbers from 0, or all 0.
    """
    for name in _unread(splits, (*taken, "y"), augment):
        known = ", ".join(one for one in row_of(splits.train) if one in (*taken, "y"))
        told = f"the column {name!r} is read by nothing: the task reads {known}"
        fix = f"leave it out by data.select_columns(splits, {', '.join(map(repr, known.split(', ')))})"
        if "weight" in name.lower() or name == "mask":
            raise ValueError(f"{told}; weights of rows are called {WEIGHT!r}, where a task takes them; {fix}")
        warnings.warn(f"{told}; {fix}", stacklevel=2)
    return _checked_weights(splits) if WEIGHT in taken else splits


def _checked_weights(splits: Splits) -> Splits:
    for name, part in parts(splits).items():
        form = row_of(part).get(WEIGHT)
        if form is None:
            continue
        if form.shape or not np.issubdtype(form.dtype, np.floating):
            shape = ["N", *form.shape]
            raise ValueError(f"{name} {WEIGHT} is {form.dtype}{shape}; expected floats [N]: convert it first")
        memory = in_memory(part)
        if WEIGHT in memory and not np.any(memory[WEIGHT]):
            raise ValueError(f"{name} {WEIGHT} is 0 in every row; expected some rows that count")
    largest = float(np.finfo(np.float32).max)
    fault = outside(WEIGHT, 0, largest, what="weights", why="what rows can count", fix="change them")
    return verified(splits, (WEIGHT,), fault)


def _unread(splits: Splits, taken: Sequence[str], augment: Augmentation | None) -> list[str]:
    """The columns of train that reach none of those taken through `augment` and `prepare`."""
    row = row_of(splits.train)
    if set(row) <= set(taken):
        return []

    def made(batch: Any, key: jax.Array) -> dict[str, Any]:
        batch = batch if augment is None else augment(batch, key)
        batch = batch if splits.prepare is None else splits.prepare(batch)
        return {name: array for name, array in batch.items() if name in taken}

    pair = jax.tree.map(lambda one: jax.ShapeDtypeStruct((2, *one.shape), one.dtype), row)
    jaxpr = jax.make_jaxpr(made)(pair, jax.random.key(0)).jaxpr
    read = {id(variable) for variable in jaxpr.outvars}
    for step in reversed(jaxpr.eqns):
        if any(id(variable) in read for variable in step.outvars):
            read |= {id(variable) for variable in step.invars}
    paths = [path[0].key for path, _ in jax.tree_util.tree_leaves_with_path(pair)]
    reached = {name for name, variable in zip(paths, jaxpr.invars, strict=False) if id(variable) in read}
    return [name for name in row if name not in reached]


def class_weights(given: Any, classes: int) -> Callable[[jax.Array], jax.Array]:
    """What rows count by their labels, `weigh(labels) -> [B]`; labels are integers `[B]` or shares `[B, C]`.
    Arguments and errors as of `checked_class_weights`."""
    weights = checked_class_weights(given, classes)

    def weigh(labels: jax.Array) -> jax.Array:
        if labels.ndim == 2:
            return labels @ weights
        return jnp.where(is_class(labels, classes), weights[labels], jnp.nan)

    return weigh


def checked_class_weights(given: Any, classes: int) -> jax.Array:
    """The weight of each class, `[C]`.

    Args:
      given: the weight of each class, `[C]`; it may be traced.
      classes: C.

    Raises:
      ValueError: another number of weights, or some that are negative, not finite, or all 0.
    """
    # An array stays whole: one of a vocabulary has too many entries to take them one by one.
    whole = isinstance(given, np.ndarray | jax.Array)
    if isinstance(given, Mapping) or not (jnp.ndim(given) if whole else isinstance(given, Iterable)):
        raise ValueError(
            f"class_weight is {given!r}; expected {classes} numbers, in the order of the classes"
        )
    single: Any = given if whole else list(given)
    if len(single) != classes or (jnp.ndim(single) > 1 if whole else any(map(jnp.ndim, single))):
        raise ValueError(f"class_weight has {len(single)} entries; expected {classes} numbers, one a class")
    if not whole and any(isinstance(one, Tracer) for one in single):
        return jnp.stack([jnp.asarray(one, jnp.float32) for one in single])
    if not isinstance(single, Tracer):
        known = np.asarray(single, float)
        if not (np.isfinite(known) & (known >= 0)).all() or not known.any():
            said = one_line(str(known.tolist()), most=60)
            raise ValueError(f"class_weight is {said}; expected numbers from 0, not all 0")
    return jnp.asarray(single, jnp.float32)
