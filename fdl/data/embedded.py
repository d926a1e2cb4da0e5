"""Data sets that come with a library, so that nothing is downloaded."""

import functools
import hashlib

import numpy as np

from fdl.data.splits import Splits

_HELD_OUT = 360


def digits() -> Splits:
    """Handwritten digits: scikit-learn's 1,797 images of 8 × 8 pixels (the test part of UCI's
    "Optical Recognition of Handwritten Digits", Alpaydin and Kaynak 1998).

    The split, 1,077 / 360 / 360, is fixed and stratified, and the same on every machine and library
    version: number the images as scikit-learn does; order them by label, those of one label by the
    SHA-256 digest of their number in decimal ASCII; the image at place p of that order has slot
    `360 * p mod 1797` and goes to test if the slot is below 360, to validation if it is below 720,
    else to train. Within a part, images are in scikit-learn's order.

    Each pixel is shifted and scaled to mean 0 and standard deviation 1 over the train part, whose
    statistics serve all three parts. A pixel that is constant over train is shifted only.

    Returns:
      Parts with `x`, float32 `[N, 64]`, and `y`, int32 `[N]` in 0..9; the arrays are read-only.
    """
    train, validation, test = (dict(part) for part in _digits())
    return Splits(train, validation, test, classes=tuple("0123456789"))


@functools.cache
def _digits() -> tuple[dict[str, np.ndarray], ...]:
    from sklearn.datasets import load_digits  # here, as it takes longer to import than all of fdl.data

    x, y = load_digits(return_X_y=True)
    train, validation, test = _stratified(y)
    scale = x[train].std(axis=0)
    x = (x - x[train].mean(axis=0)) / np.where(scale > 0, scale, 1.0)
    return _part(x, y, train), _part(x, y, validation), _part(x, y, test)


def _stratified(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The indices of train, validation and test by the rule that `digits` documents, each sorted."""
    size = len(labels)
    digests = [hashlib.sha256(str(number).encode()).digest() for number in range(size)]
    order = np.array(sorted(range(size), key=lambda number: (labels[number], digests[number])))
    part = np.arange(size) * _HELD_OUT % size // _HELD_OUT
    return np.sort(order[part >= 2]), np.sort(order[part == 1]), np.sort(order[part == 0])


def _part(x: np.ndarray, y: np.ndarray, rows: np.ndarray) -> dict[str, np.ndarray]:
    part = {"x": x[rows].astype(np.float32), "y": y[rows].astype(np.int32)}
    for array in part.values():
        array.flags.writeable = False
    return part
