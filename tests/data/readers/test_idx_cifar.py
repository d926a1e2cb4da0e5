"""The files of MNIST and CIFAR, and every way in which a file can be wrong."""

import gzip
import os

import jax
import numpy as np
import pytest

from fdl.data.readers.cifar import read_cifar10, read_cifar100
from fdl.data.readers.idx import read_idx, read_labelled
from fdl.data.scaling import standardise
from tests.data.writers import CODES, cifar, idx

RANDOM = np.random.default_rng(0)


def one_line(error: pytest.ExceptionInfo[BaseException]) -> str:
    text = str(error.value)
    assert text and "\n" not in text
    return text


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 1, 3, 2), (0, 4)])
def test_idx_agrees_with_struct(tmp_path, pack, code, shape):
    array = RANDOM.integers(0, 100, shape) * (-1 if code in "bhi" else 1) / (3 if code in "fd" else 1)
    array = array.astype(np.dtype(code))
    (tmp_path / "file").write_bytes(pack(idx(array, code)))  # the name does not say which it is
    found = read_idx(tmp_path / "file")
    assert found.dtype == array.dtype and found.dtype.isnative
    np.testing.assert_array_equal(found, array)


IMAGES, LABELS = RANDOM.integers(0, 256, (6, 4, 3)), RANDOM.integers(0, 10, 6)
GOOD_IDX = idx(IMAGES)
BAD_IDX = {
    "nothing": (b"", "ends at byte 0"),
    "a cut magic": (GOOD_IDX[:3], "ends at byte 3"),
    "a cut header": (GOOD_IDX[:9], "ends at byte 9"),
    "a cut body": (GOOD_IDX[:-7], f"ends at byte {len(GOOD_IDX) - 7}; expected {len(GOOD_IDX)}"),
    "trailing bytes": (GOOD_IDX + b"\0", f"byte {len(GOOD_IDX)}: more bytes follow"),
    "a page": (b"<!DOCTYPE html>", "byte 0: begins with b'<!DO'"),
    "another magic": (b"\0\1" + GOOD_IDX[2:], "byte 0"),
    "an unknown type": (b"\0\0\x0a" + GOOD_IDX[3:], "element type"),
    "no dimensions": (b"\0\0\x08\0" + b"x", "1 to 64 dimensions"),
    "too many dimensions": (b"\0\0\x08\xff" + b"\0" * 2000, "1 to 64 dimensions"),
    "a huge shape": (b"\0\0\x08\3" + b"\xff" * 12 + b"x" * 50, "ends at byte 66"),
    "a cut gzip": (gzip.compress(GOOD_IDX)[:-20], "cut short after unpacked byte"),
    "a gzip cut in its header": (gzip.compress(GOOD_IDX)[:5], "cut short after unpacked byte 0"),
    "a gzip without its last byte": (gzip.compress(GOOD_IDX)[:-1], f"after unpacked byte {len(GOOD_IDX)}"),
    "a gzip with a wrong checksum": (
        gzip.compress(GOOD_IDX)[:-8] + b"none" + gzip.compress(GOOD_IDX)[-4:],
        "damaged",
    ),
    "a gzip with trailing bytes": (gzip.compress(GOOD_IDX + b"more"), "more bytes follow"),
    "a gzip of a page": (gzip.compress(b"<!DOCTYPE html>"), "byte 0: begins with b'<!DO'"),
}


@pytest.mark.parametrize("name", BAD_IDX)
def test_a_bad_idx_file_is_one_line(tmp_path, name):
    content, text = BAD_IDX[name]
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError) as error:
        read_idx(tmp_path / "file")
    assert one_line(error).startswith(str(tmp_path / "file")) and text in one_line(error)


BAD_PAIRS = {
    "fewer labels": (IMAGES, LABELS[:5], "6 images but"),
    "fewer images": (IMAGES[:5], LABELS, "5 images but"),
    "a label out of range": (
        IMAGES,
        np.array([1, 2, 10, 3, 11, 4]),
        "byte 10: label 2 is 10; expected 0 to 9",
    ),
    "labels for images": (LABELS, LABELS, "expected uint8 [N, H, W]"),
    "images for labels": (IMAGES, IMAGES, "expected uint8 [N]"),
    "no rows": (IMAGES[:0], LABELS[:0], "expected uint8 [N, H, W]"),
}


@pytest.mark.parametrize("name", BAD_PAIRS)
def test_files_that_do_not_belong_together_are_one_line(tmp_path, name):
    images, labels, text = BAD_PAIRS[name]
    (tmp_path / "images").write_bytes(idx(images))
    (tmp_path / "labels").write_bytes(idx(labels))
    with pytest.raises(ValueError) as error:
        read_labelled(tmp_path / "images", tmp_path / "labels", classes=10)
    assert str(tmp_path) in one_line(error) and text in one_line(error)


