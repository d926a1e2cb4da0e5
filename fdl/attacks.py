"""Adversarial rows: inputs that are changed within a ball of the maximum norm so that a loss grows.

A row never leaves the ball around where it came from, nor the box from `low` to `high`; where it came from
outside of that box, the box reaches as far as the row. Each function is pure, and can be jitted and vmapped.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fdl import shards
from fdl.arguments import Count, NotNegative, checked

Number = float | jax.Array
"""A number, or an array that broadcasts to a row, as of an `epsilon` for each column of a table."""
RowLosses = Callable[[jax.Array, Any], jax.Array]
"""`loss(x, y) -> [B]`, of rows `[B, ...]` and their labels `[B]`; each row's loss depends on it alone."""
_HALVED = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries of 10,000 after which the square attack halves the share that it changes (its appendix B)."""
_FIRST_SHARE = 0.8


@checked
def fgsm(
    loss: RowLosses,
    x: jax.Array,
    y: Any,
    *,
    epsilon: NotNegative[Number],
    low: Number = 0.0,
    high: Number = 1.0,
) -> jax.Array:
    """Rows after one step of length `epsilon` along the sign of the loss's gradient.

    Goodfellow, Shlens and Szegedy 2015, Explaining and Harnessing Adversarial Examples, sec. 4.

    Args:
      loss: what is to grow.
      x: rows `[B, ...]`.
      y: what `loss` takes beside them, `[B]`.
      epsilon: how far each number may go, in the unit of `x`.
      low: the least value of a number.
      high: the largest.

    Returns:
      `[B, ...]`.

    Example:
      >>> from fdl import analysis
      >>> loss = lambda x, y: -y * (x @ jnp.array([3.0, -1.0]))
      >>> x = jnp.array([[0.5, 0.5]])
      >>> analysis.fgsm(loss, x, jnp.array([1.0]), epsilon=0.25).tolist()
      [[0.25, 0.75]]
    """
    return _within(x + epsilon * jnp.sign(_gradient(loss, x, y)), x, epsilon, low, high)


@checked
def pgd(
    loss: RowLosses,
    x: jax.Array,
    y: Any,
    key: jax.Array,
    *,
    epsilon: NotNegative[Number],
    step: NotNegative[Number],
    steps: Count,
    low: Number = 0.0,
    high: Number = 1.0,
) -> jax.Array:
    """Rows after `steps` projected steps along the sign of the gradient, from a random place in the ball.

    Madry et al. 2018, Towards Deep Learning Models Resistant to Adversarial Attacks, sec. 2.1.

    Args:
      loss: what is to grow.
      x: rows `[B, ...]`.
      y: what `loss` takes beside them, `[B]`.
      key: of the random start.
      epsilon: how far each number may go, in the unit of `x`.
      step: the length of a step, likewise; `2.5 * epsilon / steps` reaches the ball's other end.
      steps: how many.
      low: the least value of a number.
      high: the largest.

    Returns:
      `[B, ...]`.

    Raises:
      ValueError: no step, or a negative length.

    Example:
      >>> from fdl import analysis
      >>> loss = lambda x, y: -y * (x @ jnp.array([3.0, -1.0]))
      >>> x, y = jnp.array([[0.5, 0.5]]), jnp.array([1.0])
      >>> analysis.pgd(loss, x, y, jax.random.key(0), epsilon=0.25, step=0.125, steps=8).tolist()
      [[0.25, 0.75]]
    """
    start = starts(key, x)
    return pgd_from(loss, x, y, start, epsilon=epsilon, step=step, steps=steps, low=low, high=high)


def starts(key: jax.Array, x: jax.Array) -> jax.Array:
    """Where in the ball each row begins, in units of its radius: uniform on -1 to 1, `[B, ...]`; a
    device's own rows begin where they do in the whole batch."""
    uniform = lambda key, shape: jax.random.uniform(key, shape, x.dtype, -1.0, 1.0)  # noqa: E731
    return shards.draw(uniform, key, jnp.shape(x))


def pgd_from(
    loss: RowLosses,
    x: jax.Array,
    y: Any,
    start: jax.Array,
    *,
    epsilon: Number,
    step: Number,
    steps: int,
    low: Number,
    high: Number,
) -> jax.Array:
    """`pgd` from a place in the ball that is given as `starts` draws it."""

    def advance(_: Any, found: jax.Array) -> jax.Array:
        return _within(found + step * jnp.sign(_gradient(loss, found, y)), x, epsilon, low, high)

    return jax.lax.fori_loop(0, steps, advance, _within(x + epsilon * start, x, epsilon, low, high))


