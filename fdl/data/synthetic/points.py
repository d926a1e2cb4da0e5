"""Points whose classes or densities are known exactly: spirals, rings and linear-Gaussian data."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jax.scipy.stats import multivariate_normal
from jax.typing import ArrayLike

from fdl.arguments import Count, NotNegative, Positive, checked
from fdl.data.datasets.data_set import DataSet, Origin

Row = dict[str, jax.Array]

_LAST = 96  # the problem's own numbers
_RADIUS = 6.5  # of the outermost points, the problem's own


def two_spirals() -> dict[str, np.ndarray]:
    """The 194 points of the two-spirals problem (Lang and Witbrock 1988, "Learning to Tell Two
    Spirals Apart"; posed by Wieland).

    For i = 0..96 let the angle be `i π / 16` and the radius `6.5 (104 - i) / 104`. Row 2i is
    `radius (sin angle, cos angle)` with label 1, row 2i + 1 the opposite point with label 0;
    computed in float64, then rounded to float32.

    Returns:
      `x`, float32 `[194, 2]`, and `y`, int32 `[194]`.

    Example:
      >>> points = fdl.data.synthetic.two_spirals()
      >>> points["x"].shape, np.bincount(points["y"]).tolist()
      ((194, 2), [97, 97])
    """
    i = np.arange(_LAST + 1)
    angle, radius = i * math.pi / 16, _RADIUS * (104 - i) / 104
    points = np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=-1)
    x = np.stack([points, -points], axis=1).reshape(-1, 2)
    return {"x": x.astype(np.float32), "y": np.tile(np.array([1, 0], np.int32), len(i))}


@checked
def spiral(key: jax.Array, *, noise: NotNegative[ArrayLike] = 0.1) -> Row:
    """A random point beside one of the two spirals: `two_spirals` with i continuous, plus noise.

    The key is split in three. The first gives t, uniform in [0, 96) (`jax.random.uniform` times 96);
    the second y, uniform in {0, 1} (`randint`); the third e, two standard normal numbers. With angle
    `t π / 16` and radius `6.5 (104 - t) / 104`, x = ±radius (sin angle, cos angle) + noise · e, with
    + for y = 1 and - for y = 0. Neighbouring turns of the two classes are one unit apart.

    Args:
      key: names the row.
      noise: standard deviation of each coordinate's noise.

    Returns:
      `x`, float32 `[2]`, and `y`, int32 `[]`.

    Example:
      >>> row = fdl.data.synthetic.spiral(jax.random.key(0), noise=0.05)
      >>> row["x"].shape, row["y"].dtype
      ((2,), dtype('int32'))
    """
    place, label, offset = jax.random.split(key, 3)
    t = _LAST * jax.random.uniform(place)
    y = jax.random.randint(label, (), 0, 2)
    angle, radius = t * (math.pi / 16), (2 * y - 1) * _RADIUS * (104 - t) / 104
    x = radius * jnp.stack([jnp.sin(angle), jnp.cos(angle)])
    return {"x": x + noise * jax.random.normal(offset, (2,)), "y": y}


@checked
def rings(
    key: jax.Array,
    *,
    classes: Count = 2,
    spacing: NotNegative[ArrayLike] = 1.0,
    noise: NotNegative[ArrayLike] = 0.1,
) -> Row:
    """A random point beside one of several concentric circles.

    The key is split in three. The first gives y, uniform in 0..classes - 1 (`randint`); the second
    the angle, 2π times `jax.random.uniform`; the third e, one standard normal number. The radius is
    `(y + 1) spacing + noise · e`, and x = radius (cos angle, sin angle).

    Args:
      key: names the row.
      classes: how many circles.
      spacing: radius of the innermost circle, and the distance from each to the next.
      noise: standard deviation of the radius.

    Returns:
      `x`, float32 `[2]`, and `y`, int32 `[]`.

    Raises:
      ValueError: no classes.

    Example:
      >>> row = fdl.data.synthetic.rings(jax.random.key(0), classes=3)
      >>> row["x"].shape, row["y"].dtype
      ((2,), dtype('int32'))
    """
    label, turn, offset = jax.random.split(key, 3)
    y = jax.random.randint(label, (), 0, classes)
    angle = 2 * math.pi * jax.random.uniform(turn)
    radius = (y + 1) * spacing + noise * jax.random.normal(offset)
    return {"x": radius * jnp.stack([jnp.cos(angle), jnp.sin(angle)]), "y": y}


@checked
def gaussian_ring(
    key: jax.Array,
    *,
    modes: Count = 8,
    radius: NotNegative[ArrayLike] = 2.0,
    scale: NotNegative[ArrayLike] = 0.02,
) -> Row:
    """A mixture of equal round Gaussians on a circle, to see whether a generator drops modes.

    The key is split in two. The first gives y, uniform in 0..modes - 1 (`randint`); the second e, two
    standard normal numbers. x = radius (cos(2π y / modes), sin(2π y / modes)) + scale · e. The default
    is the ring of Metz et al. 2017, "Unrolled Generative Adversarial Networks".

    Args:
      key: names the row.
      modes: how many Gaussians.
      radius: of the circle that their means lie on.
      scale: standard deviation of each coordinate within a Gaussian.

    Returns:
      `x`, float32 `[2]`, and `y`, int32 `[]`, the Gaussian it came from.

    Raises:
      ValueError: no modes.

    Example:
      >>> row = fdl.data.synthetic.gaussian_ring(jax.random.key(0), radius=2.0)
      >>> bool(1.8 < jnp.linalg.norm(row["x"]) < 2.2)
      True
    """
    label, offset = jax.random.split(key)
    y = jax.random.randint(label, (), 0, modes)
    return {"x": _means(modes, radius)[y] + scale * jax.random.normal(offset, (2,)), "y": y}


@checked
def gaussian_ring_log_prob(
    x: jax.Array, *, modes: Count = 8, radius: NotNegative[ArrayLike] = 2.0, scale: Positive[ArrayLike] = 0.02
) -> jax.Array:
    """The log-density `[...]` of `gaussian_ring` at points `[..., 2]`, in nats.

    Raises:
      ValueError: no modes.

    Example:
      >>> points = np.array([[2.0, 0.0], [0.0, 0.0]])  # on the ring, and its centre
      >>> on, off = fdl.data.synthetic.gaussian_ring_log_prob(points)
      >>> bool(on > off)
      True
    """
    offset = (x[..., None, :] - _means(modes, radius)) / scale
    log_each = -0.5 * jnp.sum(offset**2, axis=-1) - jnp.log(2 * math.pi * modes * jnp.square(scale))
    return logsumexp(log_each, axis=-1)


@checked
def linear_gaussian(key: jax.Array, *, weights: ArrayLike, noise: NotNegative[ArrayLike]) -> Row:
    """Probabilistic principal components (Tipping and Bishop 1999): latent and data are Gaussian, so
    posterior and evidence are known, and a variational bound can be checked against them.

    The key is split in two: z, L standard normal numbers from the first; e, D standard normal
    numbers from the second. x = weights z + noise · e.

    Args:
      key: names the row.
      weights: W, `[D, L]`.
      noise: standard deviation of each coordinate of x given z.

    Returns:
      `x`, float32 `[D]`, and `z`, float32 `[L]`.

    Raises:
      ValueError: weights that are no matrix.

    Example:
      >>> row = fdl.data.synthetic.linear_gaussian(jax.random.key(0), weights=np.ones((3, 2)), noise=0.1)
      >>> {name: one.shape for name, one in row.items()}
      {'x': (3,), 'z': (2,)}
    """
    weights = _matrix(weights)
    latent, offset = jax.random.split(key)
    z = jax.random.normal(latent, weights.shape[1:])
    x = jnp.matmul(weights, z, precision="highest") + noise * jax.random.normal(offset, weights.shape[:1])
    return {"x": x, "z": z}


@checked
def linear_gaussian_posterior(
    x: jax.Array, *, weights: ArrayLike, noise: Positive[ArrayLike]
) -> tuple[jax.Array, jax.Array]:
    """p(z | x) of `linear_gaussian`: Gaussian with covariance S = (I + WᵀW / noise²)⁻¹ and mean
    S Wᵀx / noise².

    Args:
      x: `[..., D]`.
      weights: W, `[D, L]`.
      noise: as in `linear_gaussian`, above 0.

    Returns:
      The means, `[..., L]`, and the covariance, `[L, L]`, which is the same for every x.

    Raises:
      ValueError: weights that are no matrix.

    Example:
      >>> mean, covariance = fdl.data.synthetic.linear_gaussian_posterior(
      ...     np.array([2.0]), weights=np.ones((1, 1)), noise=1.0
      ... )
      >>> mean.tolist(), covariance.tolist()
      ([1.0], [[0.5]])
    """
    scaled = _matrix(weights) / noise
    precision = jnp.eye(scaled.shape[1]) + jnp.matmul(scaled.T, scaled, precision="highest")
    covariance = jnp.linalg.inv(precision)
    gain = jnp.matmul(scaled, covariance, precision="highest") / noise
    return jnp.matmul(x, gain, precision="highest"), covariance


@checked
def linear_gaussian_log_evidence(
    x: jax.Array, *, weights: ArrayLike, noise: Positive[ArrayLike]
) -> jax.Array:
    """log p(x) of `linear_gaussian`, in nats: x is Gaussian with mean 0 and covariance
    W Wᵀ + noise² I.

    Args:
      x: `[..., D]`.
      weights: W, `[D, L]`.
      noise: as in `linear_gaussian`, above 0.

    Returns:
      `[...]`.

    Raises:
      ValueError: weights that are no matrix.

    Example:
      >>> density = fdl.data.synthetic.linear_gaussian_log_evidence
      >>> x = jax.ShapeDtypeStruct((100, 3), np.float32)
      >>> jax.eval_shape(lambda x: density(x, weights=np.ones((3, 2)), noise=0.1), x).shape
      (100,)
    """
    weights = _matrix(weights)
    size = weights.shape[0]
    covariance = jnp.matmul(weights, weights.T, precision="highest") + jnp.square(noise) * jnp.eye(size)
    return jnp.asarray(multivariate_normal.logpdf(x, jnp.zeros(size), covariance))


def _means(modes: int, radius: ArrayLike) -> jax.Array:
    """The means of `gaussian_ring`, `[modes, 2]`."""
    angle = 2 * math.pi * np.arange(modes) / modes
    return jnp.asarray(np.stack([np.cos(angle), np.sin(angle)], axis=-1), jnp.float32) * radius


def _matrix(weights: ArrayLike) -> jax.Array:
    weights = jnp.asarray(weights)
    if weights.ndim != 2:
        raise ValueError(f"weights has shape {weights.shape}; expected [D, L]")
    return weights


DATA_SETS = (
    DataSet("two_spirals", "the 194 points of the two-spirals problem", Origin.MADE, two_spirals),
    DataSet("spiral", "points beside two spirals, with noise", Origin.ENDLESS, spiral),
    DataSet("rings", "points beside concentric circles", Origin.ENDLESS, rings),
    DataSet(
        "gaussian_ring", "a mixture of 8 Gaussians on a circle, to generate", Origin.ENDLESS, gaussian_ring
    ),
)
