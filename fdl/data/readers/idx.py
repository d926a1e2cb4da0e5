"""IDX files, the format of the MNIST family: a typed array after a short header."""

import gzip
import math
import os
import struct
import zlib
from typing import IO

import numpy as np

from fdl.arguments import checked
from fdl.data.readers.opened_files import opened
from fdl.storage import Folder, path_of

_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_CHUNK = 2**20  # bytes: a header may claim more than there is memory for
_Bytes = IO[bytes] | gzip.GzipFile


@checked
def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads an IDX file, compressed by gzip or not (told apart by its first bytes, not by its name).

    The format is that of LeCun, Cortes and Burges, "The MNIST database of handwritten digits": two
    zero bytes, the element type, the number of dimensions, their sizes (32 bits each), the elements;
    big-endian, last dimension fastest.

    Args:
      path: the file.

    Returns:
      An array of the file's shape and element type (uint8, int8, int16, int32, float32, float64), in
      the machine's byte order.

    Raises:
      ValueError: not such a file, or shorter or longer than its header says.
      OSError: the file cannot be read.

    Example:
      >>> header = bytes([0, 0, 8, 1, 0, 0, 0, 3])  # uint8, one dimension of 3
      >>> _ = pathlib.Path("labels").write_bytes(header + bytes([5, 0, 4]))
      >>> fdl.data.read_idx("labels")
      array([5, 0, 4], dtype=uint8)
    """
    path = path_of(path)
    with opened(path) as raw:
        compressed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if not compressed:
            return _array(path, raw)
        with gzip.open(raw) as file:
            return _array(path, file)


def read_labelled(
    images: str | os.PathLike[str], labels: str | os.PathLike[str], *, classes: int
) -> dict[str, np.ndarray]:
    """Reads two IDX files that belong together.

    Args:
      images: uint8 `[N, H, W]`.
      labels: uint8 `[N]`, each below `classes`.
      classes: how many there are.

    Returns:
      `x`, uint8 `[N, H, W, 1]`, and `y`, int32 `[N]`.

    Raises:
      ValueError: a faulty file, other shapes or types, counts that disagree, no rows, or a wrong label.
      OSError: a file cannot be read.
    """
    x, y = read_idx(images), read_idx(labels)
    for path, array, rank, shape in ((images, x, 3, "[N, H, W]"), (labels, y, 1, "[N]")):
        if array.dtype != np.uint8 or array.ndim != rank or not array.size:
            raise ValueError(f"{path}: holds {array.dtype} {list(array.shape)}; expected uint8 {shape}")
    if len(x) != len(y):
        raise ValueError(f"{images} has {len(x)} images but {labels} has {len(y)} labels; expected as many")
    if y.max() >= classes:
        row = int(np.argmax(y >= classes))
        raise ValueError(f"{labels}: byte {8 + row}: label {row} is {y[row]}; expected 0 to {classes - 1}")
    return {"x": x[..., None], "y": y.astype(np.int32)}


def _array(path: Folder, file: _Bytes) -> np.ndarray:
    magic = _read(path, file, 4, 0)
    if magic[:2] != b"\0\0" or magic[2] not in _DTYPES or not 1 <= magic[3] <= 64:
        raise ValueError(
            f"{path}: byte 0: begins with {bytes(magic)!r}; expected IDX: two zero bytes, an element type "
            "(8, 9, 11, 12, 13 or 14) and 1 to 64 dimensions"
        )
    shape = struct.unpack(f">{magic[3]}I", _read(path, file, 4 * magic[3], 4))
    dtype = np.dtype(_DTYPES[magic[2]])
    start = 4 + 4 * magic[3]
    end = start + math.prod(shape) * dtype.itemsize
    content = _read(path, file, end - start, start)
    if _some(path, file, 1, end):
        raise ValueError(
            f"{path}: byte {end}: more bytes follow; expected the end there, as the header says {list(shape)}"
        )
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _read(path: Folder, file: _Bytes, size: int, position: int) -> bytearray:
    """As many bytes, in chunks: a header that claims too much must not take the memory for it."""
    content = bytearray()
    while len(content) < size:
        chunk = _some(path, file, min(_CHUNK, size - len(content)), position + len(content))
        if not chunk:
            raise ValueError(
                f"{path}: ends at byte {position + len(content)}; expected {position + size} bytes at least; "
                "download or copy it again"
            )
        content += chunk
    return content


def _some(path: Folder, file: _Bytes, size: int, position: int) -> bytes:
    try:
        return file.read(size)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(
            f"{path}: the compressed data is damaged or cut short after unpacked byte {position} ({error}); "
            "download or copy it again"
        ) from error
