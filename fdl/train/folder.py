"""Folders that hold one piece of work for one process at a time, and the JSON in them."""

import contextlib
import datetime
import fcntl
import itertools
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fdl.parallel.distributed import broadcast_from_first
from fdl.serialization import RECORDED, differences, digest
from fdl.storage import Folder, get, in_bucket, is_at, move, write_atomically
from fdl.text import command_text

_IDENTITY = "identity.json"
_LOCK = ".lock"
_SHOWN = 8
"""So many differences are listed."""
_LONGEST_NAME = 255
"""Bytes of a folder's name, on the usual file systems."""
_WAIT = 0.5
"""Seconds between two looks at a folder in which another process works."""
_LOOKS = 3
"""So many looks, `_GLIMPSE` seconds apart, tell one that works there from one that looks (`is_held`)."""
_GLIMPSE = 0.02


def check_place(directory: Folder | None) -> None:
    """Raises `ValueError` if what is to be a folder, or one above it, is a file or can be none; looks at no
    bucket."""
    if directory is None or in_bucket(directory):
        return
    for place in (directory, *directory.parents):
        if len(os.fsencode(place.name)) > _LONGEST_NAME:
            raise ValueError(f"{place.name[:20]}... is too long a name for a folder; expected a shorter one")
        if place.is_symlink() and not place.exists():
            raise ValueError(f"{place} is a link to nothing; expected a folder, or a name that is not taken")
        if place.exists():
            if not place.is_dir():
                raise ValueError(f"{place} is a file; expected a folder, or a name that is not taken")
            return


def write_json(path: Folder, data: Any) -> None:
    """Writes indented JSON, whole or not at all; a local folder is made where there is none."""
    if not in_bucket(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(data, indent=1) + "\n").encode())


def read_json(path: Folder) -> Any:
    """The data in a JSON file, or None if there is no such file.

    Raises:
      ValueError: the file is not JSON.
      OSError: it cannot be read.
    """
    try:
        content = get(path)
        return None if content is None else json.loads(content)
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder; expected a file of JSON") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error})") from None


def write_sealed(path: Folder, data: Mapping[str, Any], *, of: str = "") -> None:
    """`write_json` with a digest of all, by which `read_sealed` knows whether it is what was written.

    Args:
      path: the file; its name is part of the digest.
      data: what it is to hold.
      of: what it belongs to, which is part of the digest too.
    """
    write_json(path, {**data, "digest": digest([path.name, of, dict(data)])})


def read_sealed(path: Folder, *, fix: str, of: str = "") -> dict[str, Any] | None:
    """What `write_sealed` wrote, without the digest, or None if there is no such file.

    Args:
      path: the file.
      fix: what is lost with it, and how to get it back.
      of: as it was written.

    Raises:
      ValueError: the file is not what was written; it says `fix`.
    """
    try:
        data = read_json(path)
    except ValueError as error:
        raise ValueError(f"{error}; {fix}") from None
    if data is None and not path.exists():
        return None
    found = data.pop("digest", None) if isinstance(data, dict) else None
    if found is None or found != digest([path.name, of, data]):
        raise ValueError(f"{path} is damaged (not what this version of fdl wrote there); {fix}")
    return data


def claim(
    directory: Folder, identity: Mapping[str, Any], *, say: Callable[[str], None] = lambda _: None
) -> None:
    """Makes a folder that of one piece of work, or finds that it is already.

    Args:
      directory: the folder.
      identity: JSON-able data that says what the work is; other `versions` in it are said, and no other work.
      say: told of other versions, one line.

    Raises:
      ValueError: the folder holds other work; the message lists each difference.
      OSError: the folder cannot be written.
    """
    found = identity_in(directory)
    if found is None:
        write_sealed(directory / _IDENTITY, identity)
        return
    check_same(directory, found, identity)
    newer = differences(found.get("versions", {}), identity.get("versions", {}))
    if newer:
        say(f"begun with other versions ({'; '.join(newer)}): what is finished is kept as it is")


def identity_in(directory: Folder) -> dict[str, Any] | None:
    """What a folder says that it holds, or None if nothing.

    Raises:
      ValueError: what it says is damaged.
    """
    fix = (
        "it says which run the folder holds: move the folder away and repeat, or, if you know, the file alone"
    )
    return read_sealed(directory / _IDENTITY, fix=fix)


