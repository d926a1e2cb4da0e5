"""Files of weights: arrays by name, from safetensors (whole or in shards) or npz, never from pickles."""

import hashlib
import os

import numpy as np

from fdl import copies
from fdl.data.readers.npz import read_npz
from fdl.data.readers.opened_files import opened
from fdl.pretrained.safetensors import parse_safetensors
from fdl.pretrained.sharded import INDEX, read_index
from fdl.storage import Folder, path_of


def read_weights(path: str | os.PathLike[str], *, sha256: str | None = None) -> dict[str, np.ndarray]:
    """The arrays of a file of weights, or of all shards of an index, by name.

    Those of a safetensors file are read-only parts of the file itself, which must not be overwritten
    while they are in use.

    Args:
      path: a `.safetensors` or `.npz` file, or a `.safetensors.index.json` with its shards beside it.
      sha256: the file's SHA-256 in hexadecimal, checked before anything else is looked at; or None, as it
        must be with an index, which is not the file that has the weights.

    Raises:
      OSError: the file cannot be read.
      ValueError: another checksum, another format, a damaged file, or shards that differ from their index.
    """
    path = path_of(path)
    if path.name.endswith(INDEX.removeprefix("model")):
        return _read_shards(path, sha256)
    if path.suffix not in (".safetensors", ".npz"):
        raise ValueError(
            f"{path} is not read: expected .safetensors or .npz, as a pickle (.bin, .pt, .pth) can run code; "
            "take the .safetensors published beside it, or convert it by safetensors.torch.save_file"
        )
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
    content = np.asarray(np.memmap(copies.local(path), np.uint8, "r")) if size else np.zeros(0, np.uint8)
    if sha256 is not None and (found := hashlib.sha256(content.data).hexdigest()) != sha256.lower():
        raise ValueError(f"{path} has the SHA-256 {found}; expected {sha256}: fetch the file again")
    return parse_safetensors(content, path) if path.suffix == ".safetensors" else read_npz(path)


def _read_shards(path: Folder, sha256: str | None) -> dict[str, np.ndarray]:
    shards = read_index(path)
    if sha256 is not None:
        raise ValueError(
            f"{path} is the index of {len(shards)} files, of which one SHA-256 says nothing; give none, and "
            "check each shard by read_weights(shard, sha256=...) or sha256sum"
        )
    tensors: dict[str, np.ndarray] = {}
    for shard, listed in shards.items():
        found = read_weights(shard)
        differing = sorted(found.keys() ^ listed)
        if differing:
            places = ("the shard", "the index") if differing[0] in found else ("the index", "the shard")
            raise ValueError(
                f"{path} and its shard {shard.name} differ in {len(differing)} arrays, "
                f"{differing[0]!r} for one: {places[0]} has it there, {places[1]} has not; fetch both again"
            )
        tensors |= found
    return tensors
