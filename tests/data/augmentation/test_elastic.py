"""Elastic deformation against SciPy's interpolation and a smoothing written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from fdl.data.augmentation.elastic import displaced, elastic, smoothed
from tests.data.augmentation.test_base import KEY, batch_of, x_of


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_no_strength_is_the_identity(dtype):
    batch = batch_of(dtype=dtype)
    np.testing.assert_array_equal(x_of(elastic(strength=0.0), batch), batch["x"])


@pytest.mark.parametrize("sigma", [0.3, 2.0, 50.0])
def test_smoothing_is_the_double_sum(sigma):
    field = np.random.default_rng(0).normal(size=(5, 7))
    wanted = np.zeros((5, 7))
    for r, c in np.ndindex(5, 7):
        down = np.exp(-((np.arange(5) - r) ** 2) / (2 * sigma**2))
        right = np.exp(-((np.arange(7) - c) ** 2) / (2 * sigma**2))
        weights = np.outer(down, right)
        wanted[r, c] = (weights * field).sum() / weights.sum()
    np.testing.assert_allclose(jax.jit(smoothed)(jnp.float32(field), sigma), wanted, rtol=1e-4, atol=1e-5)


def test_displacing_is_scipys():
    image = batch_of(size=1)["x"][0]
    distances = np.random.default_rng(1).normal(scale=3.0, size=(2, 12, 10))
    places = np.mgrid[:12, :10] + distances
    wanted = [scipy.ndimage.map_coordinates(plane, places, order=1) for plane in np.moveaxis(image, -1, 0)]
    got = jax.jit(displaced)(image, jnp.float32(distances))
    inside = ((places > 0) & (places < np.array([11, 9])[:, None, None])).all(axis=0)
    np.testing.assert_allclose(np.asarray(got)[inside], np.stack(wanted, axis=-1)[inside], atol=5e-3)
    far = ((places < -1) | (places > np.array([12, 10])[:, None, None])).any(axis=0)
    assert inside.any() and far.any() and not np.asarray(got)[far].any()


def test_strength_and_smoothness_may_be_traced_and_rows_are_their_own():
    batch = batch_of(size=4)
    alike = {**batch, "x": np.repeat(batch["x"][:1], 4, axis=0)}
    x = jax.jit(lambda a, s: elastic(strength=a, smoothness=s)(alike, KEY)["x"])(20.0, 2.0)
    assert len(np.unique(x, axis=0)) == 4
    np.testing.assert_allclose(x, x_of(elastic(strength=20.0, smoothness=2.0), alike), atol=1e-2)  # of 255


def test_neighbours_move_together():
    down, right = np.mgrid[:32, :32].astype(np.float32)
    batch = {"x": np.repeat(np.stack([down, right], axis=-1)[None], 50, axis=0)}
    moved = x_of(elastic(strength=20.0, smoothness=4.0), batch)[:, 8:24, 8:24] - batch["x"][:, 8:24, 8:24]
    assert 0.5 < np.abs(moved).max() < 6  # far from the edge nothing comes from outside
    beside = np.corrcoef(moved[:, :-1].ravel(), moved[:, 1:].ravel())[0, 1]
    assert beside > 0.95, "smooth"
