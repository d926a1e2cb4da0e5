"""Photographs and faces that come with scikit-image (extra `embedded`); nothing is downloaded."""

import functools
from types import ModuleType

import jax.numpy as jnp
import numpy as np

from fdl.arguments import Count, checked
from fdl.data.datasets.data_set import DataSet, Origin
from fdl.data.datasets.tables import part
from fdl.data.partition import split_rows
from fdl.data.splits import Splits


def photos() -> dict[str, np.ndarray]:
    """Colour pictures by name, uint8 `[H, W, 3]`, stored without loss, so the same with every decoder.

    "astronaut" (512 × 512, NASA), "chelsea" (a cat, 300 × 451) and "coffee" (a cup, 400 × 600) are
    photographs, "immunohistochemistry" (stained glands, 512 × 512) is a micrograph. All are free of
    known copyright restrictions, as scikit-image's documentation of each says. The arrays are read-only.

    Raises:
      ValueError: scikit-image is not installed.

    Example:
      >>> fdl.data.photos()["chelsea"].shape  # doctest: +SKIP
      (300, 451, 3)
    """
    return dict(_photos())


@checked
def photo_patches(*, size: Count = 16) -> Splits:
    """Square patches of `photos`, to be reconstructed, in-painted or upscaled.

    Each picture is cut from its upper left corner into a grid of patches that do not overlap; what is
    left at the right and at the bottom is dropped. The patches, numbered in reading order, picture by
    picture, are split by the rule of `partition.split_rows`, a patch's label being its picture. So all
    parts have patches of all pictures: a test score is about unseen places of seen scenes, not about
    new scenes.

    Args:
      size: S, side of a patch in pixels, 1 to 80.

    Returns:
      Parts with `x`, uint8 `[N, S, S, 3]`; `prepare` makes it float32 in [0, 1].

    Raises:
      ValueError: a size out of range, or scikit-image is not installed.

    Example:
      >>> fdl.data.photo_patches(size=32).train["x"].shape[1:]  # doctest: +SKIP
      (32, 32, 3)
    """
    if not 1 <= size <= 80:
        raise ValueError(f"size is {size}; expected 1 to 80 pixels, so that every picture has 15 patches")
    patches, labels = [], []
    for label, photo in enumerate(_photos().values()):
        rows, columns = photo.shape[0] // size, photo.shape[1] // size
        grid = photo[: rows * size, : columns * size].reshape(rows, size, columns, size, 3)
        patches.append(grid.swapaxes(1, 2).reshape(-1, size, size, 3))
        labels += [label] * (rows * columns)
    x = np.concatenate(patches)
    train, validation, test = ({"x": x[rows]} for rows in split_rows(np.array(labels), len(x)))
    return Splits(train, validation, test, prepare=_unit)


def faces() -> Splits:
    """Faces against background: 100 grey faces of "Labeled Faces in the Wild" and 100 pieces of its
    backgrounds, 25 × 25 pixels (scikit-image's `lfw_subset`).

    Split 120 / 40 / 40 by the rule of `partition.split_rows` on the images in scikit-image's order.
    All pixels are shifted and scaled alike, to mean 0 and standard deviation 1 over train.

    Returns:
      Parts with `x`, float32 `[N, 25, 25, 1]`, and `y`, int32 `[N]`: 0 background, 1 face; the arrays
      are read-only.

    Raises:
      ValueError: scikit-image is not installed.

    Example:
      >>> fdl.data.faces().train["x"].shape  # doctest: +SKIP
      (120, 25, 25, 1)
    """
    train, validation, test = (dict(arrays) for arrays in _faces())
    return Splits(train, validation, test, classes=("background", "face"))


def _unit(batch: dict) -> dict:
    return {**batch, "x": batch["x"].astype(jnp.float32) / 255}


@functools.cache
def _photos() -> dict[str, np.ndarray]:
    data = _skimage_data()
    pictures = {
        "astronaut": data.astronaut(),
        "chelsea": data.chelsea(),
        "coffee": data.coffee(),
        "immunohistochemistry": data.immunohistochemistry(),
    }
    for picture in pictures.values():
        picture.flags.writeable = False
    return pictures


@functools.cache
def _faces() -> tuple[dict[str, np.ndarray], ...]:
    images = _skimage_data().lfw_subset()
    y = (np.arange(200) < 100).astype(np.int32)  # the faces come first
    rows = split_rows(y, len(y))
    x = ((images - images[rows[0]].mean()) / images[rows[0]].std())[..., None]
    return tuple(part(x, y, numbers) for numbers in rows)


def _skimage_data() -> ModuleType:
    try:
        import skimage.data
    except ImportError as error:
        raise ValueError("photos and faces need the extra 'embedded': pip install fdl[embedded]") from error
    return skimage.data


DATA_SETS = (
    DataSet("photos", "4 colour pictures of different sizes", Origin.LIBRARY, photos),
    DataSet("photo_patches", "square patches of the 4 pictures", Origin.LIBRARY, photo_patches),
    DataSet("faces", "100 faces and 100 pieces of background, 25 x 25", Origin.LIBRARY, faces),
)
