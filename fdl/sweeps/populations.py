"""Populations of a search: what is told of each before it is trained, and what all came to so far."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from fdl.result import Result
from fdl.storage import Folder
from fdl.sweeps.led import joined_populations
from fdl.sweeps.loading import so_far
from fdl.sweeps.schedule_loading import last_so_far
from fdl.sweeps.space import Sweep
from fdl.sweeps.units import Trained


class Population(NamedTuple):
    """Trials of a search that are trained together, or the runs that judge what it chose.

    Attributes:
      trials: the runs; arms are called as by `arm_of_trial`.
      before: what the populations before it came to.
      scheduled: whether a scheduler leads it.
      search: the name of the search's folder in the work directory's `searches`; `""` without one.
    """

    trials: Sweep
    before: Sequence[Result]
    scheduled: bool
    search: str


def arm_of_trial(number: int, name: str) -> str:
    """What the arm of a trial is called: unlike any other, whatever digits the name of its config shows.

    >>> arm_of_trial(12, "lr=0.1")
    '12: lr=0.1'
    """
    return f"{number}: {name}"


def trial_of_arm(arm: str) -> int:
    """The number of the trial that asked for an arm first; of `arm_of_trial`.

    >>> trial_of_arm("12: lr=0.1")
    12
    """
    return int(arm.partition(":")[0])


class PopulationsSoFar:
    """What a search has come to, read from the files alone while it runs."""

    def __init__(self, directory: Folder) -> None:
        """Reads nothing yet; `directory` is the work directory."""
        self._directory, self._finished = directory, dict[str, Trained]()
        self._joined: tuple[int, Result | None] = 0, None

    def read(self, now: Population) -> Result | None:
        """What populations came to until that which is trained now, and what that has measured; None where
        nothing is evaluated. Errors as of `so_far`."""
        if now.scheduled:
            own = last_so_far(self._directory, self._finished)
            arms = {trial.arm for trial in now.trials.trials}
            own = own if own and set(own.runs()["arm"]) <= arms else None  # else of the population before
        else:
            own = so_far(self._directory, now.trials, self._finished)
        parts = [one for one in (self._before(now.before), own) if one]
        if not parts:
            return None
        whole = joined_populations(parts)
        schedule = whole.meta.get("schedule")
        told = {"schedule": {**schedule, "name": now.search}} if schedule else {}
        return dataclasses.replace(whole, meta={**whole.meta, **told})

    def _before(self, results: Sequence[Result]) -> Result | None:
        """Earlier populations as one: those that are new are joined with the others."""
        count, joined = self._joined
        if count < len(results):
            joined = joined_populations([*([joined] if joined else []), *results[count:]])
            self._joined = len(results), joined
        return joined
