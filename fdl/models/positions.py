"""How a transformer knows the order of its inputs: functions on inputs, on heads, and on scores."""

import math
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from fdl.arguments import Count, NotNegative, Positive, checked
from fdl.models.axes import with_axes


class Positions(NamedTuple):
    """Three functions, called inside a compact module; by default, none of them does anything.

    Positions are int32 `[T]`, one for each place of a text.

    Attributes:
      embed: `embed(x, positions)`, inputs `[B, T, E]` to the same, once before the first layer.
      rotate: `rotate(heads, positions)`, queries or keys `[B, T, H, D]` to the same, in each layer.
      bias: `bias(queries, keys)`, positions `[T]` and `[S]` to what is added to the scores of every
        layer, `[H, T, S]`; or to None.
      limit: positions are below this; None: any.

    Example:
      >>> from fdl import models
      >>> models.rotary()._fields
      ('embed', 'rotate', 'bias', 'limit')
    """

    embed: Callable[[jax.Array, jax.Array], jax.Array] = lambda x, positions: x
    rotate: Callable[[jax.Array, jax.Array], jax.Array] = lambda heads, positions: heads
    bias: Callable[[jax.Array, jax.Array], jax.Array | None] = lambda queries, keys: None
    limit: Count | None = None


Rates = Callable[[np.ndarray], np.ndarray]
"""Angles a position of the pairs of a head's entries, float64 `[D / 2]`, to others."""


@checked
def learned(limit: Count, *, initializer: nn.initializers.Initializer | None = None) -> Positions:
    """A vector for each of `limit` positions, added to the inputs (Devlin et al. 2019, BERT, sec. 3).

    Args:
      limit: how many positions there are.
      initializer: normal with deviation 0.02 if None.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> positions = models.learned(limit=512)
      >>> model = models.gpt2(vocabulary=256, width=64, layers=2, heads=4, positions=positions)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 6), int))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 6, 256)
    """
    initializer = initializer or nn.initializers.normal(0.02)

    def embed(x: jax.Array, positions: jax.Array) -> jax.Array:
        table = nn.Embed(
            limit, x.shape[-1], embedding_init=with_axes(initializer, None, "embed"), name="positions"
        )
        return x + table(positions)

    return Positions(embed=embed, limit=limit)


@checked
def sinusoidal(*, base: Positive[float] = 10000.0) -> Positions:
    """Waves of geometrically growing lengths, added to the inputs.

    Vaswani et al. 2017, Attention Is All You Need, sec. 3.5: entry 2i is sin(p / base^(2i / E)), entry
    2i + 1 the cosine of the same angle. The width E must be even.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> positions = models.sinusoidal()
      >>> model = models.gpt2(vocabulary=256, width=64, layers=2, heads=4, positions=positions)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 6), int))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 6, 256)
    """

    def embed(x: jax.Array, positions: jax.Array) -> jax.Array:
        angles = _angles(positions, x.shape[-1], base)
        waves = jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1).reshape(len(positions), -1)
        return x + waves.astype(x.dtype)

    return Positions(embed=embed)


@checked
def rotary(*, base: Positive[float] = 10000.0, rates: Rates = lambda rates: rates) -> Positions:
    """Queries and keys turned by angles that grow with the position, so that scores see distances.

    Su et al. 2021, RoFormer, sec. 3.2: at position p, the pair of entries i and i + D / 2 (the paper's
    are 2i and 2i + 1; this order is Llama's) is turned by p / base^(2i / D). The width D of a head must
    be even. `rates` changes these angles a position, `base^(-2i / D)`, as `slower` does.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> positions = models.rotary(base=10000.0)
      >>> model = models.gpt2(vocabulary=256, width=64, layers=2, heads=4, positions=positions)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 6), int))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 6, 256)
    """

    def rotate(heads: jax.Array, positions: jax.Array) -> jax.Array:
        angles = _angles(positions, heads.shape[-1], base, rates)[:, None, :]
        sin, cos = jnp.sin(angles).astype(heads.dtype), jnp.cos(angles).astype(heads.dtype)
        a, b = jnp.split(heads, 2, axis=-1)
        return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)

    return Positions(rotate=rotate)


