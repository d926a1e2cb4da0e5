"""Randomised smoothing: a radius within which no change of a row changes its class, with confidence."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from numpy.typing import ArrayLike

from fdl.arguments import Count, InnerShare, Positive, checked


class Certificate(NamedTuple):
    """What is certain of each row, `[B]`.

    Attributes:
      label: the smoothed classifier's class; -1 where it abstains.
      radius: the Euclidean radius within which it is that, in the unit of the rows; 0 where it abstains.
    """

    label: np.ndarray
    radius: np.ndarray


@checked
def noisy_counts(
    classify: Callable[[jax.Array], jax.Array],
    x: jax.Array,
    key: jax.Array,
    *,
    sigma: Positive[float],
    samples: Count,
    classes: Count,
) -> jax.Array:
    """How often each row is given each class under Gaussian noise.

    Pure, so that it can be jitted and vmapped; one draw for all rows at a time is in memory.

    Args:
      classify: `classify(x) -> [B]`, integers from 0 to C - 1.
      x: rows `[B, ...]`.
      key: of the noise.
      sigma: its standard deviation, in the unit of `x`.
      samples: draws a row.
      classes: C.

    Returns:
      `[B, C]`, int32; each row's sum is `samples`.

    Example:
      >>> from fdl import analysis
      >>> positive = lambda x: (x[:, 0] > 0).astype(int)
      >>> x = jnp.array([[9.0], [-9.0]])
      >>> analysis.noisy_counts(positive, x, jax.random.key(0), sigma=1.0, samples=5, classes=2).tolist()
      [[0, 5], [5, 0]]
    """

    def draw(number: jax.Array, counts: jax.Array) -> jax.Array:
        noise = sigma * jax.random.normal(jax.random.fold_in(key, number), x.shape, x.dtype)
        return counts + jax.nn.one_hot(classify(x + noise), classes, dtype=jnp.int32)

    return jax.lax.fori_loop(0, samples, draw, jnp.zeros((x.shape[0], classes), jnp.int32))


@checked
def certify(
    guesses: ArrayLike, counts: ArrayLike, *, sigma: Positive[float], alpha: InnerShare[float] = 0.001
) -> Certificate:
    """The certified radius of each row, by its counts under noise. On the host, by SciPy.

    Cohen, Rosenfeld and Kolter 2019, Certified Adversarial Robustness via Randomized Smoothing, sec. 3.2.2
    (CERTIFY): the first counts choose a class, the second, of other draws, bound its probability p from
    below (Clopper and Pearson 1934); where that is above a half, the radius is sigma times its normal
    quantile. It holds for the classifier that takes the likeliest class under noise, not for the bare one.

    Args:
      guesses: `[B, C]`, as of `noisy_counts`.
      counts: `[B, C]`, by another key.
      sigma: of the noise of both.
      alpha: how often a row's radius may be wrong.

    Raises:
      ValueError: counts of other shapes, or a row without a draw.

    Example:
      >>> from fdl import analysis
      >>> found = analysis.certify([[9, 1], [5, 5]], [[1000, 0], [510, 490]], sigma=0.5)
      >>> found.label.tolist(), found.radius.round(3).tolist()  # of 0.001 ** (1 / 1000)
      ([0, -1], [1.232, 0.0])
    """
    first, second = np.asarray(guesses), np.asarray(counts)
    if first.shape != second.shape or first.ndim != 2 or not second.sum(1).all():
        raise ValueError(
            f"guesses and counts have shapes {list(first.shape)} and {list(second.shape)}; expected [B, C] "
            "of both, with a draw in each row"
        )
    label = first.argmax(1)
    hits, draws = second[np.arange(len(label)), label], second.sum(1)
    lowest = scipy.stats.beta.ppf(alpha, np.maximum(hits, 1), draws - hits + 1)
    sure = (hits > 0) & (lowest > 0.5)
    radius = sigma * scipy.stats.norm.ppf(np.where(sure, lowest, 0.5))
    return Certificate(np.where(sure, label, -1), radius)
