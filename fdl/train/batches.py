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
    sums, rows = [], []
    for part in parts:
        new, kept = _apart(part)
        sums[:] = [jax.tree.map(jnp.add, sums[0], new) if sums else new]
        rows.append(kept)
    return {**sums[0], **{name: joined_rows([part[name] for part in rows], axis=1) for name in rows[0]}}
