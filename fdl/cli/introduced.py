"""Which commit introduced what a file's claims ask: whether it is older than the runs, anyone can check."""

import datetime
import subprocess
from pathlib import Path
from typing import NamedTuple

from fdl.identity.asked import asked_syntax


class Introduced(NamedTuple):
    """The commit since which a file's claims ask what they ask today.

    Attributes:
      commit: its hash.
      date: when it was written (git's author date, which a rebase keeps), as "2026-11-28T10:00:00+00:00".
    """

    commit: str
    date: str


def introduced(file: Path) -> Introduced | None:
    """The commit that introduced what a file's claims ask: the oldest from which on every version of the file
    has the same `asked_syntax`. Renames are followed. None where there is no repository, or what the file
    asks today is not committed.

    Where a clone holds only the last commits, it is the oldest of those at most.
    """
    try:
        now = asked_syntax(file.read_text(encoding="utf-8"))
        history = _git(file, "log", "--follow", "--format=%x00%H %at", "--name-only", "--", file.name)
    except (OSError, subprocess.SubprocessError, ValueError, SyntaxError):
        return None
    found = None
    for commit, written, path in _versions(history):
        try:
            before = asked_syntax(_git(file, "show", f"{commit}:{path}"))
        except (subprocess.SubprocessError, SyntaxError):  # deleted there, or of another Python
            break
        if before != now:
            break
        found = Introduced(commit, f"{datetime.datetime.fromtimestamp(written, datetime.UTC).isoformat()}")
    return found


def _versions(history: str) -> list[tuple[str, int, str]]:
    """Of each commit that changed the file, newest first: its hash, its second, the file's path then."""
    parts = [part.split("\n") for part in history.split("\0") if part.strip()]
    heads = [(lines[0].split(), [line for line in lines[1:] if line]) for lines in parts]
    return [(commit, int(second), paths[0]) for (commit, second), paths in heads if paths]


def _git(file: Path, *words: str) -> str:
    command = ["git", "-c", "core.quotePath=false", "-C", str(file.resolve().parent), *words]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    return done.stdout.decode()
