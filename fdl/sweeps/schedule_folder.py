"""What says which schedules a work directory holds, so that they are read without the experiment's code.

schedules/NAME/schedule.json   the scheduler, as far as it is data, and its trials; written first
schedules/last.json            which schedule was led last
"""

from collections.abc import Mapping, Sequence
from typing import Any

from fdl.serialization import to_json
from fdl.storage import Folder
from fdl.sweeps.space import Sweep
from fdl.sweeps.units import Group
from fdl.train.folder import read_sealed, write_sealed
from fdl.train.run import evaluation_steps

_FIX = "remove that file and give the sweep's command again, which writes it anew"


def begin_schedule(place: Folder, schedule: Mapping[str, Any], groups: Sequence[Group], space: Sweep) -> None:
    """Writes what a schedule is, and that it is led now.

    Args:
      place: its folder.
      schedule: of `fdl.sweeps.scheduled.schedule_of`.
      groups: the trials by static structure.
      space: the trials in their order.
    """
    if not (place / "schedule.json").exists():
        numbers = {trial: number for number, group in enumerate(groups) for trial in group.trials}
        trials = [
            {"arm": t.arm, "config": to_json(t.config), "seed": t.seed, "group": numbers[t]}
            for t in space.trials
        ]
        told = {"schedule": dict(schedule), "evaluations": evaluation_steps(groups[0].experiment)}
        write_sealed(place / "schedule.json", {**told, "trials": trials}, of=place.name)
    if last_schedule(place.parent.parent) != place:
        write_sealed(place.parent / "last.json", {"schedule": place.name})


def last_schedule(directory: Folder) -> Folder | None:
    """The folder of the schedule that was led last in a work directory, or None.

    Raises:
      ValueError: the file that says so is damaged.
    """
    told = read_sealed(directory / "schedules" / "last.json", fix=_FIX)
    return directory / "schedules" / told["schedule"] if told else None


def schedules_in(directory: Folder) -> list[Folder]:
    """The folders of the schedules of a work directory."""
    return sorted(path.parent for path in (directory / "schedules").glob("*/schedule.json"))


def schedule_in(place: Folder) -> dict[str, Any] | None:
    """What `begin_schedule` wrote into a folder, or None; `ValueError` if it is damaged."""
    return read_sealed(place / "schedule.json", of=place.name, fix=_FIX)
