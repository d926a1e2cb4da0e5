"""Operations on bytes against Pillow's, at many strengths; hues against the standard library's."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from fdl.data.augmentation import operations
from fdl.data.augmentation.operations import greys, rotation, transform, turn_hue

RANDOM = np.random.default_rng(0)
IMAGES = {
    "noise": RANDOM.integers(0, 256, (30, 20, 3)),
    "dim": RANDOM.integers(100, 140, (30, 20, 3)),
    "large": RANDOM.normal(128, 30, (70, 90, 3)).clip(0, 255),
    "flat": np.full((30, 20, 3), 77),
    "two values": RANDOM.choice([3, 250], (30, 20, 3)),
    "steep": np.exp(RANDOM.uniform(0, 5.5, (30, 20, 3))),
}
IMAGES = {name: image.astype(np.uint8) for name, image in IMAGES.items()}
FILL = (9, 128, 200)


def gap(ours, theirs):
    return np.abs(np.asarray(ours).astype(int) - np.asarray(theirs)).max()


@pytest.mark.parametrize("name", IMAGES)
def test_what_has_no_strength_is_pillows(name):
    image, pillow = IMAGES[name], Image.fromarray(IMAGES[name])
    assert gap(jax.jit(operations.equalise)(image), ImageOps.equalize(pillow)) == 0
    assert (
        gap(jax.jit(operations.autocontrast)(image), ImageOps.autocontrast(pillow)) <= 1
    )  # it drops fractions


@pytest.mark.parametrize("threshold", [0, 1, 100, 255, 256])
def test_solarise_is_pillows(threshold):
    image = IMAGES["noise"]
    theirs = ImageOps.solarize(Image.fromarray(image), threshold)
    assert gap(operations.solarise(image, float(threshold)), theirs) == 0


@pytest.mark.parametrize("bits", range(1, 9))
def test_posterise_is_pillows(bits):
    image = IMAGES["noise"]
    assert gap(operations.posterise(image, bits), ImageOps.posterize(Image.fromarray(image), bits)) == 0


ENHANCED = {
    "brighten": ImageEnhance.Brightness,
    "contrast": ImageEnhance.Contrast,
    "saturate": ImageEnhance.Color,
    "sharpen": ImageEnhance.Sharpness,
}


@pytest.mark.parametrize("name", ENHANCED)
def test_what_has_a_factor_is_pillows(name):
    ours = jax.jit(getattr(operations, name))
    for factor in (0.0, 0.1, 0.7, 1.0, 1.3, 1.9):
        for image in (IMAGES["noise"], IMAGES["steep"]):
            theirs = ENHANCED[name](Image.fromarray(image)).enhance(factor)
            # Pillow rounds the greys, too, and so is wrong by up to 1 / 2 times |1 - factor| more.
            assert gap(ours(image, factor), theirs) <= 1, factor


def test_edges_are_not_smoothed_and_small_images_have_only_edges():
    image = IMAGES["noise"]
    smooth = np.asarray(operations.sharpen(jnp.asarray(image), 0.0))
    np.testing.assert_array_equal(smooth[[0, -1]], image[[0, -1]])
    np.testing.assert_array_equal(smooth[:, [0, -1]], image[:, [0, -1]])
    np.testing.assert_array_equal(operations.sharpen(image[:2], 0.0), image[:2])


@pytest.mark.parametrize("degrees", [-30.0, -7.3, 0.0, 11.1, 30.0, 90.0])
@pytest.mark.parametrize("name", ["noise", "large"])
def test_rotations_are_pillows(name, degrees):
    image = IMAGES[name]
    run = jax.jit(
        lambda image, degrees: transform(image, rotation(degrees, *image.shape[:2]), fill=np.array(FILL))
    )
    ours = run(image, degrees)
    theirs = Image.fromarray(image).rotate(degrees, Image.Resampling.NEAREST, fillcolor=FILL)
    # Pillow counts in 1 / 65536 of a pixel, so that a place between two pixels may go to the other.
    assert np.mean((np.asarray(ours) != np.asarray(theirs)).any(axis=-1)) < 1e-3


@pytest.mark.parametrize(
    "matrix",
    [
        (1, 0.3, 0, 0, 1, 0),
        (1, -0.21, 0, 0, 1, 0),
        (1, 0, 0, 0.17, 1, 0),
        (1, 0, 7.2, 0, 1, -3.7),
        (1, 0, 99, 0, 1, 0),
    ],
)
def test_shears_and_translations_are_pillows(matrix):
    image = IMAGES["large"]
    pillow = Image.fromarray(image)
    theirs = pillow.transform(
        pillow.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST, fillcolor=FILL
    )
    assert gap(jax.jit(transform)(image, matrix, fill=np.array(FILL)), theirs) == 0


@pytest.mark.parametrize("turns", [-0.5, -0.13, 0.0, 0.1, 0.5])
def test_hues_are_the_standard_librarys(turns):
    some = RANDOM.integers(0, 256, (200, 3))
    pixels = np.concatenate([some, 255 * np.eye(3), 255 - 255 * np.eye(3), np.full((1, 3), 99)])
    wanted = []
    for pixel in pixels:
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        wanted.append(colorsys.hsv_to_rgb((hue + turns) % 1, saturation, value))
    image, run = jnp.asarray(pixels, jnp.float32)[None], jax.jit(turn_hue)
    np.testing.assert_allclose(run(image, turns)[0], wanted, atol=1e-3)
    np.testing.assert_allclose(run(image.astype(jnp.uint8), turns)[0], wanted, atol=0.501)


def test_other_images_are_refused():
    with pytest.raises(ValueError, match="the images have 1 channels; expected 3"):
        greys(IMAGES["noise"][..., :1])
    for operation in (operations.autocontrast, operations.equalise):
        with pytest.raises(ValueError, match="the images are float32; expected uint8"):
            operation(IMAGES["noise"].astype(np.float32))
