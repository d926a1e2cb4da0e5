"""The content of arrays and files, in short words that stand for it."""

import hashlib
import mmap
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fdl.copies import content_of_copy

_FEW = 20
"""So many files are listed one by one."""
_BLOCK = 1 << 24
"""Bytes hashed together; several blocks are hashed at once."""


def digest_of(text: str) -> str:
    """16 hexadecimal digits that stand for a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def array_words(array: Any) -> str:
    """Dtype, shape and a digest of an array's values, as `"float32[3, 4] 0f1e..."`.

    Raises:
      ValueError: a JAX array of which this process holds a part only.
    """
    if isinstance(array, jax.Array):
        if not array.is_fully_addressable:
            raise ValueError("an array on the devices of other processes has no digest here")
        if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
            return f"{array.dtype} {array_words(jax.random.key_data(array))}"
    values = np.asarray(array)
    flat = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    parts = [flat[start : start + _BLOCK] for start in range(0, flat.size, _BLOCK)]
    if len(parts) > 1:
        with ThreadPoolExecutor() as pool:
            digests = list(pool.map(_digest, parts))
    else:
        digests = [_digest(part) for part in parts]
    whole = hashlib.sha256(b"".join(digests)).hexdigest()[:16]
    return f"{values.dtype}{list(values.shape)} {whole}"


def _digest(part: np.ndarray) -> bytes:
    return hashlib.sha256(part.data).digest()


def mapped_words(array: np.ndarray) -> str | None:
    """The file and the place in it of an array that is memory-mapped; `None` for others."""
    base: Any = array
    while isinstance(base, np.ndarray) and not isinstance(base.base, mmap.mmap):
        base = base.base
    if not isinstance(base, np.memmap) or base.filename is None:
        return None
    place = base.offset + array.ctypes.data - base.ctypes.data
    file = files([base.filename])
    return f"{array.dtype}{list(array.shape)} {list(array.strides)} at {place} of {file}"


def files(paths: Iterable[str | os.PathLike[str]], *, root: str | os.PathLike[str] | None = None) -> Any:
    """Name, size in bytes and time of change in nanoseconds of each file: they stand for what is in it.

    Of a copy of what is in a bucket, whose time is that of copying, a digest of what the store says of the
    bytes takes the place of the time: the same on every machine. Of many files together how many they are,
    their bytes, and a digest of all that.

    Args:
      paths: of the files.
      root: names are relative to it, else without their folders, so that a folder may be moved.

    Raises:
      OSError: a file is not there.
    """
    found = []
    for path in paths:
        status = os.stat(path)
        name = os.path.relpath(path, root) if root else Path(path).name
        found.append([name, status.st_size, content_of_copy(path) or status.st_mtime_ns])
    if len(found) <= _FEW:
        return found
    whole = hashlib.sha256(repr(found).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{len(found)} files of {sum(size for _, size, _ in found)} bytes ({whole})"
