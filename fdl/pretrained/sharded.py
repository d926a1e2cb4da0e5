"""Weights in several safetensors files, and the index that tells which file has which array."""

import json
import os
from typing import Any

from fdl.data.readers.opened_files import content_of
from fdl.storage import Folder, kind_of, path_of

INDEX = "model.safetensors.index.json"


def read_index(path: str | os.PathLike[str]) -> dict[Folder, set[str]]:
    """The shards beside an index, and the names of the arrays that each of them must have.

    What else an index says, such as a `total_size` (in published ones often a wrong one), is not looked at:
    each shard's own header tells its size.

    Args:
      path: a `.safetensors.index.json`, with `{"weight_map": {array's name: shard's file name}}`.

    Raises:
      OSError: the index cannot be read.
      ValueError: no regular file, no such JSON, an array listed twice, or a shard that is not beside it.
    """
    path = path_of(path)
    try:
        index = json.loads(content_of(path), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no index of shards ({error}); fetch it again") from None
    listed = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(listed, dict) or not listed:
        raise ValueError(f"{path} has no weight_map of arrays' names to shards' names; fetch it again")
    shards: dict[Folder, set[str]] = {}
    for name, shard in listed.items():
        if not _is_plain(shard):
            raise ValueError(
                f"{path} has {name!r} in {str(shard)[:80]!r}; expected the name of a .safetensors file "
                "beside it: fetch it again"
            )
        shards.setdefault(path.parent / shard, set()).add(name)
    gone = sorted(shard.name for shard in shards if kind_of(shard) != "file")
    if gone:
        raise ValueError(
            f"{path} lists {len(shards)} shards, and {len(gone)} of them are no files beside it, "
            f"{gone[0]!r} for one: fetch them"
        )
    return shards


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; of a name that it has twice, JSON itself would keep the last without a word."""
    made: dict[str, Any] = {}
    for name, value in pairs:
        if name in made:
            raise ValueError(f"it has {name!r} twice")
        made[name] = value
    return made


def _is_plain(shard: Any) -> bool:
    """Whether it is a file name and no path: a fetched index must not lead to other folders."""
    if not isinstance(shard, str) or not shard.endswith(".safetensors"):
        return False
    return not any(mark in shard for mark in "/\\\0")
