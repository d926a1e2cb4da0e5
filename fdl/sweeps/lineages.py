"""What became of arms whose config a scheduler changed, or that went on from another's state."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from fdl.cells import cell, column
from fdl.configs import values
from fdl.lineage import Change, Lineages, fields_at
from fdl.result import Result
from fdl.sweeps.racing import Race


def name_of_changed(arm: str) -> str:
    """What an arm that changed is called in a result: it is no run of the config that it was called by, and
    has only begun as such."""
    return f"from {arm}"


def names_after(race: Race) -> dict[str, str]:
    """What each arm is called in a result, by its name in the sweep."""
    arms = dict.fromkeys(arm for arm, _ in race.rows)
    changed = [len(turns) > 1 for turns in race.turns]
    return {arm: name_of_changed(arm) if other else arm for arm, other in zip(arms, changed, strict=True)}


def lineages_of(race: Race, fields: Callable[[Any], Mapping[str, Any]]) -> dict[str, tuple[Change, ...]]:
    """Of each arm that changed, by its name in a result; `fields` gives a config's, as a table holds them."""
    called = list(names_after(race).values())
    return {
        name: tuple(
            Change(step, None if copied is None else called[copied], fields(config))
            for step, copied, config in turns
        )
        for name, turns in zip(called, race.turns, strict=True)
        if len(turns) > 1
    }


def as_changed(result: Result, arms: Sequence[str]) -> Result:
    """A made-up result in which some arms count as changed, so that a claim about them is refused."""
    born = {arm: (Change(0, None, result.meta["configs"][arm]),) for arm in arms}
    return dataclasses.replace(result, lineages=born)


def with_fields(table: pd.DataFrame, lineages: Lineages, fields: Sequence[str]) -> pd.DataFrame:
    """A table of evaluations in which each row has the fields with which it was come to."""
    if table.empty or not lineages:
        return table
    rows = list(zip(table["arm"], table["step"], strict=True))
    then = [fields_at(lineages[arm], step) if arm in lineages else {} for arm, step in rows]
    told = {
        name: column([now.get(name, old) for now, old in zip(then, table[name], strict=True)])
        for name in fields
    }
    return table.assign(**{name: one.set_axis(table.index) for name, one in told.items()})


def told_fields(config: Any) -> dict[str, Any]:
    """A config's values by field, as a table holds them."""
    return {name: cell(value) for name, value in values(config).items()}
