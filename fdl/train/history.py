"""Who trained a run: versions, device, day, command and commit of each part of its steps."""

import datetime
import inspect
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from fdl.serialization import differences
from fdl.text import command_text, version_of
from fdl.train.runtime import machine

Part = dict[str, Any]
"""Consecutive steps that one installation trained, JSON-able: `from` and `to` (updates done before and after
them), `versions` by package, `device`, the `day` (UTC), the `command` and, where known, the `commit`."""
_NAMES = ("fdl", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy")


def versions_here() -> dict[str, str]:
    """Of what decides a run's numbers, by package."""
    return {"python": platform.python_version()} | {name: version_of(name) for name in _NAMES}


def here(experiment: Callable[..., Any] | None = None) -> dict[str, Any]:
    """The versions of what decides a run's numbers, the device, today and the command, of this process.

    Args:
      experiment: the commit of the repository that holds its file is told too, where there is one.
    """
    commit = commit_of(_file_of(experiment))
    return {
        "versions": versions_here(),
        "device": machine(),
        "day": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
        "command": command_text(sys.argv),
        **({"commit": commit} if commit else {}),
    }


def _file_of(function: Callable[..., Any] | None) -> Path | None:
    try:
        name = function and inspect.getsourcefile(inspect.unwrap(function))
    except (TypeError, ValueError):  # an object that is called, or one that wraps itself
        name = None
    return Path(name) if name else None


def commit_of(file: Path | None) -> str:
    """The commit that a file belongs to, and whether anything beside it is not committed; empty where
    there is no repository or no git."""
    if file is None:
        return ""

    def git(*asked: str) -> str:
        command = ["git", "-C", str(file.resolve().parent), *asked]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        commit, changed = git("rev-parse", "HEAD"), git("status", "--porcelain", "--untracked-files=no")
        known = git("ls-files", "--", file.resolve().name)
    except (OSError, subprocess.SubprocessError, ValueError):
        return ""
    notes = [*(["with changes that are not committed"] if changed else [])]
    notes += [] if known else [f"{file.name} is not in it"]
    return ", ".join([commit, *notes])


def extended(parts: Sequence[Part], start: int, end: int, now: dict[str, Any]) -> list[Part]:
    """The parts of a run that was at step `start` and that `now` (of `here`) has brought to step `end`."""
    parts = list(parts)
    if end <= start:
        return parts
    if parts and {name: parts[-1].get(name) for name in now} == now:
        return [*parts[:-1], {**parts[-1], "to": end}]
    return [*parts, {"from": start, "to": end, **now}]


def changed(parts: Sequence[Part], now: dict[str, Any]) -> list[str]:
    """How the versions that are to go on differ from those of the last part, a line each."""
    return differences(parts[-1]["versions"], now["versions"]) if parts else []


def told(units: Iterable[tuple[int, Sequence[Part]]]) -> dict[str, Any]:
    """What a report says of runs: `versions` by package, `device`, and `trained`, the day, the command and
    the commit; where they differ, of which steps.

    Args:
      units: of runs that were trained together how many they are, and their parts.
    """
    units = list(units)
    names = dict.fromkeys(name for _, parts in units for part in parts for name in part["versions"])
    return {
        "versions": {
            name: _of_steps(units, lambda part, n=name: part["versions"].get(n, "absent")) for name in names
        },
        "device": _of_steps(units, lambda part: part["device"]),
        "trained": _of_steps(units, _when),
    }


def _when(part: Part) -> str:
    if "day" not in part:
        return "unknown"  # by an earlier fdl
    at = f", at commit {part['commit']}" if "commit" in part else ""
    return f"{part['day']}, by {part['command']}{at}"


def _of_steps(units: list[tuple[int, Sequence[Part]]], value: Any) -> str:
    found: dict[str, dict[tuple[int, int], int]] = {}
    for runs, parts in units:
        for part in _joined(parts, value):
            ranges = found.setdefault(part[2], {})
            ranges[part[:2]] = ranges.get(part[:2], 0) + runs
    if len(found) < 2:
        return "".join(found)
    return ", ".join(
        f"{text} ({'; '.join(_words(*one) for one in where.items())})" for text, where in found.items()
    )


def _joined(parts: Sequence[Part], value: Any) -> list[tuple[int, int, str]]:
    """First and last steps and the value of parts, those of one value in a row as one."""
    found: list[tuple[int, int, str]] = []
    for part in parts:
        if found and found[-1][2] == value(part):
            found[-1] = (found[-1][0], part["to"], value(part))
        else:
            found.append((part["from"] + 1, part["to"], value(part)))
    return found


def _words(steps: tuple[int, int], runs: int) -> str:
    return f"steps {steps[0]:,} to {steps[1]:,} of {runs} run{'s' if runs != 1 else ''}"
