"""Time series: windows of a recorded past and what came next, split in the order of time."""

import itertools
from types import ModuleType

import numpy as np

from fdl.arguments import Count, checked
from fdl.data.datasets.data_set import DataSet, Origin
from fdl.data.scaling import standardised
from fdl.data.splits import Splits


@checked
def series(values: np.ndarray, *, length: Count, horizon: Count) -> Splits:
    """Windows `[t, t + length)` to forecast `[t + length, t + length + horizon)` from, one for each t.

    Time is cut into three: the first 60 % of the values (rounded down) are for train, those up to
    80 % for validation, the rest for test. A window belongs to the part that all its targets lie in;
    its inputs may reach back into the part before, as at that time they are known. Windows whose
    targets lie on both sides of a cut are left out.

    Each channel is shifted and scaled to mean 0 and standard deviation 1 over the values of train.

    Args:
      values: `[T]` or `[T, C]`, finite, evenly spaced in time.
      length: L, steps that are seen, at least 1.
      horizon: H, steps to be forecast, at least 1.

    Returns:
      Parts with `x`, float32 `[N, L, C]`, and `y`, float32 `[N, H, C]`, in order of time.

    Raises:
      ValueError: values that are not finite or not of that shape, or too few for a window in each part.

    Example:
      >>> splits = fdl.data.series(np.sin(np.arange(100.0)), length=8, horizon=2)
      >>> splits.train["x"].shape, splits.test["y"].shape
      ((51, 8, 1), (19, 2, 1))
    """
    values = _checked(values, length, horizon)
    size = len(values)
    cuts = (length, size * 6 // 10, size * 8 // 10, size)
    for name, begin, end in zip(Splits._fields, cuts, cuts[1:], strict=False):
        if end - begin < horizon:
            raise ValueError(
                f"the {size} values leave the {name} part without a window of length {length} and horizon "
                f"{horizon}; give more values or shorter windows"
            )
    values = standardised(values, np.arange(cuts[1])).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(values, length + horizon, axis=0).swapaxes(1, 2)
    parts = []
    for begin, end in itertools.pairwise(cuts):
        rows = windows[begin - length : end - horizon - length + 1]
        parts.append({"x": rows[:, :length].copy(), "y": rows[:, length:].copy()})
    return Splits(*parts)


@checked
def sunspots(*, length: Count = 24, horizon: Count = 1) -> Splits:
    """Yearly numbers of sunspots, 1700 to 2008, 309 values, by statsmodels; as `series` of C = 1.

    Args:
      length: L, years that are seen.
      horizon: H, years to be forecast.

    Raises:
      ValueError: statsmodels is not installed, or windows too long.

    Example:
      >>> splits = fdl.data.sunspots(length=24, horizon=1)  # doctest: +SKIP
      >>> splits.train["x"].shape[1:], splits.train["y"].shape[1:]  # doctest: +SKIP
      ((24, 1), (1, 1))
    """
    table = _statsmodels().sunspots.load_pandas().data
    return series(table["SUNACTIVITY"].to_numpy(np.float64), length=length, horizon=horizon)


@checked
def co2(*, length: Count = 52, horizon: Count = 4) -> Splits:
    """Weekly CO2 at Mauna Loa in ppm, March 1958 to December 2001 (Keeling and Whorf 2004), 2,284
    values, by statsmodels; as `series` of C = 1.

    59 weeks have no measurement; each gets the value on the straight line between the nearest weeks
    before and after that have one. The level rises throughout, so validation and test lie above all
    of train: a test of extrapolation.

    Args:
      length: L, weeks that are seen.
      horizon: H, weeks to be forecast.

    Raises:
      ValueError: statsmodels is not installed, or windows too long.

    Example:
      >>> fdl.data.co2(length=52, horizon=4).train["y"].shape[1:]  # doctest: +SKIP
      (4, 1)
    """
    values = _statsmodels().co2.load_pandas().data["co2"].to_numpy(np.float64)
    week, known = np.arange(len(values)), np.isfinite(values)
    return series(np.interp(week, week[known], values[known]), length=length, horizon=horizon)


def _checked(values: np.ndarray, length: int, horizon: int) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if values.ndim not in (1, 2) or not values.size:
        raise ValueError(f"the values have shape {values.shape}; expected [T] or [T, C], not empty")
    values = values.reshape(len(values), -1)
    if not np.isfinite(values).all():
        step = int(np.argmin(np.isfinite(values).all(axis=1)))
        raise ValueError(f"value {step} is {values[step]}; expected finite numbers; fill the gaps first")
    return values


def _statsmodels() -> ModuleType:
    try:
        import statsmodels.datasets
    except ImportError as error:
        raise ValueError("sunspots and co2 need the extra 'embedded': pip install fdl[embedded]") from error
    return statsmodels.datasets


DATA_SETS = (
    DataSet("sunspots", "yearly numbers of sunspots, 1700 to 2008", Origin.LIBRARY, sunspots),
    DataSet("co2", "weekly CO2 at Mauna Loa, 1958 to 2001", Origin.LIBRARY, co2),
)
