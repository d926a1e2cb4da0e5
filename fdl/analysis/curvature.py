"""The Hessian of a loss: extreme eigenvalues, spectrum, and whether a point is a minimum or a saddle."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from fdl import rng
from fdl.analysis.lanczos import Ritz, ritz
from fdl.analysis.objective import Loss, Variables, of_parameters
from fdl.arguments import Count, NotNegative, Positive, checked

Product = Callable[[jax.Array], jax.Array]


def _hessian_product(loss: Loss, variables: Variables, batch: Any) -> tuple[Product, jax.Array]:
    """`vector [P] -> H vector [P]` (Pearlmutter 1994), and the parameters `[P]`."""
    objective, params = of_parameters(loss, variables, batch)
    flat, back = ravel_pytree(params)
    gradient = jax.grad(lambda flat: objective(back(flat)))
    return lambda vector: jax.jvp(gradient, (flat,), (vector,))[1], flat


def _check_steps(steps: int, flat: jax.Array) -> None:
    if steps > flat.size:
        raise ValueError(f"steps is {steps}; expected at most the number of parameters, {flat.size}")


@checked
def hessian_eigenvalues(
    loss: Loss, variables: Variables, batch: Any, key: jax.Array, *, steps: Count = 64
) -> Ritz:
    """Eigenvalues of the loss's Hessian at both ends, by Lanczos.

    The largest are the last values, the smallest (most negative) the first. Those between are not yet
    eigenvalues: `residuals` say how near each is to one. Repeated eigenvalues may be found once only.

    Args:
      loss: `loss(variables, batch)`, a scalar.
      variables: the model's collections; the Hessian is in `"params"`.
      batch: what the loss takes; the Hessian is of its loss alone.
      key: what the first vector is drawn with.
      steps: Hessian products, at most P, the number of parameters; memory is steps times P.

    Raises:
      ValueError: no `"params"`, a loss that is no scalar, or more steps than parameters.

    Example:
      >>> loss = lambda variables, batch: jnp.sum(batch * variables["params"]["w"] ** 2) / 2
      >>> variables, batch = {"params": {"w": jnp.ones(4)}}, jnp.array([5.0, -1.0, 2.0, 3.0])
      >>> found = fdl.analysis.hessian_eigenvalues(loss, variables, batch, jax.random.key(0), steps=4)
      >>> [round(float(value), 3) for value in found.values]
      [-1.0, 2.0, 3.0, 5.0]
    """
    product, flat = _hessian_product(loss, variables, batch)
    _check_steps(steps, flat)
    start = jax.random.normal(rng.stream(key, "start"), flat.shape, flat.dtype)
    return ritz(product, start, rng.stream(key, "lanczos"), steps=steps)


@checked
def hessian_spectrum(
    loss: Loss,
    variables: Variables,
    batch: Any,
    key: jax.Array,
    *,
    steps: Count = 64,
    draws: Count = 4,
) -> Ritz:
    """The distribution of all eigenvalues of the loss's Hessian, by stochastic Lanczos quadrature.

    Ghorbani, Krishnan & Xiao 2019, An Investigation into Neural Net Optimization via Hessian Eigenvalue
    Density, sec. 2: each draw's values with its weights are a quadrature of the density, the finer the more
    steps. `spectral_density` smooths it, `negative_share` is its part below 0.

    Args:
      loss: `loss(variables, batch)`, a scalar.
      variables: the model's collections; the Hessian is in `"params"`.
      batch: what the loss takes.
      key: what the vectors are drawn with.
      steps: Hessian products a draw, at most the number of parameters.
      draws: how many random vectors; the error falls with the root of their number.

    Returns:
      Values and weights `[draws, steps]`.

    Raises:
      ValueError: as `hessian_eigenvalues`.

    Example:
      >>> loss = lambda variables, batch: jnp.sum(variables["params"]["w"][:3] ** 2)
      >>> found = fdl.analysis.hessian_spectrum(
      ...     loss, {"params": {"w": jnp.ones(4)}}, None, jax.random.key(0), steps=2, draws=500
      ... )
      >>> float(jnp.mean(jnp.sum(found.weights * found.values, 1)).round(1))  # the mean of 2, 2, 2 and 0
      1.5
    """
    product, flat = _hessian_product(loss, variables, batch)
    _check_steps(steps, flat)

    def draw(key: jax.Array) -> Ritz:
        start = jax.random.normal(rng.stream(key, "start"), flat.shape, flat.dtype)
        return ritz(product, start, rng.stream(key, "lanczos"), steps=steps)

    return jax.lax.map(draw, jax.random.split(key, draws))


@checked
def spectral_density(spectrum: Ritz, at: jax.Array, *, width: Positive[float]) -> jax.Array:
    """The density of eigenvalues, each smoothed to a normal distribution.

    Args:
      spectrum: of `hessian_spectrum`, `[draws, steps]`.
      at: where, `[K]`.
      width: the standard deviation of the normal distributions.

    Returns:
      `[K]`, of integral 1.

    Example:
      >>> one = jnp.ones((1, 1))
      >>> spectrum = fdl.analysis.Ritz(values=2 * one, weights=one, residuals=0 * one)
      >>> density = fdl.analysis.spectral_density(spectrum, jnp.array([0.0, 2.0]), width=0.5)
      >>> [round(float(value), 3) for value in density]
      [0.0, 0.798]
    """
    values, weights = spectrum.values.ravel(), spectrum.weights.ravel()
    bumps = jax.scipy.stats.norm.pdf(at[:, None], values, width)
    return jnp.sum(bumps * weights, 1) / jnp.sum(weights)


class NegativeShare(NamedTuple):
    """The share of eigenvalues below 0, means over draws.

    Attributes:
      share: that of the quadrature.
      low: the true one is not below this, but for the error of the draws.
      high: nor above this.
    """

    share: jax.Array
    low: jax.Array
    high: jax.Array


@checked
def negative_share(spectrum: Ritz, *, tolerance: NotNegative[float] = 1e-5) -> NegativeShare:
    """The share of eigenvalues below 0: the index of a critical point by its number of parameters.

    Where many eigenvalues are near 0, one value stands for them, and its sign is chance: see how far the
    bounds are apart. They are those of Gauss quadratures (the inequalities of Chebyshev, Markov and
    Stieltjes: the weights of the values next to 0 may lie on either side). More steps narrow them.

    Args:
      spectrum: of `hessian_spectrum`, `[draws, steps]`.
      tolerance: what is above minus this times the largest |eigenvalue| is taken for 0.

    Example:
      >>> values = jnp.array([[-2.0, -1.0, 0.0, 3.0]])
      >>> spectrum = fdl.analysis.Ritz(values, jnp.array([[0.25, 0.125, 0.125, 0.5]]), 0 * values)
      >>> [float(value) for value in fdl.analysis.negative_share(spectrum)]
      [0.375, 0.25, 0.5]
    """
    below = spectrum.values < -tolerance * jnp.max(jnp.abs(spectrum.values))
    last = below & ~jnp.roll(below, -1, 1).at[:, -1].set(False)
    first = ~below & jnp.roll(below, 1, 1).at[:, 0].set(True)
    sums = lambda chosen: jnp.mean(jnp.sum(spectrum.weights * chosen, 1))  # noqa: E731
    share = sums(below)
    return NegativeShare(share, share - sums(last), share + sums(first))


class CriticalPoint(NamedTuple):
    """What a point of the loss is. Kinds are defined where the gradient is 0: look at its norm first.

    Attributes:
      gradient: the gradient's norm.
      negative: the share of eigenvalues below 0, which is the index by the number of parameters; 0 at a
        minimum, 1 at a maximum, between at a saddle.
      flat: the share of those that are 0 within the tolerance.
      eigenvalues: all, ascending, `[P]`.
    """

    gradient: jax.Array
    negative: jax.Array
    flat: jax.Array
    eigenvalues: jax.Array


@checked
def critical_point(
    loss: Loss, variables: Variables, batch: Any, *, tolerance: NotNegative[float] = 1e-5
) -> CriticalPoint:
    """The index of a point by the whole Hessian, `[P, P]`; for nets of up to some thousand parameters.

    As Dauphin et al. 2014, Identifying and Attacking the Saddle Point Problem, fig. 1. For larger nets
    `negative_share` of `hessian_spectrum`.

    Args:
      loss: `loss(variables, batch)`, a scalar.
      variables: the model's collections; the Hessian is in `"params"`.
      batch: what the loss takes.
      tolerance: eigenvalues within this times the largest |eigenvalue| are taken for 0; float32 knows them
        to about 1e-6.

    Raises:
      ValueError: no `"params"`, or the loss is no scalar.

    Example:
      >>> loss = lambda variables, batch: variables["params"]["x"] ** 2 - variables["params"]["y"] ** 2
      >>> saddle = {"params": {"x": jnp.zeros(()), "y": jnp.zeros(())}}
      >>> found = fdl.analysis.critical_point(loss, saddle, None)
      >>> float(found.gradient), float(found.negative)
      (0.0, 0.5)
    """
    objective, params = of_parameters(loss, variables, batch)
    flat, back = ravel_pytree(params)
    of_flat = lambda flat: objective(back(flat))  # noqa: E731
    values = jnp.linalg.eigvalsh(jax.hessian(of_flat)(flat))
    small = tolerance * jnp.max(jnp.abs(values))
    gradient = jnp.linalg.norm(jax.grad(of_flat)(flat))
    return CriticalPoint(gradient, jnp.mean(values < -small), jnp.mean(jnp.abs(values) <= small), values)
