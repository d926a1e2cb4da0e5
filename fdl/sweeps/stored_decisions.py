"""A scheduler's decisions as they are stored: each once, and the same whenever it is made again."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fdl.serialization import to_json
from fdl.storage import Folder
from fdl.sweeps.decision_check import check_going_on
from fdl.sweeps.racing import Decided
from fdl.sweeps.schedulers import Next
from fdl.sweeps.space import Sweep
from fdl.sweeps.units import Group
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


def as_told(
    decided: Decided, names: Sequence[str], encode: Callable[[Any], Mapping[str, Any]]
) -> dict[str, Any]:
    """A decision as it is stored.

    Args:
      decided: the decision.
      names: the arms', by number.
      encode: a config as `fdl.serialization.to_json` has it.
    """
    told: dict[str, Any] = {
        "arms": [names[arm] for arm in decided.arms],
        "going": [names[one.arm] for one in decided.going],
        "ran_on": [names[arm] for arm in decided.ran_on],
    }
    otherwise = {
        names[arm]: {
            "config": None if config is None else dict(encode(config)),
            "copy": None if copy is None else names[copy],
        }
        for arm, config, copy in decided.going
        if (config, copy) != (None, None)
    }
    return {**told, "otherwise": otherwise} if otherwise else told


def going_in(told: Mapping[str, Any], names: Sequence[str]) -> list[Next]:
    """Those that go on by a stored decision, their configs as they are stored."""
    numbers, otherwise = {name: arm for arm, name in enumerate(names)}, told.get("otherwise", {})
    changes = [otherwise.get(arm, {}) for arm in told["going"]]
    return [
        Next(numbers[arm], one.get("config"), None if one.get("copy") is None else numbers[one["copy"]])
        for arm, one in zip(told["going"], changes, strict=True)
    ]


def agree(groups: Sequence[Group], space: Sweep, say: Any, decided: Decided, configs: Sequence[Any]) -> None:
    """Stores a decision, or finds that it is the one that is stored.

    Args:
      groups: the trials by static structure, their folder that of the schedule's units.
      space: the trials.
      say: told of the decision.
      decided: the decision.
      configs: those of all arms until then.

    Raises:
      ValueError: it is another, or cannot be followed.
    """
    check_going_on(decided.going, configs, groups)
    went, ran_on = len(decided.going), len(decided.ran_on)
    more = f"; {ran_on} drawn at random run on all the same" if ran_on else ""
    copies = sum(one.copy is not None for one in decided.going)
    more += f"; {copies} from the state of another" if copies else ""
    say(f"step {decided.step:,}: {went} of {len(decided.arms)} arms go on{more}")
    place = groups[0].folder and groups[0].folder.parent
    if place is None:
        return
    told = as_told(decided, list(dict.fromkeys(trial.arm for trial in space.trials)), to_json)
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
