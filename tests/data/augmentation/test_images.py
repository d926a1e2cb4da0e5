"""Geometry and colours: exact on hand-made images, else as Pillow and SciPy have them."""

import colorsys
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from PIL import Image
from scipy import stats

from fdl.data.augmentation.images import (
    _blurred,
    _stretched,
    affine,
    colour_jitter,
    grey,
    random_resized_crop,
    warp,
)
from fdl.data.augmentation.operations import brighten, contrast, saturate, turn_hue
from tests.data.augmentation.test_base import KEY, batch_of, x_of

WARP, STRETCHED = jax.jit(warp), jax.jit(_stretched)


@pytest.mark.parametrize("turns", range(-5, 6))
@pytest.mark.parametrize(("side", "dtype"), [(6, np.uint8), (7, np.float32)])
def test_quarter_turns_are_exact(turns, side, dtype):
    image = batch_of(size=1, shape=(side, side, 3), dtype=dtype)["x"][0]
    np.testing.assert_array_equal(WARP(image, rotate=90.0 * turns), np.rot90(image, turns))


@pytest.mark.parametrize("distance", [(0, 0), (2, -3), (-1, 4), (12, 0), (0, -30)])
def test_whole_pixels_are_exact(distance):
    image = batch_of(size=1)["x"][0]
    wanted = np.zeros_like(image)
    for row, column in np.ndindex(12, 10):
        place = (row + distance[0], column + distance[1])
        if 0 <= place[0] < 12 and 0 <= place[1] < 10:
            wanted[place] = image[row, column]
    np.testing.assert_array_equal(WARP(image, translate=distance), wanted)


def test_hand_made_images():
    dot = np.zeros((5, 5, 1), np.uint8)
    dot[2, 3] = 200  # one to the right of the middle
    places = lambda image: np.argwhere(np.asarray(image)[..., 0] == 200).tolist()  # noqa: E731
    assert places(WARP(dot, rotate=90.0)) == [[1, 2]], "counter-clockwise: right goes up"
    assert places(WARP(dot, scale=2.0)) == [[2, 4]]
    assert places(WARP(dot, translate=(1.0, -2.0))) == [[3, 1]]
    assert places(WARP(dot, rotate=90.0, translate=(0.0, 1.0))) == [[1, 3]], "translated last"
    line = np.zeros((5, 5, 1), np.uint8)
    line[:, 2] = 200
    assert places(WARP(line, shear=45.0)) == [[n, n] for n in range(5)], "the lower end goes right"
    assert np.asarray(WARP(dot, translate=(0.0, 0.5)))[2, 3:5, 0].tolist() == [100, 100]


@pytest.mark.parametrize(
    ("rotate", "scale", "slant", "move"),
    [
        (30.0, 1.0, 0.0, (0, 0)),
        (-200.0, 0.7, 0.0, (0, 0)),
        (0.0, 1.3, 20.0, (0, 0)),
        (77.0, 1.5, -15.0, (1.3, -2.2)),
    ],
)
@pytest.mark.parametrize("shape", [(12, 10, 2), (9, 9, 1)])
def test_warps_are_scipys(rotate, scale, slant, move, shape):
    image = batch_of(size=1, shape=shape)["x"][0]
    angle, lean = np.deg2rad([rotate, slant])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])  # of (down, right)
    forward = scale * turn @ np.array([[1, 0], [np.tan(lean), 1]])
    back = np.linalg.inv(forward)
    middle = (np.array(shape[:2]) - 1) / 2
    offset = middle - back @ (middle + move)
    wanted = [
        scipy.ndimage.affine_transform(plane, back, offset, order=1, mode="grid-constant")
        for plane in np.moveaxis(image.astype(np.float64), -1, 0)
    ]
    got = WARP(image, rotate=rotate, scale=scale, shear=slant, translate=move)
    np.testing.assert_allclose(got, np.stack(wanted, axis=-1), atol=2e-3)  # of 255


def test_affine_draws_from_its_ranges():
    dot = np.zeros((500, 31, 31, 1), np.float32)
    dot[:, 14:17, 24:27] = 1.0  # wide enough to be seen when it is small
    moved = x_of(affine(rotate=45.0, scale=(0.6, 1.2)), {"x": dot})[..., 0]
    down, right = (np.einsum("bhw,hw->b", moved, grid) for grid in np.mgrid[-15:16, -15:16])
    weight = moved.sum(axis=(1, 2))
    angle = np.rad2deg(np.arctan2(-down / weight, right / weight))
    distance = np.hypot(down / weight, right / weight) / 10
    assert -47 < angle.min() < -40 and 40 < angle.max() < 47
    assert 0.57 < distance.min() < 0.65 and 1.15 < distance.max() < 1.25


