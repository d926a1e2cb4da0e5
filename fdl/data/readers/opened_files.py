"""Files as they are opened by every reader: those that are files, whose reading ends; of a bucket, a copy."""

import os
import stat
from typing import BinaryIO

from fdl import copies


def opened(path: str | os.PathLike[str]) -> BinaryIO:
    """A regular file, opened for reading; at anything else, such as a FIFO, reading might never end.

    Raises:
      OSError: no such file, a folder, or one that cannot be read; a bucket that cannot be reached.
      ValueError: no regular file.
    """
    # Opening a FIFO waits for a writer unless O_NONBLOCK is given, which regular files ignore. The kind is
    # asked of what was opened, as a name may stand for another file by then.
    file = open(copies.local(path), "rb", opener=_at_once)  # noqa: SIM115  # it is the caller's to close
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ValueError(f"{path} is a FIFO, socket or device; expected a regular file")
    return file


def content_of(path: str | os.PathLike[str]) -> bytes:
    """All bytes of a regular file.

    Raises:
      OSError: the file cannot be read.
      ValueError: no regular file.
    """
    with opened(path) as file:
        return file.read()


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
