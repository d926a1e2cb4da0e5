"""Files that are never half-written: what a folder holds, and the rows that a population measured.

unit.json          what runs here; written once, before anything else
metrics.jsonl      a line per member and evaluation; in a bucket a folder, with an object an evaluation
checkpoints/       see `checkpoint`
done.json          written last: every member's end
"""

import contextlib
import fcntl
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from etils import epath

from fdl.bucket import Folder, in_bucket, move, put, read_all, remove
from fdl.parallel.hosts import agreed
from fdl.serialization import differences

_SHOWN = 8
"""So many differences are listed."""


def write_atomically(path: Folder, text: str) -> None:
    """Writes a file so that a reader, or a crash, sees the old text or the new, never a part."""
    if in_bucket(path):
        put(path, text.encode())
        return
    assert isinstance(path, Path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def write_json(path: Folder, data: Any) -> None:
    """`write_atomically` of indented JSON."""
    write_atomically(path, json.dumps(data, indent=1) + "\n")


def read_json(path: Folder) -> Any:
    """The data in a JSON file, or None if there is no such file.

    Raises:
      ValueError: the file is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON ({error}); move its folder away and repeat") from None


def read_rows(path: Folder) -> list[dict[str, Any]]:
    """The rows of a `.jsonl` file; a last line that a crash cut short is left out."""
    if in_bucket(path):
        return [row for part in read_all(path).values() for row in _rows(part.decode())]
    return _rows(path.read_text(encoding="utf-8")) if path.exists() else []


def _rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _text(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def append_rows(path: Folder, rows: Iterable[Mapping[str, Any]]) -> None:
    """Adds rows to a `.jsonl` file and makes sure that they are on disk."""
    if in_bucket(path):
        last = max((int(part.name) for part in path.iterdir()), default=0) if path.exists() else 0
        put(path / f"{last + 1:06}", _text(rows).encode())
        return
    assert isinstance(path, Path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(_text(rows))
        file.flush()
        os.fsync(file.fileno())


def keep_rows(path: Folder, keep: Callable[[Mapping[str, Any]], bool]) -> list[dict[str, Any]]:
    """Drops the rows of a `.jsonl` file that a resumed run will measure again; the rest."""
    if in_bucket(path):
        return [row for name, part in read_all(path).items() for row in _keep_part(name, part, keep)]
    rows = [row for row in read_rows(path) if keep(row)]
    if path.exists():
        write_atomically(path, _text(rows))
    return rows


def _keep_part(name: str, part: bytes, keep: Callable[[Mapping[str, Any]], bool]) -> list[dict[str, Any]]:
    """Each object by itself, so that a crash between two of them neither loses a row nor doubles one."""
    rows = _rows(part.decode())
    kept = [row for row in rows if keep(row)]
    if not kept:
        remove(epath.Path(name))
    elif len(kept) < len(rows):
        put(epath.Path(name), _text(kept).encode())
    return kept


def claim(
    directory: Folder,
    identity: Mapping[str, Any],
    *,
    restart: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Makes a folder that of one piece of work, or finds that it is already.

    Args:
      directory: the folder.
      identity: JSON-able data that says what the work is; other `versions` in it are said, and no other work.
      restart: move what is there aside (to `<folder>.1`, ...) and begin anew; nothing is deleted.
      say: told of other versions, one line.

    Raises:
      ValueError: the folder holds other work; the message lists each difference.
      OSError: the folder cannot be written.
    """
    path = directory / "identity.json"
    if restart and directory.exists():
        aside = (directory.with_name(f"{directory.name}.{number}") for number in itertools.count(1))
        move(directory, next(folder for folder in aside if not folder.exists()))
    found = read_json(path)
    if found is None:
        write_json(path, dict(identity))
        return
    check_same(directory, found, identity)
    newer = differences(found.get("versions", {}), identity.get("versions", {}))
    if newer:
        say(f"begun with other versions ({'; '.join(newer)}): what is finished is kept as it is")


def check_same(directory: Folder, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Whether a folder with the identity `old` may hold work of the identity `new`.

    Raises:
      ValueError: it may not; the message lists what differs.
    """
    parts = (
        {k: v for k, v in one.items() if k != "versions"} for one in (old, json.loads(json.dumps(dict(new))))
    )
    changes = differences(*parts)
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
            agreed(lambda: stack.enter_context(_locked(directory, identity, restart=restart, say=say)))
        yield


@contextlib.contextmanager
def _locked(
    directory: Folder, identity: Mapping[str, Any], *, restart: bool, say: Callable[[str], None]
) -> Iterator[None]:
    if restart and directory.exists():  # what is in use is not moved away
        with _lock(directory):
            pass
    claim(directory, identity, restart=restart, say=say)
    with _lock(directory):
        yield


@contextlib.contextmanager
def _lock(directory: Folder) -> Iterator[None]:
    if in_bucket(directory):  # nothing can be locked there; a lease would hold up a lost machine's successor
        yield
        return
    assert isinstance(directory, Path)
    with (directory / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{directory} is in use by another process; wait for it or stop it") from None
        yield
