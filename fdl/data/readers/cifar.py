"""The binary format of CIFAR-10 and CIFAR-100: labels and 32 × 32 pixels, row after row."""

import os
from collections.abc import Sequence

import numpy as np

from fdl.arguments import checked
from fdl.data.readers.opened_files import content_of

_PIXELS = 3 * 32 * 32


@checked
def read_cifar10(paths: Sequence[str | os.PathLike[str]]) -> dict[str, np.ndarray]:
    """Reads files of CIFAR-10's binary version (Krizhevsky 2009), one after another.

    Args:
      paths: files whose rows are a label, 0 to 9, and the red, green and blue plane: 3,073 bytes.

    Returns:
      `x`, uint8 `[N, 32, 32, 3]`, and `y`, int32 `[N]`.

    Raises:
      ValueError: no file, one that is empty or ends within a row, or a label out of range.
      OSError: a file cannot be read.

    Example:
      >>> _ = pathlib.Path("one.bin").write_bytes(bytes([7]) + bytes(3072))
      >>> data = fdl.data.read_cifar10(["one.bin"])
      >>> data["x"].shape, data["y"].tolist()
      ((1, 32, 32, 3), [7])
    """
    return _read(paths, {"y": 10})


@checked
def read_cifar100(paths: Sequence[str | os.PathLike[str]]) -> dict[str, np.ndarray]:
    """Reads files of CIFAR-100's binary version (Krizhevsky 2009), one after another.

    Args:
      paths: files whose rows are a coarse label, 0 to 19, a fine one, 0 to 99, and the red, green and
        blue plane: 3,074 bytes.

    Returns:
      `x`, uint8 `[N, 32, 32, 3]`, `y`, the fine labels, int32 `[N]`, and `coarse`, int32 `[N]`.

    Raises:
      ValueError: no file, one that is empty or ends within a row, or a label out of range.
      OSError: a file cannot be read.

    Example:
      >>> _ = pathlib.Path("one.bin").write_bytes(bytes([4, 30]) + bytes(3072))
      >>> data = fdl.data.read_cifar100(["one.bin"])
      >>> data["coarse"].tolist(), data["y"].tolist()
      ([4], [30])
    """
    return _read(paths, {"coarse": 20, "y": 100})


def _read(paths: Sequence[str | os.PathLike[str]], classes: dict[str, int]) -> dict[str, np.ndarray]:
    """Rows of one byte for each label, whose numbers of classes are given in order, and the pixels."""
    if not paths:
        raise ValueError("no CIFAR file is named; expected at least one")
    files = [_rows(path, classes) for path in paths]
    x = np.empty((sum(map(len, files)), 32, 32, 3), np.uint8)
    end = 0
    for rows in files:
        end += len(rows)
        planes = rows[:, len(classes) :].reshape(-1, 3, 32, 32)
        x[end - len(rows) : end] = planes.transpose(0, 2, 3, 1)
    columns = {name: [rows[:, column] for rows in files] for column, name in enumerate(classes)}
    return {"x": x} | {name: np.concatenate(labels).astype(np.int32) for name, labels in columns.items()}


def _rows(path: str | os.PathLike[str], classes: dict[str, int]) -> np.ndarray:
    """One file's bytes `[N, labels + pixels]`, checked."""
    content = content_of(path)
    width = len(classes) + _PIXELS
    if not content or len(content) % width:
        raise ValueError(
            f"{path}: row {len(content) // width} has {len(content) % width} bytes; expected at least one "
            f"row, and {width} bytes in each; download or copy the file again"
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, width)
    for column, (name, count) in enumerate(classes.items()):
        labels = rows[:, column]
        if labels.max() >= count:
            row = int(np.argmax(labels >= count))
            raise ValueError(
                f"{path}: row {row}, byte {row * width + column}: label {name!r} is {labels[row]}; expected "
                f"0 to {count - 1}: is it CIFAR's binary version?"
            )
    return rows
