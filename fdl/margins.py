"""Means with the half-widths of their intervals."""

import numpy as np
import scipy.stats


def mean_and_margin(values: np.ndarray) -> tuple[float, float]:
    """The mean of `values` `[n]` and the half-width of its 95 % t-interval (NaN below two)."""
    values = values[~np.isnan(values)]
    if values.size < 2:
        return (float(values.mean()) if values.size else float("nan")), float("nan")
    margin = scipy.stats.t.ppf(0.975, values.size - 1) * values.std(ddof=1) / np.sqrt(values.size)
    return float(values.mean()), float(margin)
