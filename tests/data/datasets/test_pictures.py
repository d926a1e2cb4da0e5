"""Photographs, their patches, and faces: what scikit-image has, cut and split as documented."""

import hashlib
import sys

import numpy as np
import pytest

from fdl.data.partition import split_rows

skimage_data = pytest.importorskip("skimage.data", reason="needs the extra 'embedded'")

from fdl.data.datasets import pictures as module  # noqa: E402
from fdl.data.datasets.pictures import faces, photo_patches, photos  # noqa: E402

SHAPES = {
    "astronaut": (512, 512, 3),
    "chelsea": (300, 451, 3),
    "coffee": (400, 600, 3),
    "immunohistochemistry": (512, 512, 3),
}
DIGESTS = {
    "astronaut": "a8c429c18afa7b0fd5673e598d73a21225d94c864a71bbb3885126fdecb41071",
    "chelsea": "416b729128bfb2c3d1eb69bf9b1734a796293abc17939267b2dc94f8a5784031",
    "coffee": "0ce2b51640b9c95f19617f03eabf40c3f0368589cc1ee1190b70966165ac184f",
    "immunohistochemistry": "c5b3ef509a92f16d4c29be8cf0300fe75d53e13a3ce650159db932caea8dcc1b",
    "faces": "ce1ab433bd0a896d88a87e40efdf37d9e1ce98bbd3317b498da9f0a7b8e125d5",
}


def parts(splits):
    return [getattr(splits, name) for name in ("train", "validation", "test")]


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


@pytest.mark.parametrize("name", SHAPES)
def test_photos_are_the_same_for_ever(name):
    assert photos()[name].dtype == np.uint8 and photos()[name].shape == SHAPES[name]
    assert digest(photos()[name]) == DIGESTS[name]


def test_callers_cannot_change_what_others_get():
    found = photos()
    with pytest.raises(ValueError, match="read-only"):
        found["coffee"][0, 0, 0] = 1
    del found["coffee"]
    assert set(photos()) == set(SHAPES)


@pytest.mark.parametrize("size", [16, 50])
def test_patches_are_cut_and_split_as_documented(size):
    expected, labels = [], []
    for label, photo in enumerate(photos().values()):
        for row in range(0, photo.shape[0] - size + 1, size):
            for column in range(0, photo.shape[1] - size + 1, size):
                expected.append(photo[row : row + size, column : column + size])
                labels.append(label)
    for part, rows in zip(
        parts(photo_patches(size=size)), split_rows(np.array(labels), len(labels)), strict=True
    ):
        np.testing.assert_array_equal(part["x"], np.stack(expected)[rows])
        assert part["x"].dtype == np.uint8
        assert set(np.array(labels)[rows]) == {0, 1, 2, 3}


def test_prepare_scales_to_one():
    splits = photo_patches(size=64)
    assert splits.prepare is not None
    ready = splits.prepare(parts(splits)[2])["x"]
    assert ready.dtype == np.float32
    np.testing.assert_allclose(ready, parts(splits)[2]["x"] / 255.0, rtol=1e-6)


@pytest.mark.parametrize("size", [0, 81])
def test_size_of_patches_out_of_range(size):
    with pytest.raises(ValueError, match=f"size is {size}; expected (1 to 80|at least 1)"):
        photo_patches(size=size)


def test_faces_are_split_and_standardised_as_documented():
    images = skimage_data.lfw_subset()
    assert digest(images) == DIGESTS["faces"]
    y = np.array([1] * 100 + [0] * 100)
    rows = split_rows(y, 200)
    mean, scale = images[rows[0]].mean(), images[rows[0]].std()
    assert faces().classes == ("background", "face")
    for part, numbers in zip(parts(faces()), rows, strict=True):
        assert part["x"].shape == (len(numbers), 25, 25, 1) and part["x"].dtype == np.float32
        np.testing.assert_allclose(part["x"][..., 0] * scale + mean, images[numbers], atol=1e-6)
        np.testing.assert_array_equal(part["y"], y[numbers])
        np.testing.assert_array_equal(np.bincount(part["y"]), [len(numbers) // 2] * 2)


@pytest.mark.parametrize("load", [module._photos, module._faces])
def test_without_the_extra(monkeypatch, load):
    monkeypatch.setitem(sys.modules, "skimage.data", None)
    with pytest.raises(ValueError, match=r"extra 'embedded': pip install fdl\[embedded\]"):
        load.__wrapped__()
