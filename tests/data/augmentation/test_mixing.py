"""Pieces cut out and rows mixed: which pixels, with what probability, and the labels that follow."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from fdl.data.augmentation.base import compose, row_keys
from fdl.data.augmentation.mixing import cutmix, cutout, mixup, random_erasing
from tests.data.augmentation.test_base import KEY, batch_of, x_of


def covered(x):
    """For each row the rectangle of zeros: first row and column, height and width; checks that it is one."""
    rectangles = []
    for holes in (x == 0).all(axis=-1):
        rows, columns = np.flatnonzero(holes.any(axis=1)), np.flatnonzero(holes.any(axis=0))
        assert holes.sum() == len(rows) * len(columns)
        assert holes[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        rectangles.append((rows[0], columns[0], len(rows), len(columns)))
    return np.array(rectangles)


@pytest.mark.parametrize("size", [3, 4])
def test_cutout_is_a_square_whose_centre_is_uniform(size):
    x = x_of(cutout(size=size), batch_of(size=2000))
    half = size // 2
    squares = np.zeros((12, 10, 12, 10), bool)  # by centre
    for row, column in np.ndindex(12, 10):
        squares[
            row, column, max(row - half, 0) : row - half + size, max(column - half, 0) : column - half + size
        ] = True
    centres = squares.reshape(120, -1)
    found = [np.flatnonzero((centres == holes.ravel()).all(axis=1)) for holes in (x == 0).all(axis=-1)]
    assert all(len(places) == 1 for places in found), "every square has one centre"
    assert stats.chisquare(np.bincount(np.concatenate(found), minlength=120)).pvalue > 1e-4


def test_cutout_fills_with_what_it_is_told():
    batch = {"x": np.zeros((4, 6, 6, 3), np.uint8)}
    x = x_of(cutout(size=3, fill=np.array([10.0, 20.4, 300.0])), batch)
    assert {tuple(pixel) for pixel in x.reshape(-1, 3)} == {(0, 0, 0), (10, 20, 255)}


def test_erased_rectangles_have_their_area_and_place():
    batch = {"x": np.full((600, 40, 40, 1), 1e9, np.float32)}
    x = x_of(random_erasing(rate=0.5, area=(0.1, 0.3), ratio=(0.5, 2.0)), batch)
    erased = (x != 1e9).any(axis=(1, 2, 3))
    assert stats.binomtest(int(erased.sum()), 600, 0.5).pvalue > 1e-4
    noise = x[x != 1e9]
    assert stats.kstest(noise, stats.norm.cdf).pvalue > 1e-4
    top, left, height, width = covered(np.where(x == 1e9, 1, 0)[erased]).T
    assert (height * width / 1600 > 0.09).all() and (height * width / 1600 < 0.32).all()
    assert (height / width > 0.45).all() and (height / width < 2.2).all()
    assert top.min() == 0 and (top + height).max() == 40 and left.min() == 0 and (left + width).max() == 40


def test_erased_bytes_are_uniform():
    x = x_of(
        random_erasing(rate=1.0, area=(1.0, 1.0), ratio=(1.0, 1.0)), {"x": np.zeros((8, 32, 32, 3), np.uint8)}
    )
    assert stats.chisquare(np.bincount(x.ravel(), minlength=256)).pvalue > 1e-4


def test_mixup_blends_images_and_labels_alike():
    batch = batch_of()
    mixed = mixup(classes=4, alpha=0.8)(batch, KEY)
    own = np.asarray(jax.vmap(lambda key: jax.random.beta(key, 0.8, 0.8))(row_keys(KEY, 8)))
    labels = np.eye(4)[batch["y"]]
    for row, share in enumerate(own):
        blend = share * batch["x"][row] + (1 - share) * batch["x"][row - 1]
        np.testing.assert_allclose(mixed["x"][row], blend, rtol=1e-5)
        np.testing.assert_allclose(
            mixed["y"][row], share * labels[row] + (1 - share) * labels[row - 1], atol=1e-6
        )
    assert mixed["y"].dtype == np.float32


def _mixed(batch, alpha):
    return mixup(classes=2, alpha=alpha)(batch, KEY)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_mixup_draws_from_beta(alpha):
    batch = {"x": np.zeros((1000, 1), np.float32), "y": np.arange(1000) % 2}
    mix = jax.jit(_mixed)
    share = np.asarray(mix(batch, alpha)["y"])[np.arange(1000), batch["y"]]
    assert stats.kstest(share, stats.beta(alpha, alpha).cdf).pvalue > 1e-4


def test_cutmix_labels_are_the_pixels_shares():
    batch = {
        "x": np.arange(400, dtype=np.float32)[:, None, None, None] * np.ones((1, 9, 14, 1)),
        "y": np.arange(400),
    }
    mixed = jax.jit(cutmix(classes=400))(batch, KEY)
    x, y = np.asarray(mixed["x"])[..., 0], np.asarray(mixed["y"])
    for row in range(400):
        pasted = x[row] == (row - 1) % 400
        assert (x[row][~pasted] == row).all()
        np.testing.assert_allclose(y[row, row], 1 - pasted.mean(), atol=1e-6)
        np.testing.assert_allclose(y[row].sum(), 1.0, atol=1e-6)
    some = (y.diagonal() < 1) & (y.diagonal() > 0)
    covered(np.where(x == np.arange(400)[:, None, None], 1, 0)[some][..., None])  # one rectangle each
    assert y.diagonal().min() < 0.2 and y.diagonal().max() > 0.98


def test_soft_labels_can_be_mixed_again_and_are_what_a_cross_entropy_takes():
    mixed = compose(mixup(classes=4), cutmix(classes=4))(batch_of(), KEY)
    np.testing.assert_allclose(mixed["y"].sum(axis=1), 1.0, atol=1e-6)
    loss = optax.softmax_cross_entropy(jnp.zeros((8, 4)), mixed["y"])
    np.testing.assert_allclose(loss, np.log(4), rtol=1e-6)
