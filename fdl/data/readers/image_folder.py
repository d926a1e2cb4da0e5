"""Image classification from folders: a folder a class, decoded when a batch needs it."""

import functools
import hashlib
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from fdl import copies, identity
from fdl.arguments import Count, Share, checked
from fdl.data.readers.image_files import SUFFIXES, image_files
from fdl.data.readers.workers import Decode, decoding
from fdl.data.splits import Reader, Rows, Splits

MEAN = (0.485, 0.456, 0.406)
"""What `standardise_colours` takes from red, green and blue in 0..1: ImageNet's mean, as commonly used."""
DEVIATION = (0.229, 0.224, 0.225)
"""What `standardise_colours` then divides by: ImageNet's standard deviation."""

_PARTS = ("train", "validation", "test")


@checked
def image_folder(
    folder: str | os.PathLike[str],
    *,
    size: Count,
    validation: Share[float] = 0.1,
    test: Share[float] = 0.1,
    workers: Count | None = None,
) -> Splits:
    """JPEG and PNG files in a folder for each class, larger than memory if need be.

    Either `folder/train/CLASS/...`, `folder/validation/CLASS/...` and `folder/test/CLASS/...` are the
    parts as they are, or `folder/CLASS/...` is split, the same on every machine: order the files by
    class, those of one class by the SHA-256 digest of their path in the folder (as "cat/a.jpg"). Of N
    files H are held out, T of these for test, each share rounded to whole files: the file at place p
    is held out if `H * p mod N < H`, and the q-th of those goes to test if `T * q mod H < T`, else to
    validation. So every class has its share of each part to within two files.

    The classes are the names of train's folders, sorted. Files may lie deeper inside a class; links to
    folders in there are not followed. Ignored are names that begin with a dot, files outside all
    classes, and files with another suffix than .jpg, .jpeg, .jpe, .jif, .jfif or .png in either case; but a
    picture of another format, by its suffix or its first bytes, or one whose name has no such suffix, is an
    error, as it would be missed. Every file's first bytes are looked at here. An image
    is decoded in a worker process when a batch needs it: turned, converted to RGB, resized and cropped
    as `fdl.data.readers.decoder.decode` says.

    Args:
      folder: where the images are.
      size: S, side of the images in a batch, in pixels.
      validation: share of the files for that part, of a folder that is split.
      test: the same for test.
      workers: worker processes; one for each core that this process may use, if None.

    Returns:
      Parts (`Rows`), in order of class and path, with `x`, uint8 `[S, S, 3]`, and `y`, int32; `prepare`
      is `standardise_colours`. A file that turns out broken when it is decoded is an error of `take`, as
      `fdl.data.readers.workers.decoding` says.

    Raises:
      ValueError: no classes, a class without images, a class that train lacks, a file that is empty
        or no JPEG or PNG, some of the three parts missing, or a number out of range.
      OSError: a file or folder cannot be read.

    Example:
      >>> from PIL import Image
      >>> for name in ("cat", "dog"):
      ...     pathlib.Path("pets", name).mkdir(parents=True)
      ...     for n in range(5): Image.new("RGB", (20, 30)).save(f"pets/{name}/{n}.png")
      >>> splits = fdl.data.image_folder("pets", size=16)
      >>> splits.classes, splits.train.size, splits.train.row["x"].shape
      (('cat', 'dog'), 8, (16, 16, 3))
    """
    root = copies.local(folder)
    decode = decoding(size, workers=workers)
    present = [name for name in _PARTS if (root / name).is_dir()]
    if not present:
        classes, paths, labels = _listed(root)
        numbers = _split([_name(root, path) for path in paths], labels, validation, test)
        pieces = [([paths[row] for row in rows], labels[rows]) for rows in numbers]
    elif len(present) < len(_PARTS):
        raise ValueError(
            f"{root} has {present} but not all of {list(_PARTS)}; add the others, or rename these"
        )
    else:
        classes, *first = _listed(root / "train")
        pieces = [first, *(_listed(root / name, classes)[1:] for name in _PARTS[1:])]
    parts = [_rows(decode, paths, labels, size, root) for paths, labels in pieces]
    reader = Reader(functools.partial(read_unlabelled, size=size, workers=workers), parts[0].identity)
    return Splits(*parts, prepare=standardise_colours, classes=classes, reader=reader)


