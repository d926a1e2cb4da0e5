"""Two results as one: their tables of runs, and what else is told of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fdl.cells import column, identity


def check_alike(one: Sequence[str], other: Sequence[str], what: str) -> None:
    """Raises `ValueError` unless two results have the same `what`, in any order."""
    if set(one) != set(other):
        raise ValueError(
            f"the results have other {what}: {', '.join(one)}; and {', '.join(other)}; expected the same"
        )


def joined_names(runs: pd.DataFrame, others: pd.DataFrame, fields: Sequence[str]) -> dict[str, str]:
    """What each of the other arms is called: as the first one of its config.

    Args:
      runs: a row per run, `Result.runs` of the first result.
      others: of the second one.
      fields: the columns that make a config.

    Raises:
      ValueError: one name for two configs.
    """

    def configs(table: pd.DataFrame) -> dict[str, tuple[Any, ...]]:
        arms = table.drop_duplicates("arm").to_dict("records")
        return {run["arm"]: tuple(identity(run[name]) for name in fields) for run in arms}

    known, found = configs(runs), {}
    called = {config: arm for arm, config in reversed(known.items())}
    for arm, config in configs(others).items():
        found[arm] = called.get(config, arm)
        if known.get(found[arm], config) != config:
            raise ValueError(
                f"both results have an arm {arm!r}, with other values; leave one out, as by where"
            )
    return found


def joined_table(
    runs: pd.DataFrame,
    one: pd.DataFrame,
    other: pd.DataFrame,
    called: Mapping[str, str],
    fields: Sequence[str],
) -> pd.DataFrame:
    """The rows of both tables, those of a run that both results have once.

    Args:
      runs: a row per run of the first result.
      one: its table.
      other: that of the second.
      called: as `joined_names` gives.
      fields: the columns that make a config.

    Raises:
      ValueError: a run that both have, with other numbers in the other.
    """
    other = other.assign(arm=[called[arm] for arm in other["arm"]])
    there = set(zip(runs["arm"], runs["seed"], strict=True))
    again = np.array([run in there for run in zip(other["arm"], other["seed"], strict=True)], dtype=bool)
    measured = [name for name in one.columns if name not in fields]
    for (arm, seed), rows in other[again].groupby(["arm", "seed"], sort=False):
        mine = one[(one["arm"] == arm) & (one["seed"] == seed)]
        if not mine[measured].reset_index(drop=True).equals(rows[measured].reset_index(drop=True)):
            raise ValueError(f"both results have {arm} with seed {seed}, but other numbers; leave one out")
    rest = other[~again]
    both = pd.concat([one, rest], ignore_index=True) if len(rest) else one
    return both.assign(**{name: column([*one[name], *rest[name]]) for name in fields})


def joined_facts(one: Any, other: Any) -> Any:
    """What a report tells of both: what is alike once, lists and names joined, times added."""
    if one == other:
        return one
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return {
            **one,
            **other,
            **{name: joined_facts(one[name], other[name]) for name in one if name in other},
        }
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return [*one, *(item for item in other if item not in one)]
    return one + other if isinstance(one, float) else f"{one}; {other}"
