"""A batch's loss and its gradient, in one pass or in several over parts of the batch that add up to it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from fdl import shards
from fdl.counts import check_counts
from fdl.experiment import Batch
from fdl.metrics import Mean

Variables = Mapping[str, Any]
"""A model's collections by name: `"params"`, and others such as `"batch_stats"`."""
Loss = Callable[[Variables, Batch, jax.Array], tuple[Mean, tuple[Mapping[str, Mean], Mapping[str, Any]]]]
"""`loss(variables, batch, key) -> (loss, (metrics, model_state))`: what is minimised over
`variables["params"]` and what is reported, each the sum over the batch's rows and that of their weights, as
of `fdl.metrics.mean`, so that parts of a batch add up to it; the other collections after the pass. Weights
must not depend on the parameters. A scalar v that is no mean over rows is `Mean(v * weight, weight)`."""


class Passed(NamedTuple):
    """What a batch gives at some parameters.

    Attributes:
      value: the batch's mean loss, a scalar; 0 where nothing in it counts.
      counts: 1.0 or, where nothing in the batch counts, 0.0.
      gradient: its gradient by the parameters.
      metrics: the batch's means by name, of weight 1, or 0 where nothing counts, so that the batches of a
        run are each as important as another.
      model_state: the model's other collections after the pass.
    """

    value: jax.Array
    counts: jax.Array
    gradient: Any
    metrics: Mapping[str, Mean]
    model_state: Any


def passed(
    loss: Loss, params: Any, model_state: Any, batch: Batch, key: jax.Array, *, accumulate: int = 1
) -> Passed:
    """The loss of a whole batch and its gradient, also where this device has only some of its rows.

    With `accumulate` above 1 the batch is passed in so many micro-batches, one after another, so that the
    memory of one is enough, and their sums are divided by the sum of their weights: the same loss and
    gradient, but for rounding, wherever a row's loss depends on that row alone. Each micro-batch has a key
    of its own, of which dropout draws, so it draws other numbers than in one pass. Batch norm, balance
    losses and other means over rows inside a model see micro-batches, and collections such as
    `"batch_stats"` move once with each.

    Args:
      loss: see `Loss`.
      params: the model's parameters.
      model_state: its other collections.
      batch: leaves `[B, ...]`; micro-batch i has the rows i, i + k, i + 2 k, ...
      key: for what is drawn; of one micro-batch the key itself.
      accumulate: k, the number of micro-batches.

    Raises:
      ValueError: rows, on one device, that do not divide into the micro-batches.
    """

    def total(params: Any, model_state: Any, batch: Batch, key: jax.Array) -> tuple[jax.Array, Any]:
        mean, (metrics, after) = loss({"params": params, **model_state}, batch, key)
        return mean.total, (mean.weight, dict(metrics), dict(after))

    def one(model_state: Any, batch: Batch, key: jax.Array) -> tuple[tuple[Any, Mean, Any], Any]:
        gradient = jax.value_and_grad(total, has_aux=True)
        (value, (weight, metrics, after)), grads = gradient(params, model_state, batch, key)
        return (grads, Mean(value, weight), metrics), after

    if accumulate == 1:
        sums, model_state = one(dict(model_state), batch, key)
    else:
        parts = (micro_batches(batch, accumulate), jax.random.split(key, accumulate))
        sums, model_state = added_up(one, dict(model_state), parts)
    grads, mean, metrics = shards.total(sums)
    divided = lambda grad, leaf: (grad / _divisor(mean.weight)).astype(leaf.dtype)  # noqa: E731
    whole, means = of_batch(mean), {name: of_batch(part) for name, part in metrics.items()}
    return Passed(*whole, jax.tree.map(divided, grads, params), means, model_state)


def micro_batches(batch: Batch, count: int) -> Batch:
    """The parts of a batch `[B, ...]`, leaves `[count, B / count, ...]`; part i has the rows i::count.

    Rows on many devices stay there: a device's rows are neighbours, and every part has some of each.

    Raises:
      ValueError: rows that do not divide into the parts.
    """
    rows = {leaf.shape[0] for leaf in jax.tree.leaves(batch)}
    if any(size % count for size in rows):
        raise ValueError(
            f"a step got {sorted(rows)[0]} rows, on one device; expected a multiple of accumulate = {count}: "
            "change the batch size, accumulate or the mesh"
        )
    return jax.tree.map(lambda a: jnp.moveaxis(a.reshape(-1, count, *a.shape[1:]), 1, 0), batch)


def check_accumulate(batch_size: int, accumulate: int) -> None:
    """Raises `ValueError` unless batches divide into the micro-batches."""
    check_counts(batch_size=batch_size, accumulate=accumulate)
    if batch_size % accumulate:
        raise ValueError(f"accumulate is {accumulate}; expected a divisor of batch_size = {batch_size}")


def check_whole(accumulate: int, reason: str) -> None:
    """Raises `ValueError`, with the reason, where a loss of whole batches is to be accumulated."""
    if accumulate != 1:
        raise ValueError(
            f"accumulate is {accumulate}; expected 1: {reason}, so micro-batches would make another loss"
        )


def added_up(one: Callable[..., Any], model_state: Any, parts: Any) -> tuple[Any, Any]:
    """The sums of what all parts give, in float32 at least, and the collections after the last."""
    first = jax.tree.map(lambda leaf: leaf[0], parts)
    shapes = jax.eval_shape(one, model_state, *first)[0]
    wide = lambda leaf: jnp.promote_types(leaf.dtype, jnp.float32)  # noqa: E731
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, wide(leaf)), shapes)

    def add(carry: tuple[Any, Any], part: Any) -> tuple[tuple[Any, Any], None]:
        sums, before = carry
        new, after = one(before, *part)
        same = jax.tree.map(lambda leaf, old: leaf.astype(old.dtype), after, before)
        return (jax.tree.map(jnp.add, sums, new), same), None

    return lax.scan(add, (zeros, model_state), parts)[0]


def of_batch(mean: Mean) -> Mean:
    """The mean with weight 1; with 0, and the value 0, where nothing counted."""
    return Mean(mean.total / _divisor(mean.weight), (mean.weight > 0).astype(jnp.float32))


def _divisor(weight: jax.Array) -> jax.Array:
    return jnp.where(weight > 0, weight, 1)
