"""Histograms that are counted where the numbers are, so that only the counts leave the devices."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fdl.inspection.kinds import Histogram

BINS = 50


class Counts(NamedTuple):
    """Counts of numbers.

    Attributes:
      edges: float32 `[BINS + 1]`, ascending, from the least finite number to the greatest. A bin holds what
        is at least its lower edge and below its upper one; the last also what is at that. All are equal where
        all numbers are, and of no meaning where none is finite.
      counts: int32 `[BINS]`.
      nan: how many are no numbers, int32 scalar.
      above: how many are infinite, likewise.
      below: how many are minus infinity, likewise.
    """

    edges: jax.Array
    counts: jax.Array
    nan: jax.Array
    above: jax.Array
    below: jax.Array


def counts_of(histogram: Histogram) -> Counts:
    """The numbers of a histogram, counted as float32; pure and jittable."""
    values = [jnp.ravel(leaf).astype(jnp.float32) for leaf in jax.tree.leaves(histogram.values)]
    finite = [jnp.isfinite(one) for one in values]
    low = jnp.min(
        jnp.stack([jnp.min(v, where=f, initial=jnp.inf) for v, f in zip(values, finite, strict=True)])
    )
    high = jnp.max(
        jnp.stack([jnp.max(v, where=f, initial=-jnp.inf) for v, f in zip(values, finite, strict=True)])
    )
    share = jnp.linspace(0.0, 1.0, BINS + 1)
    # Not low + share * (high - low), as the difference may be too large for float32; rounding may disorder
    # edges that are neighbours.
    edges = jnp.sort(jnp.clip(low * (1 - share) + high * share, low, high).at[0].set(low).at[-1].set(high))
    # How many are below each inner edge: comparisons alone, so that every count is exact by the edges shown.
    below = sum(
        jnp.sum((v[None] < edges[1:-1, None]) & f[None], axis=1, dtype=jnp.int32)
        for v, f in zip(values, finite, strict=True)
    )
    total = sum(jnp.sum(f, dtype=jnp.int32) for f in finite)
    whole = jnp.concatenate([jnp.zeros(1, jnp.int32), below, jnp.asarray(total, jnp.int32)[None]])

    def number(which: Any) -> jax.Array:
        return jnp.asarray(sum(jnp.sum(which(v), dtype=jnp.int32) for v in values), jnp.int32)

    return Counts(edges, jnp.diff(whole), number(jnp.isnan), number(jnp.isposinf), number(jnp.isneginf))
