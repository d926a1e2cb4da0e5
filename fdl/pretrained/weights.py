"""Files of weights: arrays by name, from safetensors or npz, never from pickles."""

import hashlib
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

from fdl.pretrained.safetensors import parse_safetensors

_BROKEN = (ValueError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error)


def read_weights(path: str | os.PathLike[str], *, sha256: str | None = None) -> dict[str, np.ndarray]:
    """The arrays of a file of weights by name.

    Those of a safetensors file are read-only parts of the file itself, which must not be overwritten
    while they are in use.

    Args:
      path: a `.safetensors` or `.npz` file.
      sha256: the file's SHA-256 in hexadecimal, checked before anything else is looked at; or None.

    Raises:
      OSError: the file cannot be read.
      ValueError: another checksum, another format, or a damaged file.
    """
    path = Path(path)
    if path.suffix not in (".safetensors", ".npz"):
        raise ValueError(
            f"{path} is not read: expected .safetensors or .npz, as a pickle (.bin, .pt, .pth) can run code; "
            "take the .safetensors published beside it, or convert it by safetensors.torch.save_file"
        )
    size = path.stat().st_size
    content = np.asarray(np.memmap(path, np.uint8, "r")) if size else np.zeros(0, np.uint8)
    if sha256 is not None and (found := hashlib.sha256(content.data).hexdigest()) != sha256.lower():
        raise ValueError(f"{path} has the SHA-256 {found}; expected {sha256}: fetch the file again")
    return parse_safetensors(content, path) if path.suffix == ".safetensors" else _read_npz(path)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(path) as archive:
            return {member.removesuffix(".npy"): _member(archive, member) for member in archive.namelist()}
    except _BROKEN as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{path} is no npz file of plain arrays ({reason}); write it by numpy.savez, or fetch it again"
        ) from None


def _member(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(name) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
