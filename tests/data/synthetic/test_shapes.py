"""Rendered shapes against areas and masks counted on a fine grid, and captions against their factors."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from fdl.data.synthetic import caption_text, captioned_shape
from fdl.data.synthetic.shapes import CAPTION_WORDS, SHAPE_FACTORS, _caption, _render

PIXELS, FINE = 32, 8
RENDER = jax.jit(functools.partial(_render, pixels=PIXELS))


def inside(shape, u, v):
    """Whether points are in the shape, each by a definition of its own."""
    if shape == 0:  # the square around which the unit circle goes
        return np.maximum(np.abs(u), np.abs(v)) <= math.sqrt(0.5)
    if shape == 1:  # the triangle with these corners
        corners = [(math.cos(a), math.sin(a)) for a in np.deg2rad([90, 210, 330])]
        edges = zip(corners, corners[1:] + corners[:1], strict=True)
        return np.all([(bx - ax) * (v - ay) >= (by - ay) * (u - ax) for (ax, ay), (bx, by) in edges], axis=0)
    if shape == 2:
        return u**2 + (2 * v) ** 2 <= 1
    x, y = np.abs(0.7 * u), 0.7 * v + 0.55
    diamond = (x <= y) & (x + y <= 1)
    return diamond | ((x - 0.25) ** 2 + (y - 0.75) ** 2 <= 0.125)


def reference(factors):
    """The covered share of every pixel, from 8 x 8 points in each."""
    shape, size, orientation, row, column, _ = factors
    fine = (np.arange(PIXELS * FINE) + 0.5) / (PIXELS * FINE)
    radius, turn = (0.12, 0.18, 0.24)[size], 2 * np.pi * orientation / 40
    across, down = fine[None, :] - (0.25 + column / 16), fine[:, None] - (0.25 + row / 16)
    local = np.exp(-1j * turn) * (across - 1j * down) / radius
    covered = inside(shape, local.real, local.imag)
    return covered.reshape(PIXELS, FINE, PIXELS, FINE).mean(axis=(1, 3))


@pytest.mark.parametrize("shape", range(4))
@pytest.mark.parametrize("size", range(3))
def test_every_shape_covers_what_it_should(shape, size):
    for orientation, row, column in ((0, 4, 4), (3, 0, 8), (17, 7, 2), (30, 8, 0)):
        factors = (shape, size, orientation, row, column, 0)
        image = np.asarray(RENDER(jnp.array(factors, jnp.int32)))
        expected = reference(factors)
        error = image[..., 0] / 255 - expected
        assert image.dtype == np.uint8 and not image[..., 1:].any()
        assert abs(error.sum()) < 0.03 * expected.sum()
        assert np.abs(error).max() < 0.3 and np.sqrt((error**2).mean()) < 0.03


def test_areas_by_hand():
    """Large, 32 pixels: the square is 2 ρ² S², the ellipse π ρ² S² / 2, the triangle 3√3/4 ρ² S²."""
    for shape, area in ((0, 2.0), (1, 3 * math.sqrt(3) / 4), (2, math.pi / 2)):
        image = np.asarray(RENDER(jnp.array((shape, 2, 5, 4, 4, 2), jnp.int32)))[..., 2]
        assert abs(image.sum() / 255 / (0.24 * 32) ** 2 - area) < 0.03 * area


def test_colours():
    corners = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
    corners |= {"yellow": (255, 255, 0), "magenta": (255, 0, 255), "cyan": (0, 255, 255)}
    for number, (name, rgb) in enumerate(corners.items()):
        factors = jnp.array((0, 2, 0, 4, 4, number), jnp.int32)
        assert tuple(np.asarray(RENDER(factors))[16, 16]) == rgb
        assert name in caption_text(_caption(factors))


@pytest.mark.parametrize(
    ("factors", "text"),
    [
        ((0, 0, 39, 0, 0, 0), "a small red square at the top left"),
        ((3, 2, 0, 8, 8, 5), "a large cyan heart at the bottom right"),
        ((1, 1, 7, 3, 5, 3), "a medium yellow triangle at the middle centre"),
        ((2, 0, 1, 2, 6, 4), "a small magenta ellipse at the top right"),
    ],
)
def test_captions(factors, text):
    assert caption_text(_caption(jnp.array(factors, jnp.int32))) == text


def test_captions_name_the_factors_one_to_one():
    names = itertools.product(range(4), range(3), (0,), (0, 3, 6), (0, 3, 6), range(6))
    tokens = jax.vmap(_caption)(jnp.array(list(names), jnp.int32))
    assert len({caption_text(row) for row in np.asarray(tokens)}) == 4 * 3 * 3 * 3 * 6
    assert len(set(CAPTION_WORDS)) == len(CAPTION_WORDS) == 22


def test_rows_hold_what_they_show():
    keys = jax.random.split(jax.random.key(0), 6)
    rows = jax.device_get(jax.jit(jax.vmap(functools.partial(captioned_shape, pixels=PIXELS)))(keys))
    assert rows["x"].shape == (6, PIXELS, PIXELS, 3) and rows["x"].dtype == np.uint8
    for number, key in enumerate(keys):
        drawn = jax.random.randint(key, (6,), 0, np.array([4, 3, 40, 9, 9, 6]))
        np.testing.assert_array_equal(rows["factors"][number], drawn)
        assert rows["y"][number] == drawn[0]
        np.testing.assert_array_equal(rows["caption"][number], _caption(drawn))
        level = rows["x"][number].max(axis=-1) / 255
        assert np.sqrt(((level - reference(np.asarray(drawn))) ** 2).mean()) < 0.03


def test_factors_are_uniform():
    keys = jax.random.split(jax.random.key(3), 5000)
    factors = jax.device_get(jax.jit(jax.vmap(functools.partial(captioned_shape, pixels=8)))(keys))["factors"]
    for column, values in zip(factors.T, SHAPE_FACTORS.values(), strict=True):
        assert stats.chisquare(np.bincount(column, minlength=values)).pvalue > 1e-3
        assert column.max() == values - 1
    correlation = np.corrcoef(factors.T) - np.eye(6)
    assert np.abs(correlation).max() < 4.5 / math.sqrt(5000)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: captioned_shape(jax.random.key(0), pixels=4), "pixels is 4; expected at least 8"),
        (lambda: caption_text([0, 22]), r"tokens are \[0, 22\]; expected a list of 0 to 21"),
        (lambda: caption_text([[0]]), "expected a list of 0 to 21"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
