"""Who trains a sweep's runs: this process, or an executor's workers; with a scheduler or without."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from fdl.result import Result
from fdl.storage import Folder
from fdl.sweeps.assembled import assemble
from fdl.sweeps.distinct import recorded
from fdl.sweeps.executor import Executor
from fdl.sweeps.in_process import say_what_is_there, steps_of, trained_here
from fdl.sweeps.leading import lead, leading, message_for
from fdl.sweeps.raced import raced
from fdl.sweeps.scheduled import How
from fdl.sweeps.schedulers import Scheduler
from fdl.sweeps.space import Sweep
from fdl.sweeps.units import Group, finished_of
from fdl.train.run import Build


def trained_by(
    executor: Executor | None,
    experiment: Build,
    groups: Sequence[Group],
    space: Sweep,
    scheduler: Scheduler | None,
    how: How,
    directory: Folder | None,
    began: float,
    program: Mapping[str, Any],
) -> Result:
    """What a sweep comes to; what is stored is only read.

    Args:
      executor: who trains; this process if None. Another needs a directory.
      experiment: `config -> Experiment`.
      groups: the trials by static structure, checked.
      space: the trials.
      scheduler: which arms go on at which steps; all to the end if None.
      how: how they are trained.
      directory: the sweep's.
      began: when it did, by `time.monotonic`.
      program: what all its runs share.

    Raises:
      ValueError: as `pickled`, or as what trains found.
    """
    if executor is None and scheduler is None:
        return trained_here(groups, space, how, directory, began, program)
    if executor is None:
        assert scheduler
        return raced(groups, space, scheduler, how, directory, began, program)
    assert directory
    message = message_for(executor, experiment, space, directory, how.overrides, how.saving, how.inspected)
    if scheduler is not None:
        with leading(executor, message, how.progress.say) as workers:
            led = how._replace(workers=workers)
            return raced(groups, space, scheduler, led, directory, began, program)
    distinct = recorded(groups, finished=True)
    if say_what_is_there(distinct.groups, how.progress):
        lead(executor, message, how.progress, total=sum(map(steps_of, distinct.groups)))
    distinct = recorded(groups, finished=True)
    trained, seconds = finished_of(distinct.groups), time.monotonic() - began
    return assemble(space, trained, seconds=seconds, program=program, twins=distinct.twins)
