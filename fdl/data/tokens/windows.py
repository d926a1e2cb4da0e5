"""Sequences of tokens cut into windows, and token files larger than memory."""

import os

import jax
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import DTypeLike

from fdl import copies
from fdl.arguments import Count, checked
from fdl.data.readers.opened_files import opened
from fdl.data.splits import Part, Rows
from fdl.storage import path_of, write_atomically

_LIMIT = 2**31  # tokens are int32 on the device
_WIDTHS = ("uint16", "uint32")


@checked
def windows(tokens: np.ndarray, *, length: Count, stride: Count | None = None) -> Part:
    """Every window of a sequence, with the next token as the target at each place.

    Window n is `x = tokens[n * stride : n * stride + T]`, and y the same one token later. There are
    `(L - 1 - T) // stride + 1` of them; the few tokens after the last whole window are not used.

    Args:
      tokens: integers `[L]` from 0 to 2**31 - 1, in memory or memory-mapped.
      length: T, tokens in a window.
      stride: tokens from the start of one window to the start of the next; T if None, so that each
        token is a target once.

    Returns:
      `x` and `y`, int32 `[N, T]`: arrays, or, where windows overlap or the tokens are
      memory-mapped, `Rows` that read them when taken and hold no copy.

    Raises:
      ValueError: tokens of another shape or type, a length or stride below 1, or fewer than T + 1
        tokens. Memory-mapped tokens of 2**31 or more are seen when they are taken.

    Example:
      >>> part = fdl.data.windows(np.arange(9), length=4)
      >>> part["x"].tolist(), part["y"].tolist()
      ([[0, 1, 2, 3], [4, 5, 6, 7]], [[1, 2, 3, 4], [5, 6, 7, 8]])
    """
    stride = length if stride is None else stride
    if min(length, stride) < 1:
        raise ValueError(f"length is {length} and stride is {stride}; expected both at least 1")
    if tokens.ndim != 1 or tokens.dtype.kind not in "iu":
        raise ValueError(f"tokens are {tokens.dtype} {list(tokens.shape)}; expected integers [L]")
    if len(tokens) <= length:
        raise ValueError(
            f"there are {len(tokens)} tokens, but a window of {length} and its targets need "
            f"{length + 1}; give more text or a shorter length"
        )
    if isinstance(tokens, np.memmap):
        return _rows(tokens, length, stride)
    tokens = _int32(tokens)
    if stride < length:
        return _rows(tokens, length, stride)
    view = sliding_window_view(tokens, length + 1)[::stride]
    return {"x": view[:, :-1], "y": view[:, 1:]}


@checked
def tokens_file(path: str | os.PathLike[str], *, dtype: DTypeLike) -> np.ndarray:
    """The tokens in a flat binary file, memory-mapped: read when used, never loaded whole.

    Args:
      path: nothing but the tokens, one after another, little-endian.
      dtype: of one token in the file: uint16 or uint32.

    Returns:
      A read-only `[L]` of the type.

    Raises:
      OSError: the file cannot be read.
      ValueError: another type, an empty file, one that is no whole number of tokens, or an `.npy`.

    Example:
      >>> fdl.data.write_tokens("tokens.bin", np.arange(9), dtype=np.uint16)
      >>> fdl.data.windows(fdl.data.tokens_file("tokens.bin", dtype=np.uint16), length=4).size
      2
    """
    kind, path = _width(dtype), copies.local(path)
    with opened(path) as file:
        begin, size = file.read(6), os.fstat(file.fileno()).st_size
    if size == 0:
        raise ValueError(f"{path} is empty; expected {kind.name} tokens, as write_tokens writes them")
    if size % kind.itemsize:
        raise ValueError(
            f"{path} has {size} bytes, not a multiple of {kind.itemsize}, the size of a {kind.name} token; "
            "it was cut short or has another dtype"
        )
    if begin == b"\x93NUMPY":
        raise ValueError(f"{path} is a NumPy .npy file, not flat tokens; use np.load(path, mmap_mode='r')")
    return np.memmap(path, dtype=kind, mode="r")


@checked
def write_tokens(path: str | os.PathLike[str], tokens: np.ndarray, *, dtype: DTypeLike) -> None:
    """Writes the file that `tokens_file` reads, whole or not at all.

    Args:
      path: the file; its folder must exist.
      tokens: integers `[L]`.
      dtype: of one token in the file: uint16 (vocabularies up to 65,536) or uint32.

    Raises:
      OSError: the file cannot be written.
      ValueError: another type, no tokens, or a token that the type cannot hold.

    Example:
      >>> fdl.data.write_tokens("tokens.bin", np.array([3, 1, 2]), dtype=np.uint16)
      >>> fdl.data.tokens_file("tokens.bin", dtype=np.uint16).tolist()
      [3, 1, 2]
    """
    kind, tokens = _width(dtype), np.asarray(tokens)
    if tokens.ndim != 1 or tokens.dtype.kind not in "iu" or not tokens.size:
        raise ValueError(
            f"tokens are {tokens.dtype} {list(tokens.shape)}; expected integers [L], L at least 1"
        )
    limit = np.iinfo(kind).max
    if tokens.min() < 0 or tokens.max() > limit:
        place = int(np.argmax((tokens < 0) | (tokens > limit)))
        raise ValueError(f"token {place} is {tokens[place]}; {kind.name} holds 0 to {limit}")
    write_atomically(path_of(path), np.ascontiguousarray(tokens, kind).data.cast("B"))


def _rows(tokens: np.ndarray, length: int, stride: int) -> Rows:
    view = sliding_window_view(tokens, length + 1)[::stride]
    row = jax.ShapeDtypeStruct((length,), np.int32)

    def take(index: np.ndarray) -> dict[str, np.ndarray]:
        taken = _int32(view[index])
        return {"x": taken[:, :-1], "y": taken[:, 1:]}

    file = getattr(tokens, "filename", None)
    name = "window {}" if file is None else f"{str(file).replace('{', '{{').replace('}', '}}')}: window {{}}"
    return Rows(len(view), {"x": row, "y": row}, take, where=name.format, identity=[tokens, length, stride])


def _int32(tokens: np.ndarray) -> np.ndarray:
    """The same tokens as int32; not a copy if they are int32."""
    wide = not np.can_cast(tokens.dtype, np.int32)
    if wide and tokens.size and not 0 <= tokens.min() <= tokens.max() < _LIMIT:
        raise ValueError(
            f"tokens go from {tokens.min()} to {tokens.max()}; expected 0 to 2**31 - 1: "
            "is the dtype the one they were written with?"
        )
    return np.asarray(tokens, np.int32)


def _width(dtype: DTypeLike) -> np.dtype:
    try:
        kind = np.dtype(dtype)
    except TypeError as error:
        raise ValueError(f"dtype is {dtype!r}; expected {' or '.join(_WIDTHS)}") from error
    if kind.name not in _WIDTHS:
        raise ValueError(f"dtype is {kind.name}; expected {' or '.join(_WIDTHS)}")
    return kind.newbyteorder("<")
