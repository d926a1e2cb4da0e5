"""Files of weights: arrays by name, from safetensors or npz, never from pickles."""

import hashlib
import os
from pathlib import Path

import numpy as np

from fdl.data.npz import read_npz
from fdl.data.regular import opened
from fdl.pretrained.safetensors import parse_safetensors


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
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
    content = np.asarray(np.memmap(path, np.uint8, "r")) if size else np.zeros(0, np.uint8)
    if sha256 is not None and (found := hashlib.sha256(content.data).hexdigest()) != sha256.lower():
        raise ValueError(f"{path} has the SHA-256 {found}; expected {sha256}: fetch the file again")
    return parse_safetensors(content, path) if path.suffix == ".safetensors" else read_npz(path)