@checked
def square_attack(
    loss: RowLosses,
    x: jax.Array,
    y: Any,
    key: jax.Array,
    *,
    epsilon: NotNegative[Number],
    queries: Count,
    low: Number = 0.0,
    high: Number = 1.0,
) -> jax.Array:
    """Rows after a random search that asks for the loss alone, never for its gradient.

    Andriushchenko et al. 2020, Square Attack, algorithms 1 and 2: a random square is set to the ball's edge,
    and stays so where the loss grew. Where this attack finds what `pgd` does not, gradients were masked
    (Athalye, Carlini and Wagner 2018). The share of an image that a square covers begins at 0.8, as in
    AutoAttack. What is no image has no squares: there a random set of a row's numbers changes.

    Args:
      loss: what is to grow.
      x: images `[B, H, W, C]`, or rows of another shape.
      y: what `loss` takes beside them, `[B]`.
      key: of the search.
      epsilon: how far each number may go, in the unit of `x`.
      queries: how often the loss of all rows is asked for.
      low: the least value of a number.
      high: the largest.

    Returns:
      `[B, ...]`; a row's loss is nowhere below that of the row as it came.

    Raises:
      ValueError: no query, or a negative length.

    Example:
      >>> from fdl import analysis
      >>> loss = lambda x, y: -y * (x @ jnp.array([3.0, -1.0]))
      >>> x, y = jnp.array([[0.5, 0.5]]), jnp.array([1.0])
      >>> analysis.square_attack(loss, x, y, jax.random.key(0), epsilon=0.25, queries=30).tolist()
      [[0.25, 0.75]]
    """

    def ask(query: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        found, highest = carry
        one = jax.random.fold_in(key, query)
        signs, place = (jax.random.fold_in(one, part) for part in range(2))
        mask = _mask(place, jnp.shape(x), _share(query, queries))
        tried = jnp.where(mask, x + epsilon * _signs(signs, x, query), found)
        tried = _within(tried, x, epsilon, low, high)
        there = loss(tried, y)
        better = there > highest
        shape = (-1,) + (1,) * (x.ndim - 1)
        return jnp.where(better.reshape(shape), tried, found), jnp.where(better, there, highest)

    return jax.lax.fori_loop(0, queries, ask, (x, loss(x, y)))[0]


def _gradient(loss: RowLosses, x: jax.Array, y: Any) -> jax.Array:
    return jax.grad(lambda rows: jnp.sum(loss(rows, y)))(x)


def _within(found: jax.Array, x: jax.Array, epsilon: Number, low: Number, high: Number) -> jax.Array:
    """What was found, brought back into the ball around `x` and into the box."""
    least = jnp.maximum(x - epsilon, jnp.minimum(low, x))
    most = jnp.minimum(x + epsilon, jnp.maximum(high, x))
    return jnp.clip(found, least, most)


def _share(query: jax.Array, queries: int) -> jax.Array:
    """The share of a row that a query changes; the first changes all of it."""
    halved = jnp.sum(query * (10_000 / queries) > jnp.array(_HALVED))
    return jnp.where(query == 0, 1.0, _FIRST_SHARE * 0.5**halved)


def _signs(key: jax.Array, x: jax.Array, query: jax.Array) -> jax.Array:
    """1 and -1: of an image one a channel, and at the first query one a column and channel; else one a
    number."""
    if x.ndim != 4:
        return jax.random.rademacher(key, x.shape, x.dtype)
    batch, _, width, channels = x.shape
    stripes = jax.random.rademacher(key, (batch, 1, width, channels), x.dtype)
    return jnp.where(query == 0, stripes, stripes[:, :, :1])


def _mask(key: jax.Array, shape: tuple[int, ...], share: jax.Array) -> jax.Array:
    """Which numbers change: of images `[B, H, W, 1]`, a square a row; else of the shape of the rows."""
    if len(shape) != 4:
        drawn = jax.random.uniform(key, shape)
        return (drawn < share) | (drawn == jnp.min(drawn.reshape(shape[0], -1), 1).reshape(_column(shape)))
    batch, height, width, _ = shape
    side = jnp.clip(jnp.round(jnp.sqrt(share * height * width)).astype(int), 1, min(height, width))
    sides = jnp.where(share == 1, jnp.array([height, width]), side)
    corner = jax.random.randint(key, (2, batch), 0, jnp.array([height, width])[:, None] - sides[:, None] + 1)
    inside = [
        (jnp.arange(length) >= start[:, None]) & (jnp.arange(length) < start[:, None] + extent)
        for length, start, extent in zip((height, width), corner, sides, strict=True)
    ]
    return (inside[0][:, :, None] & inside[1][:, None, :])[..., None]


def _column(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[0],) + (1,) * (len(shape) - 1)
