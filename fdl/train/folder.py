"""Files that are never half-written: what a folder holds, and the rows that a population measured.

unit.json          what runs here; written once, before anything else
metrics.jsonl      a line per member and evaluation
checkpoints/       see `checkpoint`
done.json          written last: every member's end
"""

import itertools
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from fdl.serialization import differences


def write_atomically(path: Path, text: str) -> None:
    """Writes a file so that a reader, or a crash, sees the old text or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def write_json(path: Path, data: Any) -> None:
    """`write_atomically` of indented JSON."""
    write_atomically(path, json.dumps(data, indent=1) + "\n")


def read_json(path: Path) -> Any:
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


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a `.jsonl` file; a last line that a crash cut short is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            rows.append(json.loads(line))
    return rows


def append_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Adds rows to a `.jsonl` file and makes sure that they are on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
        file.flush()
        os.fsync(file.fileno())


def keep_rows(path: Path, keep: Callable[[Mapping[str, Any]], bool]) -> list[dict[str, Any]]:
    """Drops the rows of a `.jsonl` file that a resumed run will measure again; the rest."""
    rows = [row for row in read_rows(path) if keep(row)]
    if path.exists():
        write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows))
    return rows


def claim(directory: Path, identity: Mapping[str, Any], *, restart: bool = False) -> None:
    """Makes a folder that of one piece of work, or finds that it is already.

    Args:
      directory: the folder.
      identity: JSON-able data that says what the work is.
      restart: move what is there aside (to `<folder>.1`, ...) and begin anew; nothing is deleted.

    Raises:
      ValueError: the folder holds other work; the message lists each difference.
      OSError: the folder cannot be written.
    """
    path = directory / "identity.json"
    if restart and directory.exists():
        aside = (directory.with_name(f"{directory.name}.{number}") for number in itertools.count(1))
        directory.rename(next(folder for folder in aside if not folder.exists()))
    found = read_json(path)
    if found is None:
        write_json(path, dict(identity))
        return
    changes = differences(found, json.loads(json.dumps(dict(identity))))
    if changes:
        raise ValueError(
            f"{directory} holds another run ({'; '.join(changes)}); "
            "choose another directory, or move it aside with --restart"
        )
