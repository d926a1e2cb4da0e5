"""Two results as one: their tables of runs, and what else is told of them."""

from collections.abc import Collection, Mapping, Sequence
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


def check_programs(
    one: Mapping[str, Any], other: Mapping[str, Any], arms: Collection[str], called: Mapping[str, str]
) -> None:
    """Raises `ValueError` where two results have runs of one config that different experiments trained, as
    far as `Result.meta` tells it by `identities`, a digest of each arm's.

    Args:
      one: what is told of the first result.
      other: of the second.
      arms: the arms that the first has runs of.
      called: as `joined_names` gives.
    """
    mine, theirs = one.get("identities", {}), other.get("identities", {})
    for arm, name in called.items():
        if name in arms and mine.get(name) != theirs.get(arm) and name in mine and arm in theirs:
            raise ValueError(
                f"both results have runs of {name}, but of other experiments (their code, values or JAX's "
                "settings differ); train one again, or leave it out, as by where"
            )


def joined_tables(
    runs: pd.DataFrame,
    ones: Mapping[str, pd.DataFrame],
    others: Mapping[str, pd.DataFrame],
    called: Mapping[str, str],
    fields: Sequence[str],
) -> dict[str, pd.DataFrame]:
    """`joined_table` of each table by name; one that a result lacks has no rows there."""
    pairs = {
        name: (ones.get(name, table.iloc[:0]), others.get(name, table.iloc[:0]))
        for name, table in {**others, **ones}.items()
    }
    return {name: joined_table(runs, *pair, called, fields) for name, pair in pairs.items()}


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
    known = set(zip(runs["arm"], runs["seed"], strict=True))
    again = np.array([run in known for run in zip(other["arm"], other["seed"], strict=True)], dtype=bool)
    measured = [name for name in one.columns if name not in fields]
    for (arm, seed), rows in other[again].groupby(["arm", "seed"], sort=False):
        mine = one[(one["arm"] == arm) & (one["seed"] == seed)]
        if not mine[measured].reset_index(drop=True).equals(rows[measured].reset_index(drop=True)):
            raise ValueError(f"both results have {arm} with seed {seed}, but other numbers; leave one out")
    rest = other[~again]
    there = [table for table in (one, rest) if len(table)]  # one without rows may lack columns
    both = pd.concat(there, ignore_index=True) if len(rest) else one
    return both.assign(**{name: column([*one[name], *rest[name]]) for name in fields})


def joined_meta(
    one: Mapping[str, Any], other: Mapping[str, Any], arms: Collection[str], called: Mapping[str, str]
) -> dict[str, Any]:
    """What a report tells of both results, `Result.meta`; configs and identities of arms that have
    runs there.

    Args:
      one: of the first result.
      other: of the second.
      arms: the arms that the first has runs of.
      called: as `joined_names` gives.
    """
    renamed = [_with_arms(program, called) for program in other.get("programs", ())]
    joined = dict(_joined(one, {**other, "programs": renamed} if renamed else other))
    for by_arm in {"configs", "identities"} & joined.keys():
        kept = {arm: value for arm, value in one.get(by_arm, {}).items() if arm in arms}
        new = {called[arm]: value for arm, value in other.get(by_arm, {}).items() if arm in called}
        joined[by_arm] = {**kept, **new}
    joined.pop("same", None)
    if same := _joined_same(one.get("same", {}), other.get("same", {}), arms, called):
        joined["same"] = same
    return joined


def _joined_same(
    one: Mapping[str, str], other: Mapping[str, str], arms: Collection[str], called: Mapping[str, str]
) -> dict[str, str]:
    """The arms that are the same as another in both results, or in one if the other has runs of neither."""
    mine = {arm: of for arm, of in one.items() if arm in arms}
    theirs = {called[arm]: called.get(of, of) for arm, of in other.items() if arm in called}
    alone = {arm: of for arm, of in mine.items() if not {arm, of} & set(called.values())}
    alone |= {arm: of for arm, of in theirs.items() if not {arm, of} & set(arms)}
    return alone | {arm: of for arm, of in mine.items() if theirs.get(arm) == of}


def _with_arms(program: Mapping[str, Any], called: Mapping[str, str]) -> dict[str, Any]:
    return {**program, "arms": [called.get(arm, arm) for arm in program.get("arms", ())]}


def _joined(one: Any, other: Any) -> Any:
    """What is alike once, lists and names joined, times added."""
    if one == other:
        return one
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return {
            **one,
            **other,
            **{name: _joined(one[name], other[name]) for name in one if name in other},
        }
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return [*one, *(item for item in other if item not in one)]
    return one + other if isinstance(one, float) else f"{one}; {other}"
