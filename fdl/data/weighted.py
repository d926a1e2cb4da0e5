"""Training batches whose rows are drawn by weights, with replacement."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fdl.arguments import Count, checked
from fdl.data.splits import Part, Rows, row_of, size_of
from fdl.experiment import Source

_RANGE = 2**32  # a row is drawn by one uint32 word


@checked
def weighted(part: Part, weights: np.ndarray, *, batch_size: Count) -> Source:
    """Training batches of rows drawn with replacement, each row with a chance in proportion to its weight.

    Batch `step` is a function of the step and the key, as of `shuffled`; a pass is as many batches as rows
    fill, though a row may come twice in it or not at all. Chances are exact to one in 2**32.

    Args:
      part: arrays by name, `[N, ...]`; or rows on the host.
      weights: `[N]`, at least 0; as `balanced` makes them of labels.
      batch_size: B, rows in a batch.

    Returns:
      A source whose batch is a dictionary of the same names, `[B, ...]`.

    Raises:
      ValueError: weights of another number, negative or not finite, all 0, or so unequal that a row would
        never come; a batch size below 1.

    Example:
      >>> labels = np.array([0, 0, 0, 1])
      >>> source = fdl.data.weighted({"y": labels}, fdl.data.balanced(labels), batch_size=1000)
      >>> y = source.batch(source.arrays, 0, jax.random.key(0))["y"]
      >>> bool(400 < y.sum() < 600)
      True
    """
    size = size_of(part)
    rows, bounds = _bounds(weights, size)
    batches = -(-size // batch_size)
    if isinstance(part, Rows):
        return _on_host(part, rows, bounds, batch_size, batches)

    def batch(arrays: Any, step: jax.Array, key: jax.Array) -> Mapping[str, jax.Array]:
        drawn = jax.random.bits(jax.random.fold_in(key, step), (batch_size,), jnp.uint32)
        place = jnp.searchsorted(jnp.asarray(arrays["bounds"]), drawn, side="right")
        index = _taken(arrays["rows"], place)
        return jax.tree.map(lambda one: _taken(one, index), arrays["part"])

    return Source({"part": dict(part), "rows": rows, "bounds": bounds}, batch, batches)


@checked
def balanced(labels: np.ndarray) -> np.ndarray:
    """Weights by which every class is drawn as often as another: 1 over the rows of the row's class.

    Args:
      labels: integers `[N]`.

    Returns:
      float64 `[N]`; as `sampling` of `Splits`, or scaled to mean 1 as `sample_weight`.

    Example:
      >>> fdl.data.balanced(np.array([0, 0, 0, 1])).round(3).tolist()
      [0.333, 0.333, 0.333, 1.0]
    """
    _, place, count = np.unique(labels, return_inverse=True, return_counts=True)
    return 1.0 / count[place]


@checked
def reweighed(labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Weights under which labels say nothing of groups: what a row of its label and group would come as often
    as, if both were independent, over how often it comes.

    Kamiran and Calders 2012, Data Preprocessing Techniques for Classification without Discrimination, sec.
    4.3 (reweighing).

    Args:
      labels: of any values, `[N]`.
      groups: likewise.

    Returns:
      float64 `[N]`, of mean 1 where each group has rows of each label: as `sample_weight`, or as `sampling`
      of `Splits`.

    Raises:
      ValueError: other shapes.

    Example:
      >>> fdl.data.reweighed(np.array([1, 1, 0, 0]), np.array([0, 0, 0, 1])).round(3).tolist()
      [0.75, 0.75, 1.5, 0.5]
    """
    y, group = np.asarray(labels), np.asarray(groups)
    if y.shape != group.shape or y.ndim != 1:
        shapes = f"{list(y.shape)} and {list(group.shape)}"
        raise ValueError(f"labels and groups have shapes {shapes}; expected [N] of both")
    (of_label, many), (of_group, large) = (
        np.unique(one, return_inverse=True, return_counts=True)[1:] for one in (y, group)
    )
    both = np.bincount(of_label * len(large) + of_group, minlength=len(many) * len(large))
    expected = many[of_label] * large[of_group] / len(y)
    return expected / both[of_label * len(large) + of_group]


def _taken(array: Any, index: jax.Array) -> jax.Array:
    return jnp.asarray(array).at[index].get(mode="promise_in_bounds")


def _on_host(part: Rows, rows: np.ndarray, bounds: np.ndarray, batch_size: int, batches: int) -> Source:
    def fetch(step: int, words: np.ndarray, wanted: slice) -> dict[str, np.ndarray]:
        seed = np.random.SeedSequence([*np.asarray(words).ravel().tolist(), step])
        drawn = (np.random.Philox(seed).random_raw(batch_size) >> np.uint64(32)).astype(np.uint32)
        return part.take(rows[np.searchsorted(bounds, drawn[wanted], side="right")])

    shapes = jax.tree.map(lambda one: jax.ShapeDtypeStruct((batch_size, *one.shape), one.dtype), row_of(part))
    own = part.take if part.identity is None else part.identity
    return Source(shapes, lambda arrays, _, __: arrays, batches, fetch, [own, rows, bounds])


def _bounds(weights: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows that may come, int32 `[M]`, and where the share of uint32 of each but the last ends."""
    weights = np.asarray(weights, np.float64)
    if weights.shape != (size,) or not (np.isfinite(weights) & (weights >= 0)).all() or not weights.any():
        raise ValueError(
            f"the weights to draw rows by have shape {list(weights.shape)}; expected [{size}], one for each "
            "row of train, finite, at least 0, and not all 0"
        )
    rows = np.flatnonzero(weights)
    ends = np.rint(np.cumsum(weights[rows] / weights.sum()) * _RANGE)
    ends[-1] = _RANGE
    if (np.diff(ends, prepend=0) < 1).any():
        raise ValueError(
            "the weights to draw rows by are so unequal that some rows would come less than once in 2**32 "
            "draws; give these the weight 0, or the others less"
        )
    return rows.astype(np.int32), ends[:-1].astype(np.uint32)
