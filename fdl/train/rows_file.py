"""The rows that a population measured, in a `.jsonl` file: a line per member and evaluation.

In a bucket, where nothing can be appended to, it is a folder with an object an evaluation.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from etils import epath

from fdl.storage import Folder, in_bucket, put, read_all, remove, write_atomically

Rows = list[dict[str, Any]]


class Sum:
    """The count and the digest of rows in their order, as they come."""

    def __init__(self, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        """Begins with some rows."""
        self._count, self._hash = 0, hashlib.sha256()
        self.add(rows)

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Adds what comes next."""
        rows = list(rows)
        self._count += len(rows)
        self._hash.update(_text(rows).encode())

    def told(self) -> dict[str, Any]:
        """What it is now, JSON-able: equal for equal rows alone."""
        return {"count": self._count, "digest": self._hash.hexdigest()[:32]}


def lacking(rows: Rows, told: Mapping[str, Any] | None, path: Folder) -> str | None:
    """What is wrong with rows that came to `told` (as `Sum.told`) once, in words; None if nothing is."""
    found = Sum(rows).told()
    if found == told:
        return None
    count = told["count"] if told else "an unknown number"
    same = told is not None and found["count"] == count
    return (
        f"{path} has {'other rows than' if same else f'{len(rows)} rows of'} the {count} that were measured"
    )


class Reading(NamedTuple):
    """The rows of a file, and what of it is none: `faults`, in words. A last line that a crash cut short is
    neither."""

    rows: Rows
    faults: list[str]


def read(path: Folder) -> Reading:
    """What the rows' file holds; nothing if there is none.

    Raises:
      OSError: it cannot be read.
    """
    parts = read_all(path) if in_bucket(path) else {str(path): path.read_bytes()} if path.exists() else {}
    rows, faults = [], []
    for name, part in parts.items():
        reading = _parsed(name, part)
        rows += reading.rows
        faults += reading.faults
    return Reading(rows, faults)


def _parsed(name: str, part: bytes) -> Reading:
    rows, faults = [], []
    for number, line in enumerate(part.split(b"\n")[:-1], 1):
        row = _row(line)
        if row is None:
            faults.append(f"line {number} of {name} is no row ({line[:40]!r})")
        else:
            rows.append(row)
    return Reading(rows, faults)


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(row, dict) and all(type(row.get(name)) is int for name in ("member", "step"))
    return row if whole else None


def _text(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def append_rows(path: Folder, rows: Iterable[Mapping[str, Any]]) -> None:
    """Adds rows to the file and makes sure that they are on disk."""
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


def keep_rows(path: Folder, keep: Callable[[Mapping[str, Any]], bool]) -> Rows:
    """Drops the rows that a resumed run will measure again, and what are none; the rest."""
    if in_bucket(path):
        return [row for name, part in read_all(path).items() for row in _keep_part(name, part, keep)]
    rows = [row for row in read(path).rows if keep(row)]
    if path.exists():
        write_atomically(path, _text(rows).encode())
    return rows


def _keep_part(name: str, part: bytes, keep: Callable[[Mapping[str, Any]], bool]) -> Rows:
    """Each object by itself, so that a crash between two of them neither loses a row nor doubles one."""
    kept = [row for row in _parsed(name, part).rows if keep(row)]
    if not kept:
        remove(epath.Path(name))
    elif _text(kept).encode() != part:
        put(epath.Path(name), _text(kept).encode())
    return kept
