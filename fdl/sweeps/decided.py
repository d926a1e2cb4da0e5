"""Plans that were decided together are stored together: the `unit.json` of several units, all or none."""

from collections.abc import Mapping
from typing import Any

from fdl.storage import Folder, remove
from fdl.train.folder import read_sealed, write_sealed

DECIDED = "decided.json"
"""It is in the folder of the units while they are being written."""


def store(folder: Folder, units: Mapping[str, Any]) -> None:
    """Writes what units are, by their folders' names: a sweep killed in between would decide on another
    plan for those that are missing."""
    write_sealed(folder / DECIDED, units)
    complete(folder)


def complete(folder: Folder) -> None:
    """Ends what `store` began, if a crash came in between."""
    fix = "what was decided and not begun is lost: remove that file, and it is decided again"
    units = read_sealed(folder / DECIDED, fix=fix)
    for name, told in (units or {}).items():
        write_sealed(folder / name / "unit.json", told, of=name)
    if units is not None:
        remove(folder / DECIDED)
