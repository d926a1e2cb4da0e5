"""Image folders: a fixed split, and clear errors."""

import hashlib
import os
import threading
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from fdl.data.readers.image_folder import DEVIATION, MEAN, image_folder, standardise_colours
from fdl.data.splits import Splits, parts, row_of
from tests.data.images import (
    SIZE,
    encoded,
    everything,
    expected,
    folder_of,
    loaded,
    one_row,
    picture,
    put,
    rows,
    train_part,
)


def listing(root):
    """Every file of a folder of classes with its label, in the documented order."""
    return [
        (path.relative_to(root).as_posix(), label)
        for label, name in enumerate(sorted(folder.name for folder in root.iterdir()))
        for path in sorted((root / name).iterdir(), key=str)
    ]


def documented_split(root, validation, test):
    rows = sorted(listing(root), key=lambda row: (row[1], hashlib.sha256(row[0].encode()).hexdigest()))
    tested = round(len(rows) * test)
    held_out = tested + round(len(rows) * validation)
    split: dict[str, list] = {"train": [], "validation": [], "test": []}
    held = 0
    for place, row in enumerate(rows):
        if held_out * place % len(rows) >= held_out:
            split["train"].append(row)
        else:
            split["test" if tested * held % held_out < tested else "validation"].append(row)
            held += 1
    return {name: sorted(part, key=lambda row: (row[1], row[0])) for name, part in split.items()}


@pytest.mark.parametrize(("validation", "test"), [(0.1, 0.1), (0.25, 0.15)])
def test_a_folder_is_split_as_documented(tmp_path, validation, test):
    splits = image_folder(folder_of(tmp_path, each=20), size=SIZE, validation=validation, test=test)
    assert splits.classes == ("cat", "dog")
    for name, files in documented_split(tmp_path, validation, test).items():
        part = rows(parts(splits)[name])
        taken = everything(part)
        np.testing.assert_array_equal(taken["y"], [label for _, label in files])
        np.testing.assert_array_equal(part.memory["y"], taken["y"])
        wanted = [expected(Image.open(tmp_path / path)) for path, _ in files]
        np.testing.assert_array_equal(taken["x"], wanted)
        assert {k: (v.shape[1:], v.dtype) for k, v in taken.items()} == {
            k: (v.shape, v.dtype) for k, v in row_of(part).items()
        }
        share = {"validation": validation, "test": test}.get(name, 1 - validation - test) * 20
        assert all(abs(count - share) <= 2 for count in Counter(taken["y"].tolist()).values())


def test_parts_that_are_there_are_kept(tmp_path):
    for name, each in (("train", 3), ("validation", 2), ("test", 1)):
        folder_of(tmp_path / name, each=each)
    (tmp_path / "test" / "cat" / "0.jpg").unlink()
    (tmp_path / "test" / "cat").rmdir()
    assert [everything(part)["y"].tolist() for part in loaded(tmp_path).values()] == [
        [0, 0, 0, 1, 1, 1],
        [0, 0, 1, 1],
        [1],  # a part need not have every class, and the label is that of train
    ]


def test_what_is_no_image_is_ignored_and_depth_is_not(tmp_path):
    folder_of(tmp_path, each=5)
    alone = [part.size for part in loaded(tmp_path).values()]
    for name in ("cat/Thumbs.db", "cat/.DS_Store", "dog/._0.jpg", "dog/notes.txt", ".git/a.jpg", "a.jpg"):
        put(tmp_path / name, b"something else")
    assert [part.size for part in loaded(tmp_path).values()] == alone
    put(tmp_path / "cat" / "deep" / "er" / "0.jpg", encoded(picture(9, 9)))
    assert sum(part.size for part in loaded(tmp_path).values()) == sum(alone) + 1


