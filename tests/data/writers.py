"""Writers of the files of MNIST and CIFAR, number by number."""

import struct
from collections.abc import Sequence

import numpy as np

CODES = {"B": 0x08, "b": 0x09, "h": 0x0B, "i": 0x0C, "f": 0x0D, "d": 0x0E}


def idx(array: np.ndarray, code: str = "B") -> bytes:
    """Writes the format number by number."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, CODES[code], array.ndim, *array.shape)
    return header + b"".join(struct.pack(">" + code, value) for value in array.ravel().tolist())


def cifar(images: np.ndarray, *labels: Sequence[int] | np.ndarray) -> bytes:
    """Writes the format byte by byte: labels, then the planes of each image `[32, 32, 3]`."""
    content = bytearray()
    for row, image in enumerate(images):
        content += bytes(int(column[row]) for column in labels)
        for channel in range(3):
            content += bytes(int(image[y, x, channel]) for y in range(32) for x in range(32))
    return bytes(content)
