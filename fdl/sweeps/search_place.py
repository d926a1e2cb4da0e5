"""The folder of a search in a work directory: what it is known by, and who holds it."""

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from fdl.cells import texts
from fdl.serialization import digest, essence, to_json
from fdl.storage import Folder
from fdl.sweeps.drawn import Space, config_of, draws, edges
from fdl.sweeps.goal import Goal
from fdl.sweeps.scheduled import told_of_scheduler
from fdl.sweeps.schedulers import Scheduler
from fdl.train.folder import held
from fdl.train.progress import Progress

_PROBES = 256
"""Configs, drawn at random, that tell constraints apart."""


def search_identity(
    space: Space,
    goal: Goal,
    asks: Mapping[str, Any],
    program: Mapping[str, Any],
    scheduler: Scheduler | None,
    steps: int,
) -> dict[str, Any]:
    """What decides which trials there are, beside their number.

    Args:
      space: where the search looks.
      goal: by what it chooses.
      asks: how its sampler asks.
      program: what all its runs share, as of `fdl.train.identity.of_program`.
      scheduler: who leads its populations, if any does.
      steps: of each run.
    """
    fields = {
        name: [one.low, one.high, one.log, len(one.values), texts(one.condition.values()), [*one.condition]]
        for name, one in space.fields.items()
    }
    return {
        "kind": "search",
        "space": {"configs": [to_json(config) for config in edges(space)], "fields": fields},
        "goal": {"better": [*goal.better.items()], "seeds": goal.seeds},
        **({"allowed": _allowed(space)} if space.constraints else {}),
        "asked": dict(asks),
        "program": digest(essence(program)),
        **({"scheduler": told_of_scheduler(scheduler, steps)} if scheduler else {}),
    }


def _allowed(space: Space) -> list[bool]:
    """What tells one space's constraints from another's: which configs they allow, of some."""
    drawn = (config_of(space, row) for row in itertools.islice(draws(space), _PROBES))
    return [space.allows(config) for config in (*edges(space), *drawn)]


@contextlib.contextmanager
def held_search(
    directory: Folder | None,
    shared: Mapping[str, Any],
    about: Mapping[str, Any],
    restart: bool,
    progress: Progress,
) -> Iterator[Folder | None]:
    """Claims a work directory, and keeps other processes out of the search's folder in it while it lasts."""
    with held(directory, shared, restart=restart, say=progress.say):
        pass  # each sweep holds it again
    place = directory / "searches" / digest(about) if directory else None
    with held(place, about, say=progress.say):
        yield place
