"""The Fréchet distance against SciPy's matrix root, and against Gaussians whose distance is known."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from fdl.metrics import frechet_distance

RNG = np.random.default_rng(0)


def by_scipy(first, second):
    one, other = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    root = np.real(sqrtm(one @ other))
    return np.sum((first.mean(0) - second.mean(0)) ** 2) + np.trace(one + other - 2 * root)


@pytest.mark.parametrize("features", [2, 5, 20])
def test_is_scipys(features):
    mix = RNG.normal(size=(features, features))
    first = RNG.normal(size=(60, features)) @ mix + 1
    second = RNG.normal(size=(80, features))
    assert frechet_distance(first, second) == pytest.approx(by_scipy(first, second), rel=1e-8)


def test_known_distances():
    x = RNG.normal(size=(50, 4))
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(x, x + np.array([3, 0, 4, 0])) == pytest.approx(25)
    scaled = frechet_distance(x - x.mean(0), 3 * (x - x.mean(0)))
    assert scaled == pytest.approx(4 * np.trace(np.cov(x, rowvar=False)))  # (3 - 1)² of each variance
    line = RNG.normal(size=(30, 1))
    wanted = (line.std(ddof=1) - 2 * line.std(ddof=1)) ** 2 + line.mean() ** 2
    assert frechet_distance(line, 2 * line) == pytest.approx(wanted)


def test_fewer_rows_than_features():
    first, second = RNG.normal(size=(4, 9)), RNG.normal(size=(5, 9)) + 1
    swapped = frechet_distance(second, first)
    assert frechet_distance(first, second) == pytest.approx(swapped, rel=1e-6)
    assert swapped > 0


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (np.ones((3, 2)), np.ones((3, 4))),
        (np.ones((1, 2)), np.ones((3, 2))),
        (np.ones(3), np.ones(3)),
        (np.full((3, 2), np.inf), np.ones((3, 2))),
    ],
)
def test_bad_features_are_refused(first, second):
    with pytest.raises(ValueError, match=r"expected finite \[N, D\] and \[M, D\]") as error:
        frechet_distance(first, second)
    assert "\n" not in str(error.value)
