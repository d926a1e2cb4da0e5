"""The contact sheet: every tile is where it should be, with the pixels that it should have."""

import numpy as np
import pytest

from fdl.data.contact_sheet import contact_sheet

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("count", "height", "width", "channels", "columns", "factor"),
    [
        (5, 70, 90, 3, 3, 1),
        (8, 64, 20, 1, 8, 1),
        (3, 28, 28, 1, 8, 3),
        (9, 8, 5, 3, 2, 8),
        (1, 63, 1, 3, 1, 2),
    ],
)
@pytest.mark.parametrize("labelled", [False, True])
def test_tiles_are_in_their_places(count, height, width, channels, columns, factor, labelled):
    images = RNG.integers(0, 255, (count, height, width, channels), dtype=np.uint8)  # never all white
    labels = list(range(count)) if labelled else None
    sheet = np.asarray(contact_sheet(images, labels=labels, columns=columns))
    columns, strip = min(columns, count), 14 if labelled else 0
    high, wide = height * factor, width * factor
    rows = -(-count // columns)
    assert sheet.shape == (4 + rows * (high + 4 + strip), 4 + columns * (wide + 4), 3)
    rest = sheet.copy()
    for number, image in enumerate(images):
        top, left = 4 + number // columns * (high + 4 + strip), 4 + number % columns * (wide + 4)
        shown = sheet[top : top + high, left : left + wide]
        enlarged = np.kron(image, np.ones((factor, factor, 1), np.uint8))
        np.testing.assert_array_equal(shown, np.broadcast_to(enlarged, shown.shape))
        written = sheet[top + high : top + high + strip, left : left + wide]
        assert not labelled or wide < 8 or (written < 128).any()
        rest[top : top + high + strip, left : left + wide] = 255
    assert (rest == 255).all()


@pytest.mark.parametrize("dtype", [np.float32, np.int32, bool])
def test_other_numbers_are_stretched_from_black_to_white(dtype):
    images = np.array([0, 1, 0, 1]).reshape(2, 2, 1).astype(dtype)
    images = images if dtype is bool else images * 6 - 3
    sheet = np.asarray(contact_sheet(images))
    assert sheet[4, 4].tolist() == [0, 0, 0] and sheet[4 + 63, 4].tolist() == [255, 255, 255]


def test_floats_are_rounded_and_what_is_not_finite_is_black():
    images = np.full((1, 64, 5), np.nan)
    images[0, 0] = [-1.0, 1.0, 0.5, np.inf, -np.inf]
    assert np.asarray(contact_sheet(images))[4, 4:9, 0].tolist() == [0, 255, 191, 0, 0]
    assert not np.asarray(contact_sheet(np.full((1, 64, 64), 7.0)))[4:68, 4:68].any()


@pytest.mark.parametrize(
    ("shape", "arguments", "message"),
    [
        ((2, 8), {}, r"shape \[2, 8\]"),
        ((2, 8, 8, 2), {}, "C 1 or 3"),
        ((0, 8, 8, 3), {}, "none of them 0"),
        ((2, 8, 8, 3), {"columns": 0}, "columns is 0"),
        ((2, 8, 8, 3), {"labels": [1]}, "labels are 1 for 2 images"),
    ],
)
def test_errors_are_one_line(shape, arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        contact_sheet(np.zeros(shape), **arguments)
    assert "\n" not in str(caught.value)
