"""Attributions by gradients: where the output changes, and along which path it came about."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fdl.analysis.chosen_output import Apply, input_gradient
from fdl.arguments import Count, NotNegative, Whole, checked


@checked
def gradient(apply: Apply, variables: Any, x: jax.Array, target: Whole[jax.Array]) -> jax.Array:
    """The gradient of an output with respect to the input (Simonyan et al. 2014, Deep Inside Convolutional
    Networks, sec. 3). Their saliency map is its largest absolute value over the channels.

    Args:
      apply: `apply(variables, x)` gives outputs `[B, C]`, each row by itself; a Flax model's own.
      variables: the model's.
      x: rows `[B, ...]`, as the model gets them.
      target: which output of each row is explained, `[B]`.

    Returns:
      Attributions, as `x`.

    Raises:
      ValueError: outputs or targets of another shape, or a target that is none of the outputs.

    Example:
      >>> linear = lambda weights, x: x @ weights
      >>> weights = jnp.array([[1.0, 0.0], [2.0, 0.0]])
      >>> fdl.analysis.gradient(linear, weights, jnp.array([[3.0, 4.0]]), jnp.array([0]))
      Array([[1., 2.]], dtype=float32)
    """
    return input_gradient(apply, variables, x, target)


@checked
def gradient_times_input(apply: Apply, variables: Any, x: jax.Array, target: Whole[jax.Array]) -> jax.Array:
    """Gradient times input (Shrikumar et al. 2016, Not Just a Black Box). Of a network without biases whose
    only nonlinearities are ReLU and max, which is homogeneous, they add up to the output.

    Args:
      apply: `apply(variables, x)` gives outputs `[B, C]`, each row by itself; a Flax model's own.
      variables: the model's.
      x: rows `[B, ...]`, as the model gets them.
      target: which output of each row is explained, `[B]`.

    Returns:
      Attributions, as `x`.

    Example:
      >>> linear = lambda weights, x: x @ weights
      >>> weights = jnp.array([[1.0, 0.0], [2.0, 0.0]])
      >>> fdl.analysis.gradient_times_input(linear, weights, jnp.array([[3.0, 4.0]]), jnp.array([0]))
      Array([[3., 8.]], dtype=float32)
    """
    return x * input_gradient(apply, variables, x, target)


@checked
def integrated_gradients(
    apply: Apply,
    variables: Any,
    x: jax.Array,
    target: Whole[jax.Array],
    baseline: jax.Array | float = 0.0,
    *,
    steps: Count = 50,
) -> jax.Array:
    """Integrated gradients (Sundararajan et al. 2017, Axiomatic Attribution, eq. 1): the gradient along the
    straight line from a baseline to the row, times their difference.

    They add up to the difference of the outputs at both ends, but for the error of the integral, which is
    taken at the nodes of Gauss and Legendre: none where the output is a polynomial of degree up to 2 steps
    along the line. Of a network of ReLU look at the sum: the gradient jumps on the way.

    Args:
      apply: `apply(variables, x)` gives outputs `[B, C]`, each row by itself; a Flax model's own.
      variables: the model's.
      x: rows `[B, ...]`, as the model gets them.
      target: which output of each row is explained, `[B]`.
      baseline: where the line begins: a number, a row, or rows; what broadcasts to `x`.
      steps: how many gradients are taken.

    Returns:
      Attributions, as `x`.

    Example:
      >>> product = lambda _, x: x[:, :1] * x[:, 1:]
      >>> x, target = jnp.array([[3.0, 4.0]]), jnp.array([0])
      >>> fdl.analysis.integrated_gradients(product, None, x, target, steps=1)  # 12 in all
      Array([[6., 6.]], dtype=float32)
    """
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    start = jnp.broadcast_to(jnp.asarray(baseline, x.dtype), x.shape)

    def add(total: jax.Array, point: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        place, weight = point
        return total + weight * input_gradient(apply, variables, start + place * (x - start), target), None

    points = (jnp.asarray((nodes + 1) / 2, x.dtype), jnp.asarray(weights / 2, x.dtype))
    mean, _ = jax.lax.scan(add, jnp.zeros_like(x), points)
    return (x - start) * mean


@checked
def smooth_grad(
    apply: Apply,
    variables: Any,
    x: jax.Array,
    target: Whole[jax.Array],
    key: jax.Array,
    *,
    sigma: NotNegative[float | jax.Array],
    samples: Count = 50,
) -> jax.Array:
    """SmoothGrad (Smilkov et al. 2017, SmoothGrad, sec. 3): the mean gradient at noisy copies of the input.

    Args:
      apply: `apply(variables, x)` gives outputs `[B, C]`, each row by itself; a Flax model's own.
      variables: the model's.
      x: rows `[B, ...]`, as the model gets them.
      target: which output of each row is explained, `[B]`.
      key: of the noise.
      sigma: standard deviation of the noise, in the input's units; the paper takes a tenth to a fifth of the
        range of the input's values.
      samples: how many copies.

    Returns:
      Attributions, as `x`.

    Example:
      >>> linear = lambda weights, x: x @ weights
      >>> weights, x = jnp.array([[1.0], [2.0]]), jnp.array([[3.0, 4.0]])
      >>> fdl.analysis.smooth_grad(linear, weights, x, jnp.array([0]), jax.random.key(0), sigma=0.5)
      Array([[1., 2.]], dtype=float32)
    """

    def add(total: jax.Array, key: jax.Array) -> tuple[jax.Array, None]:
        noisy = x + sigma * jax.random.normal(key, x.shape, x.dtype)
        return total + input_gradient(apply, variables, noisy, target), None

    total, _ = jax.lax.scan(add, jnp.zeros_like(x), jax.random.split(key, samples))
    return total / samples
