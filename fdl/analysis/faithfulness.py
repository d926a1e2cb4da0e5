"""Whether an attribution says what the output depends on: the output as features go or come in its order."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fdl.analysis.chosen_output import Apply, chosen_output
from fdl.arguments import Count, Whole, checked


@checked
def deletion_curve(
    apply: Apply,
    variables: Any,
    x: jax.Array,
    target: Whole[jax.Array],
    attribution: jax.Array,
    baseline: jax.Array | float = 0.0,
    *,
    steps: Count = 20,
) -> jax.Array:
    """Deletion (Petsiuk et al. 2018, RISE): an output while entries are replaced by a baseline,
    those of the largest attribution first. The faster it falls, the better the order; compare the means of
    curves with that of a random order, as what is deleted leads off the data (Hooker et al. 2019, ROAR).

    Args:
      apply: `apply(variables, x)` gives outputs `[B, C]`, each row by itself; for probabilities such as
        `lambda variables, x: jax.nn.softmax(model.apply(variables, x))`.
      variables: the model's.
      x: rows `[B, *S, ...]`, as the model gets them.
      target: which output of each row, `[B]`.
      attribution: `[B, *S]`; an entry goes with all of its later axes, such as channels.
      baseline: what replaces: a number, a row, or rows; what broadcasts to `x`.
      steps: in how many parts, as equal as they can be, the entries go.

    Returns:
      `[B, steps + 1]`: from the whole row to the baseline.

    Raises:
      ValueError: an attribution of another shape.

    Example:
      >>> linear = lambda weights, x: x @ weights
      >>> weights, x = jnp.array([[1.0], [2.0]]), jnp.array([[3.0, 4.0]])
      >>> attribution = fdl.analysis.gradient_times_input(linear, weights, x, jnp.array([0]))
      >>> fdl.analysis.deletion_curve(linear, weights, x, jnp.array([0]), attribution, steps=2)
      Array([[11.,  3.,  0.]], dtype=float32)
    """
    return _curve(apply, variables, x, target, attribution, baseline, steps, keep=False)


@checked
def insertion_curve(
    apply: Apply,
    variables: Any,
    x: jax.Array,
    target: Whole[jax.Array],
    attribution: jax.Array,
    baseline: jax.Array | float = 0.0,
    *,
    steps: Count = 20,
) -> jax.Array:
    """Insertion (Petsiuk et al. 2018, RISE): an output while entries come in place of a baseline,
    those of the largest attribution first. The faster it rises, the better the order; see `deletion_curve`.

    Args:
      apply: `apply(variables, x)` gives outputs `[B, C]`, each row by itself.
      variables: the model's.
      x: rows `[B, *S, ...]`, as the model gets them.
      target: which output of each row, `[B]`.
      attribution: `[B, *S]`; an entry comes with all of its later axes, such as channels.
      baseline: what is replaced: a number, a row, or rows; what broadcasts to `x`.
      steps: in how many parts, as equal as they can be, the entries come.

    Returns:
      `[B, steps + 1]`: from the baseline to the whole row.

    Raises:
      ValueError: an attribution of another shape.

    Example:
      >>> linear = lambda weights, x: x @ weights
      >>> weights, x = jnp.array([[1.0], [2.0]]), jnp.array([[3.0, 4.0]])
      >>> attribution = fdl.analysis.gradient_times_input(linear, weights, x, jnp.array([0]))
      >>> fdl.analysis.insertion_curve(linear, weights, x, jnp.array([0]), attribution, steps=2)
      Array([[ 0.,  8., 11.]], dtype=float32)
    """
    return _curve(apply, variables, x, target, attribution, baseline, steps, keep=True)


def _curve(
    apply: Apply,
    variables: Any,
    x: jax.Array,
    target: jax.Array,
    attribution: jax.Array,
    baseline: jax.Array | float,
    steps: int,
    *,
    keep: bool,
) -> jax.Array:
    """Outputs where the first entries of an order are kept alone, or replaced."""
    if attribution.ndim < 2 or attribution.shape != x.shape[: attribution.ndim]:
        raise ValueError(
            f"the attribution is {attribution.shape} of rows {x.shape}; expected leading axes of these"
        )
    order = jnp.argsort(-attribution.reshape(len(x), -1), axis=1)
    rank = jnp.argsort(order, axis=1)
    rank = rank.reshape(attribution.shape + (1,) * (x.ndim - attribution.ndim))
    count = int(np.prod(attribution.shape[1:]))

    def output(number: jax.Array) -> jax.Array:
        changed = jnp.where((rank < number) == keep, x, baseline).astype(x.dtype)
        return chosen_output(apply, variables, changed, target)

    numbers = np.rint(np.linspace(0, count, steps + 1)).astype(np.int32)
    return jax.lax.map(output, jnp.asarray(numbers)).T