def check_same(directory: Folder, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Whether a folder with the identity `old` may hold work of the identity `new`.

    Raises:
      ValueError: it may not; the message lists what differs.
    """
    new = json.loads(json.dumps(dict(new)))
    changes = differences(*({k: v for k, v in one.items() if k not in RECORDED} for one in (old, new)))
    before, now = old.get("lowered"), new.get("lowered")
    if not changes and before and now and before["by"] == now["by"] and before != now:
        changes = [
            "its code and the values that it reads look the same, but JAX lowers it to another program"
        ]
    if changes:
        more = f"; and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
        raise ValueError(
            f"{directory} holds another run ({'; '.join(changes[:_SHOWN])}{more}); "
            "choose another directory, or move it aside with --restart (restart=True)"
        )


@contextlib.contextmanager
def held(
    directory: Folder | None,
    identity: Mapping[str, Any],
    *,
    restart: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[None]:
    """Claims a folder, and keeps other processes out while it lasts; the system gives it back at the end.

    Of several processes of one program the first does it for all. `None` is no folder, and nothing is done.

    Raises:
      ValueError: the folder holds other work, or is in use.
      OSError: the folder cannot be written.
    """
    with contextlib.ExitStack() as stack:
        if directory:
            broadcast_from_first(
                lambda: stack.enter_context(_locked(directory, identity, restart=restart, say=say))
            )
        yield


@contextlib.contextmanager
def _locked(
    directory: Folder, identity: Mapping[str, Any], *, restart: bool, say: Callable[[str], None]
) -> Iterator[None]:
    """The lock comes first: of two commands at once on a folder, the one that has it says what it holds."""
    if restart and directory.exists():
        with _lock(directory):  # what is in use is not moved away
            aside = (directory.with_name(f"{directory.name}.{number}") for number in itertools.count(1))
            move(directory, next(folder for folder in aside if not folder.exists()))
    with _lock(directory):
        claim(directory, identity, say=say)
        yield


@contextlib.contextmanager
def alone_in(directory: Folder | None, *, say: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Waits until no other process works in a folder, and keeps others out while it lasts.

    Of several processes of one program the first does it for all. `None` is no folder, and in a bucket
    nothing can be locked: there nothing is done.

    Args:
      directory: the folder.
      say: told for whom it waits, once.
    """
    with contextlib.ExitStack() as stack:
        if directory:
            broadcast_from_first(lambda: stack.enter_context(_lock(directory, wait=say)))
        yield


@contextlib.contextmanager
def _lock(directory: Folder, *, wait: Callable[[str], None] | None = None) -> Iterator[None]:
    if in_bucket(directory):  # nothing can be locked there; a lease would hold up a lost machine's successor
        yield
        return
    assert isinstance(directory, Path)
    path, told, looks = directory / _LOCK, False, 0
    with contextlib.ExitStack() as holding:
        while True:
            directory.mkdir(parents=True, exist_ok=True)
            lock = holding.enter_context(path.open("a"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if is_at(lock.fileno(), path):
                    break  # else another process moved the folder aside after the file was opened
            except BlockingIOError:
                looks += 1
                if wait is None and looks == _LOOKS:
                    raise ValueError(
                        f"{directory} is in use by {_holder(path)}; wait for it or stop it"
                    ) from None
                if wait and looks >= _LOOKS and not told:
                    wait(f"{directory.name} is in use by {_holder(path)}; waiting for it")
                    told = True
                time.sleep(_WAIT if told else _GLIMPSE)
            holding.close()
        with contextlib.suppress(OSError):  # a full disk is met where it matters
            lock.truncate(0)
            lock.write(json.dumps(_myself()))
            lock.flush()
        yield


def is_held(directory: Folder) -> bool:
    """Whether a process works in a folder now. In a bucket, or where that cannot be looked at, nobody knows:
    then True."""
    if in_bucket(directory):
        return True
    try:
        with Path(str(directory), _LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _myself() -> dict[str, str]:
    return {
        "process": f"{os.getpid()} on {socket.gethostname()}",
        "command": command_text(sys.argv),
        "since": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
    }


def _holder(path: Path) -> str:
    """Who wrote into a lock; its file may still be empty, or of an earlier fdl."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return f"process {found['process']} ({found['command']}, since {found['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
