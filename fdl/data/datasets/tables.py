"""Tables and digits that come with scikit-learn, so that nothing is downloaded."""

import functools
from collections.abc import Callable

import numpy as np

from fdl.data.datasets.data_set import DataSet, Origin
from fdl.data.partition import split_rows
from fdl.data.scaling import standardise, standardised
from fdl.data.splits import Splits


def digits() -> Splits:
    """Handwritten digits: scikit-learn's 1,797 images of 8 × 8 pixels (the test part of UCI's
    "Optical Recognition of Handwritten Digits", Alpaydin and Kaynak 1998).

    The split, 1,077 / 360 / 360, is fixed and stratified, by the rule of `partition.split_rows` on the
    images in scikit-learn's order. Within a part, images are in that order.

    Each pixel is shifted and scaled to mean 0 and standard deviation 1 over the train part, whose
    statistics serve all three parts. A pixel that is constant over train is shifted only.

    Returns:
      Parts with `x`, float32 `[N, 64]`, and `y`, int32 `[N]` in 0..9; the arrays are read-only.

    Example:
      >>> splits = fdl.data.digits()
      >>> splits.train["x"].shape, splits.train["y"][:5].tolist()
      ((1077, 64), [1, 2, 4, 5, 6])
    """
    from sklearn.datasets import load_digits  # here, as it takes longer to import than all of fdl.data

    return _splits(load_digits, tuple("0123456789"))


def digit_images() -> Splits:
    """The images of `digits` as images, in the same parts.

    Returns:
      Parts with `x`, uint8 `[N, 8, 8, 1]` in 0..16, which `prepare` makes float32 of mean 0 and standard
      deviation 1 over all of train, and `y`, int32 `[N]`; the arrays are read-only.

    Example:
      >>> splits = fdl.data.digit_images()
      >>> splits.train["x"].shape, splits.train["x"].dtype
      ((1077, 8, 8, 1), dtype('uint8'))
    """
    train, validation, test = (dict(arrays) for arrays in _digit_images())
    return Splits(train, validation, test, standardise(train["x"]), classes=tuple("0123456789"))


def wine() -> Splits:
    """Wine recognition: 13 chemical measurements of 178 wines of three cultivars (Forina et al.; UCI).

    Split 106 / 36 / 36, and standardised by train statistics, both as in `digits`.

    Returns:
      Parts with `x`, float32 `[N, 13]`, and `y`, int32 `[N]` in 0..2; the arrays are read-only.

    Example:
      >>> splits = fdl.data.wine()
      >>> splits.train["x"].shape, splits.classes
      ((106, 13), ('class_0', 'class_1', 'class_2'))
    """
    from sklearn.datasets import load_wine

    return _splits(load_wine, ("class_0", "class_1", "class_2"))


def breast_cancer() -> Splits:
    """Breast cancer Wisconsin (diagnostic): 30 features of the cell nuclei in 569 fine-needle
    aspirates (Street, Wolberg and Mangasarian 1993; UCI).

    Split 341 / 114 / 114, and standardised by train statistics, both as in `digits`.

    Returns:
      Parts with `x`, float32 `[N, 30]`, and `y`, int32 `[N]`: 0 malignant, 1 benign; the arrays are
      read-only.

    Example:
      >>> splits = fdl.data.breast_cancer()
      >>> splits.train["x"].shape, splits.classes
      ((341, 30), ('malignant', 'benign'))
    """
    from sklearn.datasets import load_breast_cancer

    return _splits(load_breast_cancer, ("malignant", "benign"))


def diabetes() -> Splits:
    """Diabetes progression: ten measurements of 442 patients and the progression of their disease one
    year later, a score from 25 to 346 (Efron, Hastie, Johnstone and Tibshirani 2004, sec. 1).

    Split 264 / 89 / 89 by the rule of `digits`, without labels. Features and target are standardised by
    train statistics, so a mean squared error of 1 on train is that of predicting the mean.

    Returns:
      Parts with `x`, float32 `[N, 10]`, and `y`, float32 `[N, 1]`; the arrays are read-only.

    Example:
      >>> splits = fdl.data.diabetes()
      >>> splits.train["x"].shape, splits.train["y"].shape
      ((264, 10), (264, 1))
    """
    return _splits(_load_diabetes, ())


def part(x: np.ndarray, y: np.ndarray, rows: np.ndarray) -> dict[str, np.ndarray]:
    """The read-only rows of features (float32) and of labels (int32) or targets (float32)."""
    labels = np.issubdtype(y.dtype, np.integer)
    arrays = {"x": x[rows].astype(np.float32), "y": y[rows].astype(np.int32 if labels else np.float32)}
    for array in arrays.values():
        array.flags.writeable = False
    return arrays


def _splits(load: Callable[..., tuple], classes: tuple[str, ...]) -> Splits:
    train, validation, test = (dict(arrays) for arrays in _table(load))
    return Splits(train, validation, test, classes=classes)


@functools.cache
def _table(load: Callable[..., tuple]) -> tuple[dict[str, np.ndarray], ...]:
    x, y = load(return_X_y=True)
    regression = y.dtype.kind == "f"
    rows = split_rows(None if regression else y, len(y))
    x = standardised(x, rows[0])
    y = standardised(y[:, None], rows[0]) if regression else y
    return tuple(part(x, y, numbers) for numbers in rows)


@functools.cache
def _digit_images() -> tuple[dict[str, np.ndarray], ...]:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    parts = []
    for rows in split_rows(y, len(y)):
        images = x[rows].astype(np.uint8).reshape(-1, 8, 8, 1)
        images.flags.writeable = False
        parts.append({"x": images, "y": part(x, y, rows)["y"]})
    return tuple(parts)


def _load_diabetes(*, return_X_y: bool) -> tuple:
    from sklearn.datasets import load_diabetes

    return load_diabetes(return_X_y=return_X_y, scaled=False)  # in the units of the paper


DATA_SETS = (
    DataSet("digits", "1,797 handwritten digits, 8 x 8 pixels as 64 features", Origin.LIBRARY, digits),
    DataSet("digit_images", "the same 1,797 digits as images, 8 x 8", Origin.LIBRARY, digit_images),
    DataSet("wine", "178 wines of 3 cultivars, 13 measurements", Origin.LIBRARY, wine),
    DataSet("breast_cancer", "569 tumours, benign or malignant, 30 features", Origin.LIBRARY, breast_cancer),
    DataSet(
        "diabetes",
        "442 patients, 10 features, progression of the disease to predict",
        Origin.LIBRARY,
        diabetes,
    ),
)
