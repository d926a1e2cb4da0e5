"""Where runs are stored, and units read from their folders without the experiment's code."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from fdl.cells import Identity, identities
from fdl.serialization import cell_of
from fdl.storage import Folder
from fdl.sweeps.space import Trial
from fdl.sweeps.units import LOST, Trained, done_of, unit_from
from fdl.train.folder import read_sealed
from fdl.train.inspecting import stored_inspections
from fdl.train.resume import ROWS
from fdl.train.rows_file import read

ConfigKey = tuple[Identity, ...]
"""What tells a config from others in a table, or an arm that has had several."""


class StoredRun(NamedTuple):
    """Where a run is stored.

    Attributes:
      directory: the work directory.
      unit: the folder of those that were trained with it.
      member: its place among them.
      config: its config, as `fdl.serialization.to_json` wrote it.
      seed: its seed.
      structure: what its static structure means, see `fdl.train.identity.of_structure`.
    """

    directory: Folder
    unit: Folder
    member: int
    config: Mapping[str, Any]
    seed: int
    structure: Mapping[str, Any]


def fields_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """A stored config's values by field, as a table holds them."""
    return {name: cell_of(value) for name, value in config.items()}


def shown_config(config: Mapping[str, Any]) -> ConfigKey:
    """What tells a stored config from others in a table."""
    return tuple(identities(fields_of(config).values()))


def shown_arm(name: str) -> ConfigKey:
    """What tells an arm whose config a scheduler changed from others: no config does."""
    return (("arm", name),)


def told_in(folder: Folder) -> dict[str, Any]:
    """What a unit's `unit.json` says; `ValueError` if it is damaged."""
    return read_sealed(folder / "unit.json", of=folder.name, fix=LOST) or {}


def stored_unit(
    folder: Folder, told: Mapping[str, Any], trials: list[Trial] | None = None, *, looks: bool = True
) -> Trained:
    """A unit, finished or not: of those still running, members have the status `"running"`.

    Args:
      folder: its folder.
      told: what its `unit.json` says.
      trials: its members, where their configs are known; without them if None.
      looks: whether to read what was shown of its runs too.

    Raises:
      ValueError: a file is damaged.
      OSError: a file cannot be read.
    """
    trials = trials or [Trial(member["arm"], None, member["seed"]) for member in told["members"]]
    unit = unit_from(told, trials)
    done, fault = done_of(folder)
    if fault:
        raise ValueError(f"{fault}; the command that trained it makes it again from what there is")
    rows, shown = read(folder / ROWS).rows, stored_inspections(folder) if looks else []
    if done is None:
        return Trained(unit, rows, [{"status": "running"}] * len(trials), {"members": len(trials)}, [], shown)
    return Trained(unit, rows, done["ends"], done["cost"], done["parts"], shown)
