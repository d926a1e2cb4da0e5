"""What published data sets have in common: files that are found or downloaded, and official parts."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from fdl.data.datasets.data_set import Remote
from fdl.data.paths import data_folder, locate
from fdl.data.readers.archives import extract
from fdl.data.readers.download import Say, download
from fdl.data.scaling import standardise
from fdl.data.splits import Splits
from fdl.storage import Folder

Loaded = tuple[
    dict[str, np.ndarray], dict[str, np.ndarray], dict[str, np.ndarray], Callable[[Any], dict[str, Any]]
]
"""Train, validation, test and `prepare`: read once for all who load the same files."""


def obtain(remote: Remote, say: Say | None, *others: str) -> Folder:
    """The file, or the archive's folder, found (also in a bucket) or downloaded.

    Args:
      remote: the file or archive.
      say: see `download`.
      *others: names under which it may lie as well.

    Raises:
      OSError, ValueError: see `download`.
    """
    name = remote.name.removesuffix(".tar.gz")
    found = locate(name, *others)
    if found is not None:
        return found
    path = data_folder() / remote.name
    download(remote.url, path, sha256=remote.sha256, say=say)
    if name != remote.name:
        extract(path, data_folder() / name)
        path.unlink(missing_ok=True)  # another process may have been first
    return data_folder() / name


def say_on_stderr(line: str) -> None:
    """Tells what is downloaded where no one has asked for another place."""
    print(line, file=sys.stderr)


def held_out(train: dict[str, np.ndarray], test: dict[str, np.ndarray], *, rows: int) -> Loaded:
    """Holds out the last `rows` of train for validation; the arrays become read-only."""
    for array in (*train.values(), *test.values()):
        array.flags.writeable = False
    first = len(train["y"]) - rows
    kept = {name: array[:first] for name, array in train.items()}
    validation = {name: array[first:] for name, array in train.items()}
    return kept, validation, test, standardise(kept["x"])


def as_splits(loaded: Loaded, classes: tuple[str, ...]) -> Splits:
    """The arrays are shared with whoever loads the same files; the dictionaries are the caller's own."""
    train, validation, test, prepare = loaded
    return Splits(dict(train), dict(validation), dict(test), prepare, classes)
