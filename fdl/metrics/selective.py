"""A classifier that may stay silent: what it errs on the rows of which it is surest; on the host."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fdl.arguments import checked


class RiskCoverage(NamedTuple):
    """The curve of risk by coverage, a point for each distinct confidence, the highest first.

    Attributes:
      coverage: the share of rows that are answered: those at least as sure, `[K]`.
      risk: the share of these that is wrong, `[K]`.
      area: AURC, the mean risk over all rows as thresholds; of equal confidences the mean over all orders.
    """

    coverage: np.ndarray
    risk: np.ndarray
    area: float


@checked
def risk_coverage(confidence: ArrayLike, wrong: ArrayLike) -> RiskCoverage:
    """The risk-coverage curve and its area.

    El-Yaniv and Wiener 2010, On the Foundations of Noise-free Selective Classification; the area AURC as in
    Geifman, Uziel and El-Yaniv 2019, Bias-Reduced Uncertainty Estimation, sec. 2: the mean over rows i of
    the risk of the i rows that are surest.

    Args:
      confidence: `[N]`, higher for rows of which the classifier is surer.
      wrong: `[N]`, the loss of each, as 0 or 1.

    Raises:
      ValueError: other shapes, no rows, or a number that is not finite.

    Example:
      >>> found = fdl.metrics.risk_coverage([0.9, 0.8, 0.7, 0.6], [0, 0, 1, 0])
      >>> found.coverage.tolist(), float(found.risk[-1]), round(found.area, 4)
      ([0.25, 0.5, 0.75, 1.0], 0.25, 0.1458)
    """
    sure, loss = np.asarray(confidence, np.float64), np.asarray(wrong, np.float64)
    if sure.shape != loss.shape or sure.ndim != 1 or not sure.size:
        shapes = f"{list(sure.shape)} and {list(loss.shape)}"
        raise ValueError(f"confidence and wrong have shapes {shapes}; expected [N] of both, N at least 1")
    if not (np.isfinite(sure).all() and np.isfinite(loss).all()):
        raise ValueError("confidence or wrong has a number that is not finite; expected finite ones alone")
    _, place, rows = np.unique(-sure, return_inverse=True, return_counts=True)
    mean = np.bincount(place, loss) / rows  # of each confidence: what any row there is expected to lose
    count, ranks = np.cumsum(rows), np.arange(1, len(sure) + 1)
    spread = np.cumsum(np.repeat(mean, rows)) / ranks
    return RiskCoverage(count / len(sure), spread[count - 1], float(spread.mean()))
