"""The metrics of a split from those of its batches."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from fdl.experiment import Metrics
from fdl.metrics import AllRows, joined_rows


def over(measured: Callable[[jax.Array], Metrics], batches: int) -> Metrics:
    """The metrics of a split of so many batches, in one loop; `measured(index)` is those of a batch."""

    def add(sums: Metrics, index: jax.Array) -> tuple[Metrics, Metrics]:
        new, rows = _apart(measured(index))
        return jax.tree.map(jnp.add, sums, new), rows

    first = measured(jnp.int32(0))
    if batches == 1:
        return first
    sums, rows = lax.scan(add, _apart(first)[0], jnp.arange(1, batches, dtype=jnp.int32))
    others = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), rows)
    return {**sums, **{name: joined_rows([first[name], other]) for name, other in others.items()}}


def _apart(metrics: Metrics) -> tuple[dict[str, Any], dict[str, AllRows]]:
    """Those that are sums, and those that keep their rows."""
    rows = {name: metric for name, metric in metrics.items() if isinstance(metric, AllRows)}
    return {name: metric for name, metric in metrics.items() if name not in rows}, rows


def joined_parts(parts: Iterable[Metrics]) -> Metrics:
    """The metrics of a split from those of its batches, of all members: leaves `[members, ...]`."""
    sums: dict[str, Any] | None = None
    rows: dict[str, list[AllRows]] = {}
    for part in parts:  # each as it comes, so that no two batches are kept but for their rows
        new, kept = _apart(part)
        sums = new if sums is None else jax.tree.map(jnp.add, sums, new)
        for name, metric in kept.items():
            rows.setdefault(name, []).append(metric)
    return {**(sums or {}), **{name: joined_rows(metrics, axis=1) for name, metrics in rows.items()}}
