"""How a classifier's decisions differ between groups of rows: on the host, in NumPy."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fdl.arguments import checked


class GroupRates(NamedTuple):
    """Rates of yes, a row a group; NaN where a group has no row that the rate is of.

    Attributes:
      groups: the groups' values, in their order, `[G]`.
      rows: how many rows each has, `[G]`.
      selected: the share of a group's rows that get a yes, `[G]`.
      true_positive: that of its rows whose label is yes, `[G]`.
      false_positive: that of its rows whose label is no, `[G]`.
    """

    groups: np.ndarray
    rows: np.ndarray
    selected: np.ndarray
    true_positive: np.ndarray
    false_positive: np.ndarray


@checked
def group_rates(predictions: ArrayLike, labels: ArrayLike, groups: ArrayLike) -> GroupRates:
    """The rates of yes of each group.

    Args:
      predictions: 0 or 1 `[N]`.
      labels: 0 or 1 `[N]`.
      groups: an array of any values, `[N]`.

    Raises:
      ValueError: other shapes, no rows, or a value that is neither 0 nor 1.

    Example:
      >>> fdl.metrics.group_rates([1, 0, 1, 1], [1, 0, 0, 1], [0, 0, 1, 1]).selected.tolist()
      [0.5, 1.0]
    """
    said, true, group = np.asarray(predictions), np.asarray(labels), np.asarray(groups)
    if not said.shape == true.shape == group.shape or said.ndim != 1 or not said.size:
        shapes = ", ".join(str(list(one.shape)) for one in (said, true, group))
        raise ValueError(f"predictions, labels and groups have shapes {shapes}; expected [N] of each")
    for name, one in (("predictions", said), ("labels", true)):
        if not np.isin(one, (0, 1)).all():
            raise ValueError(f"{name} have {one[~np.isin(one, (0, 1))][0]}; expected 0 and 1 alone")
    names, place = np.unique(group, return_inverse=True)

    def rate(of: np.ndarray) -> np.ndarray:
        rows = np.bincount(place, of, len(names))
        with np.errstate(invalid="ignore"):
            return np.bincount(place, of * (said == 1), len(names)) / np.where(rows, rows, np.nan)

    rows = np.bincount(place, minlength=len(names))
    return GroupRates(names, rows, rate(np.ones(len(said))), rate(true == 1), rate(true == 0))


@checked
def demographic_parity_difference(predictions: ArrayLike, labels: ArrayLike, groups: ArrayLike) -> float:
    """The largest difference between groups of the share of rows that get a yes, 0 to 1.

    Agarwal et al. 2018, A Reductions Approach to Fair Classification, def. 1. Arguments and errors as of
    `group_rates`; `labels` change nothing.

    Example:
      >>> fdl.metrics.demographic_parity_difference([1, 0, 1, 1], [1, 0, 0, 1], [0, 0, 1, 1])
      0.5
    """
    return _range(group_rates(predictions, labels, groups).selected)


@checked
def equalised_odds_difference(predictions: ArrayLike, labels: ArrayLike, groups: ArrayLike) -> float:
    """The larger of the largest differences between groups of the true and of the false positive rate.

    Hardt, Price and Srebro 2016, Equality of Opportunity in Supervised Learning, def. 2.1. Arguments and
    errors as of `group_rates`.

    Returns:
      0 to 1; NaN where a group has no row of one of the labels, as it has no such rate.

    Example:
      >>> fdl.metrics.equalised_odds_difference([1, 0, 1, 1], [1, 0, 0, 1], [0, 0, 1, 1])
      1.0
    """
    found = group_rates(predictions, labels, groups)
    return max(_range(found.false_positive), _range(found.true_positive), key=lambda one: (one != one, one))


def _range(rates: np.ndarray) -> float:
    return float(rates.max() - rates.min())
