"""Archives unpacked whole or not at all, and never outside their folder."""

import gzip
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from fdl.text import message_of

_BROKEN = (EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error, gzip.BadGzipFile, UnicodeDecodeError)


def extract(archive: Path, folder: Path) -> None:
    """Unpacks a .tar.gz or .zip archive into a new folder; one that is there already is left as it is.

    The members go to a temporary folder beside it, which is renamed once all are there and every
    checksum of the archive is right. Only files and folders are unpacked, with their contents, and
    without owners, modes and times.

    Args:
      archive: told apart by its first bytes, not by its name.
      folder: is made; its parents too.

    Raises:
      ValueError: not such an archive, cut short or damaged, or with a member that is a link, a device,
        encrypted, there twice, or named outside the folder; nothing is left of it.
      OSError: a file cannot be read or written.
    """
    if folder.exists():
        return
    with archive.open("rb") as file:
        start = file.read(4)
    if start[:2] == b"\x1f\x8b":
        members = _tar_members(archive)
    elif start == b"PK\x03\x04":
        members = _zip_members(archive)
    else:
        raise ValueError(
            f"{archive}: byte 0: begins with {start!r}; expected an archive, .tar.gz (b'\\x1f\\x8b') or .zip "
            "(b'PK\\x03\\x04')"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        content = Path(temporary) / "content"
        content.mkdir()
        _unpack(archive, members, content)
        try:
            os.rename(content, folder)
        except OSError:
            if not folder.exists():  # else another process was first
                raise


def _unpack(archive: Path, members: Iterator[tuple[str, IO[bytes] | None]], folder: Path) -> None:
    """Writes members, files or (where there is no content) folders, into an empty folder."""
    name = None
    try:
        for name, content in members:
            target = folder / name
            if content is None:
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                shutil.copyfileobj(content, file)
    except _BROKEN as error:
        where = f"after or in member {name!r}" if name else "before the first member"
        reason = message_of(error)
        raise ValueError(f"{archive}: damaged or cut short {where} ({reason}); download it again") from error
    except (FileExistsError, NotADirectoryError) as error:
        raise ValueError(
            f"{archive}: member {name!r} takes the place of an earlier one; expected each name once"
        ) from error


def _tar_members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    with gzip.open(archive) as unpacked, tarfile.open(fileobj=unpacked, mode="r:") as tar:
        for member in tar:
            if not (member.isreg() or member.isdir()):
                kind = "a link" if member.issym() or member.islnk() else "a device or the like"
                raise ValueError(f"{archive}: member {member.name!r} is {kind}; expected files and folders")
            _check_name(archive, member.name)
            yield member.name, tar.extractfile(member)
        while unpacked.read(2**20):  # its checksum comes last
            pass


def _zip_members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                what = "a link" if kind == stat.S_IFLNK else "a device or the like"
                raise ValueError(
                    f"{archive}: member {member.filename!r} is {what}; expected files and folders"
                )
            if member.flag_bits & 1:
                raise ValueError(f"{archive}: member {member.filename!r} is encrypted; expected plain files")
            _check_name(archive, member.filename)
            if member.is_dir():
                yield member.filename, None
            else:
                with file.open(member) as content:
                    yield member.filename, content


def _check_name(archive: Path, name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(
            f"{archive}: member {name!r} may lie outside the folder; expected relative names without '..'"
        )
