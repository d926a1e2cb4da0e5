"""Where a report goes: what one set of trials gave never replaces what another did.

The file's own sweep has its report in the directory itself, and so has what is reported there first. Reports
of other trials (`--seeds`, `--grid`, a field's flag, an earlier `SWEEP`) are in `reports/<mark>/`, though the
runs themselves are shared.
"""

import datetime
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fdl.report.files import FILES
from fdl.serialization import digest, to_json
from fdl.storage import Folder, in_bucket, move
from fdl.sweeps import Sweep
from fdl.text import command_text
from fdl.train.folder import read_sealed, write_sealed
from fdl.train.history import commit_of

_FILES = (*FILES, "trials.json")


def place(
    directory: Folder, space: Sweep, *, own: bool, schedule: str | None = None, search: str | None = None
) -> Folder:
    """The folder for the report of some trials; what an earlier one holds there is moved to its own place.

    Args:
      directory: where the runs are.
      space: the trials.
      own: whether they are all that the file itself asks for.
      schedule: the name of the schedule by which a scheduler led them, if one did.
      search: the name of the search that chose them, if one did.

    Raises:
      OSError: the directory cannot be written.
    """
    told = _told(space, schedule) | ({"search": search} if search else {})
    before = _before(directory)
    taken = before is not None and before["mark"] != told["mark"]
    folder = directory / "reports" / told["mark"] if taken and not own else directory
    if before and taken and own:
        _move(directory, directory / "reports" / before["mark"])
    write_sealed(folder / "trials.json", told)
    return folder


def running_place(
    directory: Folder, space: Sweep, *, own: bool, sure: bool, schedule: str | None = None
) -> Folder | None:
    """The folder for the table of trials that still run: that of their report, or None.

    Args:
      directory: where the runs are.
      space: the trials.
      own: whether they are all that the file itself asks for.
      sure: whether the report will be of these and no others; if not, no other report makes room for them.
      schedule: as of `place`.

    Raises:
      OSError: the directory cannot be written.
    """
    before = _before(directory)
    if before is None or before["mark"] == _told(space, schedule)["mark"]:
        return directory
    return place(directory, space, own=own, schedule=schedule) if sure else None


def table_place(directory: Folder, search: str) -> Folder:
    """The folder for the table of a search's runs: the work directory itself, unless a report of a sweep or
    of another search is there.

    Raises:
      OSError: the directory cannot be written.
    """
    before = _before(directory)
    if before is None or before.get("search") == search:
        return directory
    there = directory / "reports" / search
    if not in_bucket(there):
        there.mkdir(parents=True, exist_ok=True)
    return there


def _before(directory: Folder) -> dict[str, Any] | None:
    """Of which trials the report in a directory is; where that is damaged, of none that are known."""
    try:
        return read_sealed(directory / "trials.json", fix="")
    except ValueError:
        names = (f"unknown-{number}" for number in itertools.count(1))
        return {"mark": next(name for name in names if not (directory / "reports" / name).exists())}


def made(words: Sequence[str]) -> dict[str, str]:
    """When a report is made, by which command, and from which commit of the repository that holds the file.

    Args:
      words: the command, as `["sweep", "experiments/first.py"]`.
    """
    told = {"date": f"{datetime.datetime.now().astimezone():%Y-%m-%d %H:%M %Z}"}
    told["command"] = command_text(["fdl", *words])
    if commit := commit_of(Path(words[1])):
        told["commit"] = commit
    return told


def _told(space: Sweep, schedule: str | None) -> dict[str, Any]:
    trials = sorted(([t.arm, t.seed, to_json(t.config)] for t in space.trials), key=repr)
    arms = list(dict.fromkeys(trial.arm for trial in space.trials))
    mark = digest(trials if schedule is None else [trials, schedule])
    return {"mark": mark, "arms": arms, "seeds": sorted({trial.seed for trial in space.trials})}


def _move(directory: Folder, target: Folder) -> None:
    if not in_bucket(target):
        target.mkdir(parents=True, exist_ok=True)
    for name in _FILES:
        if (directory / name).exists() and not (target / name).exists():
            move(directory / name, target / name)
