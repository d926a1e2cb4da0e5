"""Where data files lie: the user's own folder first, then the cache of what was downloaded."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Where downloads, compiled programs and plans are kept: `$FDL_CACHE`, or the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("FDL_CACHE") or Path(home) / "fdl")


def data_folder() -> Path:
    """Where downloads are kept: `data` in `cache_folder`."""
    return cache_folder() / "data"


def locate(*names: str) -> Path | None:
    """Finds a data file in the folder that the environment variable `FDL_DATA` names, or in the cache.

    Args:
      names: under which it may lie, relative to either folder, such as with `.gz` and without; all of
        them are looked for in `FDL_DATA` before any in the cache.

    Returns:
      The first that is there, a file or a folder, or None.

    Raises:
      ValueError: `FDL_DATA` is set, but is not a folder.
    """
    own = os.environ.get("FDL_DATA")
    if own and not Path(own).is_dir():
        raise ValueError(f"FDL_DATA is {own!r}, which is not a folder; correct it or unset it")
    folders = [Path(own), data_folder()] if own else [data_folder()]
    paths = (folder / name for folder in folders for name in names)
    return next((path for path in paths if path.exists()), None)