@pytest.mark.parametrize(("corner", "box"), [((0, 0), (12, 10)), ((2, 3), (6, 4)), ((1.7, 0.2), (9.1, 3.3))])
def test_boxes_are_stretched_as_pillow_does(corner, box):
    image = batch_of(size=1, dtype=np.uint8)["x"][0]
    edges = (corner[1], corner[0], corner[1] + box[1], corner[0] + box[0])
    wanted = Image.fromarray(image).resize((10, 12), Image.Resampling.BILINEAR, box=edges)
    got = np.asarray(STRETCHED(jnp.asarray(image), jnp.array(corner, float), jnp.array(box, float)))
    assert np.abs(got.astype(int) - np.asarray(wanted)).max() <= 1  # Pillow rounds between its two passes


def test_random_boxes_have_the_area_and_the_ratio():
    size = 64
    down, right = np.mgrid[:size, :size].astype(np.float32)
    batch = {"x": np.repeat(np.stack([down, right], axis=-1)[None], 300, axis=0)}
    x = x_of(random_resized_crop(area=(0.2, 0.5), ratio=(0.5, 2.0)), batch)
    high = (x[:, 40, 40, 0] - x[:, 20, 40, 0]) / 20  # how far one pixel of the result is in the image
    wide = (x[:, 40, 40, 1] - x[:, 40, 20, 1]) / 20
    assert 0.19 < (high * wide).min() < 0.23 and 0.47 < (high * wide).max() < 0.51
    assert 0.49 < (wide / high).min() < 0.55 and 1.85 < (wide / high).max() < 2.01


def test_jitter_draws_from_its_ranges():
    batch = {"x": np.full((2000, 1, 1, 3), 100.0, np.float32)}
    x = x_of(colour_jitter(brightness=0.3, contrast=0.0, saturation=0.0, hue=0.0), batch)
    assert stats.kstest(x[:, 0, 0, 0], stats.uniform(70, 60).cdf).pvalue > 1e-4
    red = {"x": np.tile(np.array([1, 0, 0], np.float32), (2000, 1, 1, 1))}
    x = x_of(colour_jitter(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.1), red)
    turns = [colorsys.rgb_to_hsv(*pixel)[0] for pixel in x[:, 0, 0]]
    assert stats.kstest((np.array(turns, float) + 0.5) % 1, stats.uniform(0.4, 0.2).cdf).pvalue > 1e-4


@pytest.mark.medium
def test_jitter_does_all_four_in_any_order():
    """Each row is what one of the 24 orders makes of it by the row's factors."""
    rows, orders = 500, jnp.array(list(itertools.permutations(range(4))))
    image = np.random.default_rng(0).integers(60, 256, (3, 3, 3)).astype(np.uint8)
    jitter = colour_jitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.4)
    made = x_of(jitter, {"x": np.tile(image, (rows, 1, 1, 1))})

    def by_order(key, order):
        factors = jnp.array([0.6, 0.6, 0.6, -0.4]) + 0.8 * jax.random.uniform(key, (2, 4))[0]
        x = jnp.asarray(image, jnp.float32)
        for place in range(4):
            ways = (brighten, contrast, saturate, turn_hue)
            x = jnp.select([order[place] == n for n in range(4)], [ways[n](x, factors[n]) for n in range(4)])
            x = jnp.clip(x, 0, 255)
        return jnp.round(x)

    keys = jax.vmap(jax.random.fold_in, (None, 0))(KEY, jnp.arange(rows, dtype=jnp.uint32))
    wanted = jax.jit(jax.vmap(jax.vmap(by_order, (None, 0)), (0, None)))(keys, orders)
    near = np.abs(np.asarray(wanted) - made[:, None]).max(axis=(2, 3, 4)) <= 1
    assert near.any(axis=1).all()
    sure = near[near.sum(axis=1) == 1]  # of others, no clipping tells brightness's place
    assert len(sure) > 50
    for place, which in itertools.product((0, 3), range(4)):
        assert sure[:, np.asarray(orders[:, place]) == which].any(), "each of the four comes first, and last"


def test_jitter_clips_bytes_after_each_change():
    white = {"x": np.full((50, 1, 1, 3), 255, np.uint8)}
    x = x_of(colour_jitter(brightness=1.0, contrast=0.0, saturation=0.0, hue=0.1), white)
    assert x.max() == 255 and x.min() < 200


def test_greys_are_pillows_at_the_rate():
    batch = batch_of(size=1000, dtype=np.uint8, shape=(2, 2, 3))
    x = x_of(grey(rate=0.2), batch).astype(int)
    greys = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in batch["x"]])[..., None]
    changed = (np.abs(x - greys) <= 1).all(axis=(1, 2, 3))
    np.testing.assert_array_equal(x[~changed], batch["x"][~changed])
    assert stats.binomtest(int(changed.sum()), 1000, 0.2).pvalue > 1e-4


@pytest.mark.parametrize("sigma", [0.1, 0.8, 2.5])
def test_blurs_are_scipys(sigma):
    image = batch_of(size=1)["x"][0]
    wanted = scipy.ndimage.gaussian_filter(
        image.astype(np.float64), sigma, mode="nearest", radius=4, axes=(0, 1)
    )
    np.testing.assert_allclose(jax.jit(_blurred, static_argnums=2)(image, sigma, 4), wanted, atol=1e-3)
