"""Where data files lie: the user's own folder first, or bucket, then the cache of what was downloaded."""

import os
from pathlib import Path

from fdl.storage import Folder, cache_folder, kind_of, path_of


def data_folder() -> Path:
    """Where downloads are kept: `data` in `cache_folder`."""
    return cache_folder() / "data"


def locate(*names: str) -> Folder | None:
    """Finds a data file in the folder that the environment variable `FDL_DATA` names, or in the cache.

    Args:
      names: under which it may lie, relative to either folder, such as with `.gz` and without; all of
        them are looked for in `FDL_DATA` before any in the cache.

    Returns:
      The first that is there, a file or a folder, or None. One in a bucket stays there: see
      `fdl.copies.local`.

    Raises:
      ValueError: `FDL_DATA` is set, but is not a folder, or needs an extra.
      OSError: it is in a bucket that cannot be reached.
    """
    given = os.environ.get("FDL_DATA")
    own = [path_of(given)] if given else []
    if own and kind_of(own[0]) != "directory":
        raise ValueError(f"FDL_DATA is {given!r}, which is not a folder; correct it or unset it")
    paths = (folder / name for folder in [*own, data_folder()] for name in names)
    return next((path for path in paths if kind_of(path)), None)
