"""Whether two solutions are connected: curves through parameter space, and the loss along them."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from fdl import rng
from fdl.analysis.objective import Loss, Variables, of_parameters
from fdl.arguments import Count, checked


class Bezier(NamedTuple):
    """A quadratic Bezier curve through parameter space, between two sets of variables.

    Attributes:
      start: variables at t = 0.
      bend: variables towards which it is bent.
      end: variables at t = 1.
    """

    start: Variables
    bend: Variables
    end: Variables

    def at(self, t: jax.Array | float) -> Variables:
        """The variables at t, 0 to 1: all collections; of what are no floats the start's."""

        def point(a: jax.Array, b: jax.Array, c: jax.Array) -> jax.Array:
            if not _is_float(a):
                return a
            return ((1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c).astype(jnp.result_type(a))

        return jax.tree.map(point, *self)


@checked
def straight_line(start: Variables, end: Variables) -> Bezier:
    """The line between two sets of variables of one model.

    Running statistics of batch norm go linearly too, which are not those of the nets between: there
    take a loss that computes them of the batch.

    Example:
      >>> line = fdl.analysis.straight_line({"params": {"w": jnp.zeros(1)}}, {"params": {"w": jnp.ones(1)}})
      >>> line.at(0.25)["params"]["w"]
      Array([0.25], dtype=float32)
    """
    start, end = nn.meta.unbox(dict(start)), nn.meta.unbox(dict(end))
    halfway = lambda a, b: (a + b) / 2 if _is_float(a) else a  # noqa: E731
    return Bezier(start, jax.tree.map(halfway, start, end), end)


def _is_float(leaf: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), jnp.floating)


@checked
def bezier_curve(
    loss: Loss,
    start: Variables,
    end: Variables,
    batch: Any,
    key: jax.Array,
    *,
    optimizer: optax.GradientTransformation,
    steps: Count,
) -> Bezier:
    """A curve of low loss between two sets of variables of one model.

    Garipov et al. 2018, Loss Surfaces, Mode Connectivity, and Fast Ensembling of DNNs, sec. 3.2 to 3.4: from
    the line, the bend is trained by the loss at a point t that is drawn uniformly at each step.

    Args:
      loss: `loss(variables, batch)`, a scalar.
      start: variables at t = 0, which stay.
      end: variables at t = 1, which stay.
      batch: what the loss takes, the same at each step.
      key: what the points are drawn with.
      optimizer: of the bend's `"params"`.
      steps: updates.

    Raises:
      ValueError: no `"params"`, or the loss is no scalar.

    Example:
      >>> ring = lambda variables, batch: (jnp.sum(variables["params"]["w"] ** 2) - 1) ** 2
      >>> left, right = ({"params": {"w": jnp.array([x, 0.01])}} for x in (-1.0, 1.0))
      >>> curve = fdl.analysis.bezier_curve(
      ...     ring, left, right, None, jax.random.key(0), optimizer=optax.adam(0.05), steps=300
      ... )
      >>> line = fdl.analysis.straight_line(left, right)
      >>> [bool(fdl.analysis.barrier(ring, c, None).height < 0.2) for c in (line, curve)]
      [False, True]
    """
    line = straight_line(start, end)

    def on_curve(params: Any, t: jax.Array) -> jax.Array:
        variables = line._replace(bend={**line.bend, "params": params}).at(t)
        objective, params = of_parameters(loss, variables, batch)
        return objective(params)

    def step(carry: tuple[Any, Any], key: jax.Array) -> tuple[tuple[Any, Any], None]:
        params, state = carry
        updates, state = optimizer.update(jax.grad(on_curve)(params, jax.random.uniform(key)), state, params)
        return (optax.apply_updates(params, updates), state), None

    first = of_parameters(loss, line.bend, batch)[1]
    keys = jax.random.split(rng.stream(key, "points"), steps)
    (params, _), _ = jax.lax.scan(step, (first, optimizer.init(first)), keys)
    return line._replace(bend={**line.bend, "params": params})


class Barrier(NamedTuple):
    """The loss along a curve.

    Attributes:
      height: the most by which the loss is above the line between its values at both ends, 0 or more; of the
        points that were tried.
      times: these points t, `[K]`.
      losses: the loss there, `[K]`.
    """

    height: jax.Array
    times: jax.Array
    losses: jax.Array


@checked
def barrier(loss: Loss, curve: Bezier, batch: Any, *, points: Count = 25) -> Barrier:
    """How high the loss rises between two solutions: about 0 where they are connected by the curve.

    Frankle et al. 2020, Linear Mode Connectivity and the Lottery Ticket Hypothesis, sec. 2, above the line
    between both ends as in Entezari et al. 2022, The Role of Permutation Invariance, def. 1.

    Args:
      loss: `loss(variables, batch)`, a scalar; an error rate will do.
      curve: of `straight_line` or `bezier_curve`.
      batch: what the loss takes.
      points: how many, evenly from 0 to 1.

    Raises:
      ValueError: fewer than 3 points, between which there is nothing.

    Example:
      >>> double_well = lambda variables, batch: (variables["params"]["w"] ** 2 - 1) ** 2
      >>> left, right = ({"params": {"w": jnp.array(x)}} for x in (-1.0, 1.0))
      >>> float(fdl.analysis.barrier(double_well, fdl.analysis.straight_line(left, right), None).height)
      1.0
    """
    if points < 3:
        raise ValueError(f"points is {points}; expected 3 or more, both ends and what is between")
    times = jnp.linspace(0, 1, points)
    losses = jax.lax.map(lambda t: loss(curve.at(t), batch), times)
    height = jnp.max(losses - ((1 - times) * losses[0] + times * losses[-1]))
    return Barrier(height, times, losses)