def test_standardise_colours_takes_off_the_documented_constants():
    x = np.random.default_rng(0).integers(0, 256, (4, 5, 5, 3), dtype=np.uint8)
    batch = standardise_colours({"x": x, "y": np.arange(4)})
    wanted = (x / 255.0 - np.array(MEAN)) / np.array(DEVIATION)
    assert batch["x"].dtype == np.float32 and list(batch["y"]) == [0, 1, 2, 3]
    np.testing.assert_allclose(batch["x"], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("index", [[3], [], [5, 5, 0, 15, 5], list(range(15, -1, -1))], ids=str)
def test_rows_do_not_depend_on_the_order(tmp_path, index):
    part, whole = train_part(folder_of(tmp_path))
    taken = part.take(np.array(index, int))
    np.testing.assert_array_equal(taken["x"], whole[index])
    assert taken["x"].dtype == np.uint8 and taken["y"].dtype == np.int32


def test_threads_get_their_own_rows(tmp_path):
    part, whole = train_part(folder_of(tmp_path))
    orders = [np.random.default_rng(seed).integers(0, part.size, 25) for seed in range(8)]
    taken: dict[int, np.ndarray] = {}

    def take(number):
        taken[number] = part.take(orders[number])["x"]

    threads = [threading.Thread(target=take, args=(number,)) for number in range(len(orders))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, order in enumerate(orders):
        np.testing.assert_array_equal(taken[number], whole[order])


LISTED = {
    "zero bytes": ("cat/x.jpg", b"", ValueError, "the file is empty"),
    "text called jpg": ("cat/x.jpg", b"hello, world", ValueError, "no JPEG or PNG"),
    "a GIF called png": ("cat/x.png", b"GIF89a....", ValueError, "no JPEG or PNG"),
    "shorter than a magic number": ("cat/x.png", b"\x89PNG", ValueError, "no JPEG or PNG"),
    "another format": ("cat/x.webp", b"RIFF", ValueError, "expected JPEG or PNG"),
    "a bitmap": ("cat/x.PPM", b"P6 1 1 255 abc", ValueError, "expected JPEG or PNG"),
    "a picture of another name": ("cat/x.dat", encoded(picture(9, 9)), ValueError, "does not end in"),
    "a picture without a suffix": ("cat/x", encoded(picture(9, 9), "PNG"), ValueError, "does not end in"),
    "an unknown picture": ("cat/deep/x", encoded(picture(9, 9), "GIF"), ValueError, "as an image does"),
    "a TIFF": ("cat/x.dat", encoded(picture(9, 9), "TIFF"), ValueError, "as an image does"),
    "a BMP": ("cat/x.dat", encoded(picture(9, 9), "BMP"), ValueError, "as an image does"),
    "a WebP": ("cat/x.dat", encoded(picture(9, 9), "WEBP"), ValueError, "as an image does"),
    "a PPM": ("cat/x.dat", encoded(picture(9, 9), "PPM"), ValueError, "as an image does"),
    "a folder called jpg": ("cat/x.jpg/", None, OSError, "is a folder"),
    "a broken link": ("cat/x.jpg", "nowhere", OSError, "cannot be read"),
    "an empty class": ("cow/", None, ValueError, "no images"),
    "a class with other files": ("cow/readme.txt", b"moo", ValueError, "no images"),
    "one part of three": ("train/cat/x.jpg", encoded(picture(9, 9)), ValueError, "not all of"),
}


@pytest.mark.parametrize("case", LISTED)
def test_errors_before_training(tmp_path, case):
    name, content, kind, message = LISTED[case]
    path = folder_of(tmp_path, each=2) / name
    if isinstance(content, bytes):
        put(path, content)
    elif content is None:
        path.mkdir()
    else:
        path.symlink_to(tmp_path / content)
    with pytest.raises(kind, match=message) as caught:
        image_folder(tmp_path, size=SIZE)
    told = str(caught.value)
    assert "\n" not in told and str(tmp_path / name.split("/")[0]) in told.replace(
        f"{tmp_path} has", str(path)
    )


@pytest.mark.parametrize("name", ("a.JFIF", "b.jpe", "c.jif"))
def test_other_names_of_jpeg(tmp_path, name):
    folder_of(tmp_path, each=5)
    put(tmp_path / "cat" / name, encoded(picture(9, 9)))
    assert sum(part.size for part in loaded(tmp_path).values()) == 11


def test_a_fifo_never_hangs(tmp_path):
    folder_of(tmp_path, each=5)
    os.mkfifo(tmp_path / "cat" / "pipe")  # not called an image, so it is ignored
    assert sum(part.size for part in loaded(tmp_path).values()) == 10
    os.mkfifo(tmp_path / "cat" / "x.png")
    for read in (lambda: loaded(tmp_path), lambda: one_row(tmp_path / "cat" / "x.png")):
        with pytest.raises(ValueError, match=r"x\.png.* FIFO"):
            read()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "size is 0"),
        ({"size": SIZE, "workers": 0}, "workers is 0"),
        ({"size": SIZE, "test": 0.0}, "leave a part empty"),
        ({"size": SIZE, "validation": 0.5, "test": 0.5}, "leave a part empty"),
    ],
)
def test_numbers_out_of_range(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        image_folder(folder_of(tmp_path), **arguments)


def test_folders_that_are_none(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        image_folder(tmp_path / "nowhere", size=SIZE)
    put(tmp_path / "a.jpg", encoded(picture(9, 9)))
    with pytest.raises(ValueError, match="has no folders; expected one for each class"):
        image_folder(tmp_path, size=SIZE)


def test_a_class_that_train_lacks(tmp_path):
    for name in Splits._fields[:3]:
        folder_of(tmp_path / name, each=1)
    put(tmp_path / "test" / "cow" / "0.jpg", encoded(picture(9, 9)))
    with pytest.raises(ValueError, match=r"cow: no such class in train; expected one of \['cat', 'dog'\]"):
        image_folder(tmp_path, size=SIZE)


def test_a_file_that_disappears(tmp_path):
    part = loaded(folder_of(tmp_path, each=5), workers=1)["train"]
    for path in (tmp_path / "cat").iterdir():
        path.unlink()
    with pytest.raises(OSError, match=r"cat/\d\.jpg: cannot be read: .*No such file"):
        everything(part)
