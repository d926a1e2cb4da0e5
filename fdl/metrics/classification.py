"""Metrics of classifiers that are no sums over rows: on the host, by scikit-learn."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from fdl.arguments import checked


@checked
def f1(
    predictions: ArrayLike, labels: ArrayLike, *, average: Literal["macro", "micro", "weighted"] = "macro"
) -> float:
    """The harmonic mean of precision and recall, over classes or over labels.

    Args:
      predictions: integers `[N]`, classes; or 0 and 1 `[N, C]`, where a row has several labels.
      labels: the same shape.
      average: `"macro"`, the mean over the classes that are anywhere; `"weighted"`, that by how often
        each is a label; `"micro"`, of all decisions together.

    Returns:
      0 to 1; a class without predictions or without labels has 0.

    Raises:
      ValueError: shapes that differ, or no rows.

    Example:
      >>> fdl.metrics.f1([0, 1, 1, 1], [0, 1, 1, 0], average="micro")
      0.75
    """
    from sklearn.metrics import f1_score

    said, true = np.asarray(predictions), np.asarray(labels)
    if said.shape != true.shape or said.ndim not in (1, 2) or not said.size:
        raise ValueError(
            f"predictions have shape {list(said.shape)} and labels {list(true.shape)}; "
            "expected both [N] or [N, C], with at least one row"
        )
    return float(f1_score(true, said, average=average, zero_division=0))


@checked
def roc_auc(scores: ArrayLike, labels: ArrayLike) -> float:
    """The area under the receiver operating characteristic: how likely a positive scores above a negative.

    Args:
      scores: `[N]`, higher for class 1; or `[N, C]`, of which each class is held against all others, and
        their areas are averaged.
      labels: integers `[N]` from 0 to C - 1 (0 and 1 for scores `[N]`); or, for scores `[N, C]`,
        0 and 1 `[N, C]`, where a row has several labels.

    Returns:
      0 to 1; half for chance. Ties count half.

    Raises:
      ValueError: shapes that do not fit, scores that are not finite, or a class that no row or every row
        has.

    Example:
      >>> fdl.metrics.roc_auc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
      0.75
    """
    from sklearn.metrics import roc_auc_score

    values, true = np.asarray(scores, np.float64), np.asarray(labels)
    if values.ndim == 1:
        values = values[:, None]
        true = true[:, None]
    elif true.ndim == 1:
        if true.size and not 0 <= true.min() <= true.max() < values.shape[-1]:
            raise ValueError(
                f"labels go from {true.min()} to {true.max()}; expected 0 to {values.shape[-1] - 1}, as the "
                f"scores have {values.shape[-1]} classes"
            )
        true = true[:, None] == np.arange(values.shape[-1])
    if values.shape != true.shape or values.ndim != 2 or not np.isfinite(values).all():
        raise ValueError(
            f"scores have shape {list(np.shape(scores))} and labels {list(np.shape(labels))}; "
            "expected finite scores [N] or [N, C] with a label or C labels a row"
        )
    positives = true.sum(axis=0)
    lone = np.flatnonzero((positives == 0) | (positives == len(true)))
    if lone.size:
        raise ValueError(
            f"class {lone[0]} has {int(positives[lone[0]])} of {len(true)} rows; expected some rows with and "
            "some without it, else there is no area: leave the class out"
        )
    return float(roc_auc_score(true, values, average="macro"))
