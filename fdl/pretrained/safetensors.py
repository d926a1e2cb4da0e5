"""The safetensors format: a header of JSON, then the arrays' bytes; nothing in it is ever run."""

import json
import math
import os
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

_LARGEST_HEADER = 100_000_000  # bytes, the format's own limit
_DTYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(jnp.bfloat16),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}


def parse_safetensors(content: np.ndarray, path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file by name, as views of its bytes.

    Eight bytes give the header's length N, little-endian; the header, N bytes of JSON, gives each
    array's dtype, shape and place among the bytes that follow, which it must cover without gaps.

    Args:
      content: the whole file, uint8 `[L]`.
      path: for messages.

    Raises:
      ValueError: a damaged or incomplete file, or a dtype that NumPy does not have.
    """
    start, header = _header(content, path)
    tensors, end = {}, 0
    for name, entry in sorted(header.items(), key=_start_of):
        dtype, shape, (first, last) = _checked(name, entry, path)
        size = math.prod(shape) * dtype.itemsize
        if first != end or last - first != size:
            raise ValueError(
                f"{path}: {name} has bytes {first} to {last}; expected {end} to {end + size}, "
                f"as it is {dtype} {list(shape)}: fetch the file again"
            )
        end = last
        if start + end <= len(content):
            tensors[name] = _tensor(content[start + first : start + end], name, dtype, shape, path)
    if start + end != len(content):
        raise ValueError(
            f"{path} has {len(content)} bytes; expected {start + end}, by its header: fetch the file again"
        )
    return tensors


def safetensors_of(arrays: Mapping[str, np.ndarray]) -> bytes:
    """A safetensors file of arrays by name, in the order of their names: what `parse_safetensors` reads.

    Raises:
      ValueError: a dtype that the format does not have.
    """
    header, parts, end = {}, [], 0
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        code = _CODES.get(array.dtype.newbyteorder("<"))
        if code is None:
            raise ValueError(f"{name} has dtype {array.dtype}; expected one of {', '.join(_DTYPES)}")
        parts.append(array.astype(_DTYPES[code], order="C").tobytes())
        start, end = end, end + len(parts[-1])
        header[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": [start, end]}
    told = json.dumps(header, separators=(",", ":")).encode()
    told += b" " * (-len(told) % 8)  # the arrays begin at a multiple of 8, so that they can be mapped
    return b"".join([len(told).to_bytes(8, "little"), told, *parts])


def _tensor(
    content: np.ndarray, name: str, dtype: np.dtype, shape: tuple[int, ...], path: str | os.PathLike[str]
) -> np.ndarray:
    if dtype == np.bool and content.size and content.max() > 1:
        raise ValueError(f"{path}: {name} has truth values other than 0 and 1: fetch the file again")
    try:
        return content.view(dtype).reshape(shape)
    except (ValueError, OverflowError) as error:  # as of more dimensions than NumPy has
        raise ValueError(
            f"{path}: {name} has shape {str(shape)[:80]}, which NumPy refuses ({error})"
        ) from None


def _header(content: np.ndarray, path: str | os.PathLike[str]) -> tuple[int, dict[str, Any]]:
    """Where the arrays' bytes begin, and the header without its free metadata."""
    length = int.from_bytes(content[:8].tobytes(), "little")
    if len(content) < 8 or not 2 <= length <= min(len(content) - 8, _LARGEST_HEADER):
        raise ValueError(
            f"{path} is no safetensors file, or incomplete: its first 8 bytes tell of a header of {length} "
            f"bytes, and the file has {len(content)}; fetch it again"
        )
    try:
        header = json.loads(content[8 : 8 + length].tobytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is no safetensors file: its header is not JSON ({error}); fetch it again"
        ) from None
    if not isinstance(header, dict):
        raise ValueError(f"{path} is no safetensors file: its header is no JSON object; fetch it again")
    return 8 + length, {name: entry for name, entry in header.items() if name != "__metadata__"}


def _start_of(item: tuple[str, Any]) -> tuple[int, int]:
    """The order of arrays in the file, empty ones first; what is malformed is found when its turn comes."""
    try:
        first, last = item[1]["data_offsets"]
        return int(first), int(last)
    except (TypeError, KeyError, ValueError, OverflowError):
        return (-1, -1)


def _checked(
    name: str, entry: Any, path: str | os.PathLike[str]
) -> tuple[np.dtype, tuple[int, ...], tuple[int, int]]:
    try:
        code, shape, (first, last) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        known = all(type(number) is int and number >= 0 for number in (*shape, first, last))
    except (TypeError, KeyError, ValueError):
        known, code, shape, first, last = False, "", (), 0, 0
    if not known:
        raise ValueError(
            f"{path}: the header's entry of {name} is {str(entry)[:80]}; expected dtype, shape and "
            "data_offsets: fetch the file again"
        )
    if not isinstance(code, str) or code not in _DTYPES:
        raise ValueError(
            f"{path}: {name} has dtype {code!r}; expected one of {', '.join(_DTYPES)}: "
            "convert the file to float32 first"
        )
    return _DTYPES[code], shape, (first, last)