@checked
def slower(
    factor: Positive[float], length: Count, *, low: Positive[float] = 1.0, high: Positive[float] = 4.0
) -> Rates:
    """Rotations for texts longer than those trained on: the slow pairs turn slower still.

    Llama 3.1's (Grattafiori et al. 2024, The Llama 3 Herd of Models; the formula is in the authors' code):
    a pair that turns `high` times or more within `length` keeps its rate, one that turns `low` times or less
    has it divided by `factor`, and between them the weights of both are linear in the number of turns.

    Args:
      factor: by which the slowest rates are divided.
      length: of the texts first trained on.
      low: turns of a pair.
      high: turns of a pair.

    Raises:
      ValueError: `low` is not below `high`.

    Example:
      >>> from fdl import models
      >>> positions = models.rotary(rates=models.slower(8.0, 8192))  # Llama 3.1's
      >>> model = models.llama(vocabulary=256, width=64, layers=2, heads=4, positions=positions)
      >>> model.width
      64
    """
    if not low < high:
        raise ValueError(f"low is {low} and high {high}; expected low below high")

    def changed(rates: np.ndarray) -> np.ndarray:
        kept = np.clip((length * rates / (2 * np.pi) - low) / (high - low), 0, 1)
        return rates * (kept + (1 - kept) / factor)

    return changed


@checked
def relative(
    heads: Count,
    *,
    bidirectional: bool,
    buckets: Count = 32,
    distance: Count = 128,
    deviation: NotNegative[float] = 1.0,
) -> Positions:
    """A learned number for each head and distance, added to the scores, the same in all layers.

    Raffel et al. 2020, Exploring the Limits of Transfer Learning (T5), sec. 2.1. Distances share
    buckets: half of them hold one distance each, the others grow geometrically up to `distance`.

    Args:
      heads: H, heads of the attention.
      bidirectional: whether keys after the query have buckets of their own (half of all), else they
        share that of distance 0.
      buckets: how many there are.
      distance: from here on, all distances share the last bucket.
      deviation: standard deviation of the initial numbers.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models
      >>> positions = models.relative(heads=4, bidirectional=False)
      >>> model = models.gpt2(vocabulary=256, width=64, layers=2, heads=4, positions=positions)
      >>> start = lambda key: model.init_with_output(key, jnp.zeros((1, 6), int))
      >>> outputs, variables = jax.eval_shape(start, jax.random.key(0))
      >>> outputs.shape
      (1, 6, 256)
    """
    initializer = with_axes(nn.initializers.normal(deviation), None, "heads")

    def bias(queries: jax.Array, keys: jax.Array) -> jax.Array:
        table = nn.Embed(buckets, heads, embedding_init=initializer, name="relative")
        bucket = relative_bucket(
            keys[None, :] - queries[:, None], bidirectional=bidirectional, buckets=buckets, distance=distance
        )
        return jnp.moveaxis(table(bucket), -1, 0)

    return Positions(bias=bias)


def relative_bucket(
    offset: jax.Array, *, bidirectional: bool, buckets: int = 32, distance: int = 128
) -> jax.Array:
    """The bucket of each key's position less its query's, int32 `[...]`; see `relative`."""
    first = jnp.zeros_like(offset)
    if bidirectional:
        buckets //= 2
        first, offset = jnp.where(offset > 0, buckets, 0), -jnp.abs(offset)
    # Logarithms of whole numbers are taken in float64 on the host: float32 can fall short of a border.
    table, exact = np.arange(distance), buckets // 2
    far = np.log(np.maximum(table, exact) / exact) / math.log(distance / exact) * (buckets - exact)
    table = np.where(table < exact, table, np.minimum(exact + np.floor(far + 1e-9), buckets - 1))
    table = np.append(table, buckets - 1).astype(np.int32)
    return first + jnp.asarray(table)[jnp.clip(-offset, 0, distance)]


def _angles(positions: jax.Array, width: int, base: float, change: Rates = lambda rates: rates) -> jax.Array:
    """float32 `[T, width / 2]`."""
    if width % 2:
        raise ValueError(f"the width is {width}; expected an even one: positions are angles of pairs")
    rates = base ** (-np.arange(0, width, 2, dtype=np.float64) / width)
    return positions[:, None].astype(jnp.float32) * jnp.asarray(change(rates), jnp.float32)