def test_a_pair_is_read(tmp_path):
    (tmp_path / "images").write_bytes(idx(IMAGES))
    (tmp_path / "labels").write_bytes(idx(LABELS))
    part = read_labelled(tmp_path / "images", tmp_path / "labels", classes=10)
    np.testing.assert_array_equal(part["x"][..., 0], IMAGES)
    np.testing.assert_array_equal(part["y"], LABELS)
    assert part["x"].shape == (6, 4, 3, 1) and part["x"].dtype == np.uint8 and part["y"].dtype == np.int32


PHOTOS = RANDOM.integers(0, 256, (5, 32, 32, 3))
FINE, COARSE = np.array([99, 0, 5, 50, 7]), np.array([19, 0, 3, 4, 5])


def test_cifar10_agrees_with_a_writer_by_bytes(tmp_path):
    (tmp_path / "1").write_bytes(cifar(PHOTOS[:2], FINE[:2] % 10))
    (tmp_path / "2").write_bytes(cifar(PHOTOS[2:], FINE[2:] % 10))
    part = read_cifar10([tmp_path / "1", tmp_path / "2"])
    np.testing.assert_array_equal(part["x"], PHOTOS)
    np.testing.assert_array_equal(part["y"], FINE % 10)
    assert part["x"].dtype == np.uint8 and part["y"].dtype == np.int32


def test_cifar100_agrees_with_a_writer_by_bytes(tmp_path):
    (tmp_path / "1").write_bytes(cifar(PHOTOS, COARSE, FINE))
    part = read_cifar100([tmp_path / "1"])
    np.testing.assert_array_equal(part["x"], PHOTOS)
    np.testing.assert_array_equal(part["y"], FINE)
    np.testing.assert_array_equal(part["coarse"], COARSE)
    assert {name: str(array.dtype) for name, array in part.items()} == {
        "x": "uint8",
        "y": "int32",
        "coarse": "int32",
    }


TEN, HUNDRED = cifar(PHOTOS, FINE % 10), cifar(PHOTOS, COARSE, FINE)
BAD_CIFAR = {
    "nothing": (read_cifar10, b"", "row 0 has 0 bytes"),
    "a cut row": (read_cifar10, TEN[:-100], "row 4 has 2973 bytes"),
    "a trailing byte": (read_cifar10, TEN + b"\n", "row 5 has 1 bytes"),
    "a page": (read_cifar10, b"<!DOCTYPE html>", "row 0 has 15 bytes"),
    "a label out of range": (
        read_cifar10,
        cifar(PHOTOS, [1, 9, 10, 0, 11]),
        "row 2, byte 6146: label 'y' is 10",
    ),
    "CIFAR-100 in CIFAR-10": (read_cifar10, HUNDRED, "row 5 has 5 bytes"),
    "a cut row of 100": (read_cifar100, HUNDRED[:-1], "row 4 has 3073 bytes"),
    "a fine label out of range": (
        read_cifar100,
        cifar(PHOTOS, COARSE, FINE + 1),
        "row 0, byte 1: label 'y' is 100; expected 0 to 99",
    ),
    "a coarse label out of range": (
        read_cifar100,
        cifar(PHOTOS, FINE, FINE),
        "row 0, byte 0: label 'coarse' is 99; expected 0 to 19",
    ),
}


@pytest.mark.parametrize("name", BAD_CIFAR)
def test_a_bad_cifar_file_is_one_line(tmp_path, name):
    read, content, text = BAD_CIFAR[name]
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError) as error:
        read([tmp_path / "file"])
    assert one_line(error).startswith(str(tmp_path / "file")) and text in one_line(error)


def test_no_cifar_file_is_one_line():
    with pytest.raises(ValueError, match="at least one") as error:
        read_cifar10([])
    assert one_line(error)


@pytest.mark.parametrize("read", [read_idx, lambda path: read_cifar10([path])], ids=["idx", "cifar"])
@pytest.mark.parametrize("what", ["missing", "folder", "unreadable"])
def test_a_file_that_cannot_be_read(tmp_path, read, what):
    path = tmp_path / "file"
    if what == "folder":
        path.mkdir()
    if what == "unreadable":
        path.touch(mode=0)
        if os.access(path, os.R_OK):
            pytest.skip("this user may read every file")
    with pytest.raises(OSError) as error:
        read(path)
    assert str(path) in one_line(error)


@pytest.mark.parametrize("channels", [1, 3])
def test_standardise_agrees_with_numpy(channels):
    images = RANDOM.integers(0, 256, (1500, 5, 4, channels)).astype(np.uint8)
    images[..., -1] //= 3
    batch = jax.jit(standardise(images))({"x": images[:7], "y": np.arange(7)})
    flat = images.reshape(-1, channels).astype(np.float64)
    expected = (images[:7] - flat.mean(axis=0)) / flat.std(axis=0)
    assert batch["x"].dtype == np.float32
    np.testing.assert_allclose(batch["x"], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(batch["y"], np.arange(7))


def test_standardise_only_shifts_a_constant_channel():
    batch = standardise(np.full((3, 2, 2, 1), 7, np.uint8))({"x": np.array([[[[7]], [[9]]]], np.uint8)})
    assert np.asarray(batch["x"]).ravel().tolist() == [0.0, 2.0]
