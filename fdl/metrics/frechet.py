"""How far apart two samples are: the distance of the Gaussians with their means and covariances."""

import numpy as np
from numpy.typing import ArrayLike

from fdl.arguments import checked


@checked
def frechet_distance(first: ArrayLike, second: ArrayLike) -> float:
    """The squared Fréchet (2-Wasserstein) distance of Gaussians fitted to two sets of features.

    `|m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½)` (Dowson & Landau 1982, The Fréchet Distance between
    Multivariate Normal Distributions); Heusel et al. 2017, GANs Trained by a Two Time-Scale Update
    Rule, eq. 6, compare images so by an Inception net's features. Covariances have divisor N - 1.

    Args:
      first: features `[N, D]`.
      second: features `[M, D]`.

    Returns:
      The distance in the features' unit, squared; for few rows it is biased upwards, so compare equal N.

    Raises:
      ValueError: other shapes, fewer than two rows, or features that are not finite.

    Example:
      >>> features = np.random.default_rng(0).normal(size=(100, 2))
      >>> round(fdl.metrics.frechet_distance(features, features + [3.0, 4.0]), 3)  # 3² + 4²
      25.0
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    good = a.ndim == b.ndim == 2 and a.shape[1] == b.shape[1] and min(len(a), len(b)) > 1
    if not good or not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError(
            f"features have shapes {list(a.shape)} and {list(b.shape)}; expected finite [N, D] and [M, D] "
            "with at least 2 rows each"
        )
    apart = np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2)
    one, other = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b))
    # C1 C2 has the eigenvalues of C1^½ C2 C1^½, which is symmetric: no complex root is needed.
    values, vectors = np.linalg.eigh(one)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ other @ root), 0)).sum()
    return float(apart + np.trace(one) + np.trace(other) - 2 * shared)
