"""Downloads that are whole and verified, or not there."""

import fcntl
import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from io import FileIO
from pathlib import Path

from fdl.storage import FULL, is_at

Say = Callable[[str], object]
"""Takes one line of text for the user, such as `print`."""

_CHUNK = 2**18  # bytes: so much is lost at most where a download breaks
_ATTEMPTS = 4  # connections, as long as each brings more bytes


def download(url: str, path: Path, *, sha256: str, say: Say | None = None, timeout: float = 30.0) -> None:
    """Downloads a file, unless it is there.

    The bytes go to `<path>.part`, which becomes `path` once its SHA-256 is right. What a broken
    connection leaves there is continued, by a few more attempts as long as each gets on, and by the
    next call; a server that cannot continue sends all of it again. Where several processes want the
    same file, one downloads and the others wait.

    Args:
      url: an HTTP(S) address.
      path: where the file is to be; folders are made as needed.
      sha256: of the file, hexadecimal.
      say: is told what is downloaded.
      timeout: seconds without a byte after which a connection counts as broken.

    Raises:
      OSError: the address does not answer, breaks off or stalls, or the disk is full or not writable.
      ValueError: the address has another file than expected; nothing of it is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    while not path.exists():
        with open(part, "ab+", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not is_at(file.fileno(), part):
                continue  # another process, which had the lock, has finished or removed it
            if path.exists():  # it had just finished when this one began the part
                part.unlink()
                continue
            try:
                _fill(url, file, sha256, say, timeout)
                os.fsync(file.fileno())
                os.replace(part, path)
            except BaseException:
                if not os.fstat(file.fileno()).st_size:
                    part.unlink()
                raise


def _fill(url: str, file: FileIO, sha256: str, say: Say | None, timeout: float) -> None:
    """Completes and verifies a partial file; where it can never be completed, it is emptied."""
    size = os.fstat(file.fileno()).st_size
    if size and _digest(file) == sha256:
        return
    attempt, broken, before = 0, "", -1
    while broken is not None and attempt < _ATTEMPTS and size > before:
        if say:
            say(f"downloading {url}" + (f", from byte {size}" if size else ""))
        broken = _receive(url, file, timeout)
        attempt, before, size = attempt + 1, size, os.fstat(file.fileno()).st_size
    if broken is not None:
        raise OSError(
            f"{url}: {broken} after {size} bytes in {file.name}; give the command again to continue"
        )
    if (found := _digest(file)) != sha256:
        start = os.pread(file.fileno(), 15, 0)
        file.truncate(0)
        raise ValueError(
            f"{url}: came with {size} bytes that begin with {start!r} and have SHA-256 {found}; expected "
            f"{sha256}: the address has another file now, or the network replaced it; nothing was kept"
        )


def _receive(url: str, file: FileIO, timeout: float) -> str | None:
    """One connection, from where the file ends; what broke it, or None where it came to its end.

    Raises:
      OSError: the server refuses the file, or the disk does.
    """
    size = os.fstat(file.fileno()).st_size
    headers = {"User-Agent": "fdl"} | ({"Range": f"bytes={size}-"} if size else {})
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=timeout
        ) as response:
            if not (response.headers.get("Content-Range") or "").startswith(f"bytes {size}-"):
                file.truncate(0)
            left = response.headers.get("Content-Length")
            missing = int(left) if left else 0
            while chunk := response.read1(_CHUNK):
                missing -= len(chunk)
                _write(file, chunk)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the file is longer than the server's
            file.truncate(0)
            return "the server has fewer bytes than were there"
        raise OSError(f"{url}: the server answers {error.code} {error.reason}; check the address") from error
    except _Disk as error:
        file.truncate(0)
        raise OSError(str(error)) from error
    except TimeoutError:
        return f"nothing came for {timeout:g} seconds"
    except (OSError, http.client.HTTPException) as error:
        reason = str(getattr(error, "reason", "") or error or type(error).__name__)
        return f"the connection broke ({' '.join(reason.split())})"
    return f"the connection closed {missing} bytes early" if missing > 0 else None


class _Disk(Exception):
    """The disk's errors, told apart from the network's, which are `OSError` too."""


def _write(file: FileIO, chunk: bytes) -> None:
    view = memoryview(chunk)
    try:
        while view:
            view = view[file.write(view) :]
    except OSError as error:
        why = "the disk is full" if error.errno in FULL else error.strerror
        done = os.fstat(file.fileno()).st_size
        raise _Disk(
            f"{file.name}: {why} after {done} bytes; make room or name another folder in FDL_CACHE"
        ) from error


def _digest(file: FileIO) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()
