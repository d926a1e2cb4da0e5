"""A checkpoint's seal: its step, its files' checksums, and what goes with it. What has none is not finished.

Uncompressed arrays carry no checksum of Orbax's own, and Orbax commits a checkpoint before anything can be
added to it: so older checkpoints are removed only once a newer one is sealed.
"""

import contextlib
import errno
import shutil
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from fdl.storage import Folder, checksums, in_bucket, remove, remove_all
from fdl.train.folder import read_sealed, write_sealed

SEAL = "checksums.json"
"""The file in a checkpoint's folder that holds its seal."""
WAITS = (0.5, 1.0, 2.0, 4.0)
"""Seconds to wait before each further try to read what cannot be read: network disks fail for moments."""
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR)

T = TypeVar("T")


class Look(NamedTuple):
    """What a look at a checkpoint finds; JSON-able.

    Attributes:
      fault: what is wrong with it, in words, or None.
      sealed: whether it has a seal at all.
      about: what was sealed with it; empty where there is a fault.
    """

    fault: str | None
    sealed: bool
    about: dict[str, Any]


def seal(folder: Folder, about: dict[str, Any]) -> None:
    """Seals a complete checkpoint, in a folder that has its step as its name.

    Args:
      folder: the checkpoint's.
      about: JSON-able, what goes with it.
    """
    write_sealed(folder / SEAL, {"step": int(folder.name), "files": _checksums(folder), "about": about})


def look(folder: Folder) -> Look:
    """Compares a checkpoint with its seal.

    Raises:
      OSError: it cannot be read, which says nothing about what it is.
    """
    try:
        found = read_sealed(folder / SEAL, fix="its checkpoint cannot be verified")
    except ValueError as error:
        return Look(str(error), True, {})
    if found is None:
        return Look(f"has no {SEAL}, as if it had not been finished", False, {})
    if found["step"] != int(folder.name):
        return Look(f"is that of step {found['step']}", True, {})
    sums = _checksums(folder)
    for name, expected in found["files"].items():
        if name not in sums:
            return Look(f"{name} is missing", True, {})
        if sums[name] != expected:
            return Look(f"{name} does not agree with its checksum", True, {})
    return Look(None, True, found["about"])


def patiently(action: Callable[[], T], what: str) -> T:
    """Does what reads files, again after a while where they cannot be read.

    Args:
      action: what to do.
      what: is read, as the error is to say it.

    Raises:
      OSError: they could not be read at any try.
    """
    for wait in (*WAITS, None):
        try:
            return action()
        except OSError as error:
            if wait is None:
                raise OSError(
                    f"cannot read {what}: {error}; nothing was changed: fix it and repeat the command"
                ) from error
            time.sleep(wait)
    raise AssertionError("unreachable")


def keep_newest(directory: Folder, count: int) -> None:
    """Removes the checkpoints that are older than the newest `count` sealed ones."""
    steps = sorted(int(path.name) for path in directory.iterdir() if path.name.isdigit())
    sealed = [step for step in steps if (directory / str(step) / SEAL).exists()]
    for step in steps if len(sealed) > count else ():
        if step < sealed[-count]:
            with contextlib.suppress(OSError):  # what is left is removed with the next
                _remove(directory / str(step))


def _remove(folder: Folder) -> None:
    if in_bucket(folder):
        remove(folder / SEAL)
        remove_all(folder)
        return
    assert isinstance(folder, Path)
    gone = folder.with_name(f"{folder.name}.orbax-checkpoint-tmp")  # which Orbax sweeps away
    folder.rename(gone)
    shutil.rmtree(gone)


def _checksums(folder: Folder) -> dict[str, Any]:
    """Of every file. In a bucket the store's own: it made them when the bytes came, so none is read back."""
    if in_bucket(folder):
        return {name: value for name, value in checksums(folder).items() if SEAL not in name}
    assert isinstance(folder, Path)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and SEAL not in path.name)
    return {str(path.relative_to(folder)): _crc32(path) for path in files}


def _crc32(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            value = zlib.crc32(block, value)
    return value
