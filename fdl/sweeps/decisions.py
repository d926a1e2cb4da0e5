"""A scheduler's decisions as they are stored: each once, and the same whenever it is made again."""

from typing import Any

from fdl.storage import Folder
from fdl.sweeps.racing import Decided
from fdl.sweeps.space import Sweep
from fdl.train.folder import read_sealed, write_sealed

FIX = "remove that file and repeat, and it is decided again"
"""What to do about a damaged file of decisions or plans."""


def decisions_in(place: Folder) -> dict[tuple[int, int], dict[str, Any]]:
    """The decisions in a schedule's folder, by population and step; `ValueError` if one is damaged."""
    found = {}
    for path in (place / "decisions").glob("*.json"):
        population, _, step = path.stem.partition("-")
        found[int(population), int(step)] = read_sealed(path, fix=FIX) or {}
    return found


def agree(place: Folder | None, space: Sweep, say: Any, decided: Decided) -> None:
    """Stores a decision, or finds that it is the one that is stored.

    Raises:
      ValueError: it is another.
    """
    went, ran_on = len(decided.going), len(decided.ran_on)
    more = f"; {ran_on} drawn at random run on all the same" if ran_on else ""
    say(f"step {decided.step:,}: {went} of {len(decided.arms)} arms go on{more}")
    if place is None:
        return
    names = list(dict.fromkeys(trial.arm for trial in space.trials))
    told = {
        "arms": [names[arm] for arm in decided.arms],
        "going": [names[one.arm] for one in decided.going],
        "ran_on": [names[arm] for arm in decided.ran_on],
    }
    path = place / "decisions" / f"{decided.population}-{decided.step}.json"
    before = read_sealed(path, fix=FIX)
    if before is not None and before != told:
        raise ValueError(
            f"{path} holds another decision than now: either decide is no pure function of the curves, the "
            "configs and the key, or runs that were trained again have other numbers here; mend it, or start "
            "again with --restart (restart=True)"
        )
    if before is None:
        write_sealed(path, told)
