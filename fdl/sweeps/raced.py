"""A sweep that a scheduler leads, to its result."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from fdl.result import Result
from fdl.storage import Folder
from fdl.sweeps.schedule_folder import begin_schedule
from fdl.sweeps.schedule_result import scheduled_result
from fdl.sweeps.scheduled import How, place_of_schedule, schedule_of, train_scheduled
from fdl.sweeps.schedulers import Scheduler
from fdl.sweeps.space import Sweep
from fdl.sweeps.units import Group


def raced(
    groups: Sequence[Group],
    space: Sweep,
    scheduler: Scheduler,
    how: How | None,
    directory: Folder | None,
    began: float | None,
    program: Mapping[str, Any],
) -> Result:
    """What a scheduler's sweep comes to.

    Args:
      groups: the trials by static structure, their folder the sweep's.
      space: the trials.
      scheduler: who decides.
      how: how they are trained; None to read only what is stored.
      directory: the sweep's.
      began: when it did, by `time.monotonic`, if it trains.
      program: what all its runs share.

    Raises:
      ValueError: as `train_scheduled`.
    """
    name = ""
    if directory:
        schedule = schedule_of(scheduler, groups, space)
        place = place_of_schedule(directory, schedule)
        groups, name = [group._replace(folder=place / "units") for group in groups], place.name
        if how:
            begin_schedule(place, schedule, groups, space)
    race, trained = train_scheduled(groups, space, scheduler, how, directory=directory)
    seconds = None if began is None else time.monotonic() - began
    steps, told = groups[0].experiment.steps, {"seconds": seconds, "program": program, "name": name}
    return scheduled_result(space, scheduler, race, trained, steps=steps, **told)