def standardise_colours(batch: dict) -> dict:
    """`x`, uint8 `[..., 3]`, as float32: divided by 255, less `MEAN`, divided by `DEVIATION`.

    The constants are fixed, so nothing is read before training, every split of every folder is
    prepared alike, and published ImageNet weights see what they were trained on.
    """
    x = batch["x"].astype(jnp.float32) / 255
    return {**batch, "x": (x - jnp.array(MEAN)) / jnp.array(DEVIATION)}


def _rows(decode: Decode, paths: list[str], labels: np.ndarray, size: int, root: Path) -> Rows:
    row = {"x": jax.ShapeDtypeStruct((size, size, 3), np.uint8), "y": jax.ShapeDtypeStruct((), np.int32)}
    labels.flags.writeable = False

    def take(index: np.ndarray) -> dict[str, np.ndarray]:
        return {"x": decode([paths[number] for number in index]), "y": labels[index]}

    return Rows(
        size=len(paths),
        row=row,
        take=take,
        memory={"y": labels},
        where=lambda number: paths[number],
        identity=[identity.files(paths, root=root), labels],
    )


def read_unlabelled(folder: str | os.PathLike[str], *, size: int, workers: int | None = None) -> Rows:
    """The images of a folder, also of deeper ones, or one image, in order of path and without labels; other
    arguments and errors as of `image_folder`."""
    root, decode = copies.local(folder), decoding(size, workers=workers)
    paths = image_files(root) if root.is_dir() else [str(root)]
    if not paths:
        raise ValueError(f"{root}: no images; expected files in {', '.join(SUFFIXES)}")
    return Rows(
        size=len(paths),
        row={"x": jax.ShapeDtypeStruct((size, size, 3), np.uint8)},
        take=lambda index: {"x": decode([paths[number] for number in index])},
        where=lambda number: paths[number],
        identity=identity.files(paths, root=root),
    )


def _listed(
    root: Path, known: tuple[str, ...] | None = None
) -> tuple[tuple[str, ...], list[str], np.ndarray]:
    """The classes, the checked files in order of class and path, and their labels."""
    classes = tuple(sorted(entry.name for entry in root.iterdir() if entry.is_dir() and entry.name[0] != "."))
    if not classes:
        raise ValueError(f"{root} has no folders; expected one for each class, with the images inside")
    label_of = {name: label for label, name in enumerate(known or classes)}
    paths: list[str] = []
    labels: list[int] = []
    for name in classes:
        if name not in label_of:
            raise ValueError(f"{root / name}: no such class in train; expected one of {sorted(label_of)}")
        files = image_files(root / name)
        if not files:
            raise ValueError(
                f"{root / name}: no images; expected files in {', '.join(SUFFIXES)}, or no such folder"
            )
        paths += files
        labels += [label_of[name]] * len(files)
    return known or classes, paths, np.array(labels, np.int32)


def _split(
    names: list[str], labels: np.ndarray, validation: float, test: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rows of train, validation and test by the rule that `image_folder` documents, each sorted."""
    size = len(names)
    tested = round(size * test)
    held_out = tested + round(size * validation)
    if not 1 <= tested < held_out < size:
        raise ValueError(
            f"validation={validation} and test={test} of {size} images leave a part empty; "
            "expected at least one image in each, so give more images or other shares"
        )
    digests = [hashlib.sha256(name.encode()).digest() for name in names]
    order = np.array(sorted(range(size), key=lambda row: (labels[row], digests[row])))
    held = np.arange(size) * held_out % size < held_out
    of_test = np.arange(held_out) * tested % held_out < tested
    return np.sort(order[~held]), np.sort(order[held][~of_test]), np.sort(order[held][of_test])


def _name(root: Path, path: str) -> str:
    """The path inside the folder with slashes, the same text on every machine."""
    name = Path(path).relative_to(root).as_posix()
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{path!r}: the name is not UTF-8, by which files are split; rename it") from None
    return name
