"""Lineages: with what an arm was trained whose config a scheduler changed, or that took another's state."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from fdl.cells import identity, text
from fdl.text import counted


class Change(NamedTuple):
    """From where on an arm was trained otherwise.

    Attributes:
      step: updates done by then; of the first one 0, where it began.
      copied: the arm whose state it took then; None where it kept its own.
      fields: the config's fields from then on, by name.
    """

    step: int
    copied: str | None
    fields: Mapping[str, Any]


Lineages = Mapping[str, Sequence[Change]]
"""By the arm's name, the first `Change` at step 0."""


class Stretch(NamedTuple):
    """A part of a state's past: from which step to which, by which arm, with which fields."""

    start: int
    until: int
    arm: str
    fields: Mapping[str, Any]


def ancestry(lineages: Lineages, arm: str, until: int) -> list[Stretch]:
    """What the state of an arm has gone through, from step 0 on: through those whose states were taken.

    Args:
      lineages: those of the arms that have one; others, whose fields are not known here, end it with `{}`.
      arm: whose state.
      until: after how many updates.

    Example:
      >>> born = Change(0, None, {"lr": 0.1})
      >>> told = {"a": [born, Change(20, "b", {"lr": 0.4})], "b": [born._replace(fields={"lr": 0.5})]}
      >>> [(one.until, one.arm, one.fields["lr"]) for one in ancestry(told, "a", 50)]
      [(20, 'b', 0.5), (50, 'a', 0.4)]
    """
    found: list[Stretch] = []
    while until > 0:
        past = [one for one in lineages.get(arm, ()) if one.step < until]
        last = past[-1] if past else Change(0, None, {})
        found.append(Stretch(last.step, until, arm, last.fields))
        arm, until = last.copied or arm, last.step
    return found[::-1]


def fields_at(changes: Sequence[Change], step: int) -> Mapping[str, Any]:
    """The fields with which the last of so many updates were made."""
    return [one for one in changes if one.step < step or not one.step][-1].fields


def without_one_config(runs: pd.DataFrame, lineages: Lineages, fields: Sequence[str]) -> pd.DataFrame:
    """A table of runs in which the fields that an arm changed are told from the first to the last.

    Args:
      runs: with the columns `arm` and `fields`, of dtype object.
      lineages: of the arms that changed.
      fields: the names of the config's fields.
    """
    if not lineages:
        return runs
    told = courses(lineages)
    each = [told.get(arm, {}) for arm in runs["arm"]]
    columns = {
        name: pd.Series(
            [one.get(name, value) for one, value in zip(each, runs[name], strict=True)], runs.index, object
        )
        for name in fields
    }
    return runs.assign(**columns)


def courses(lineages: Lineages) -> dict[str, dict[str, Any]]:
    """Of each arm the fields from first to last: a text where a field changed, the value where not."""
    return {
        arm: {name: _course(changes, name) for name in changes[0].fields} for arm, changes in lineages.items()
    }


def check_one_config(arms: Collection[str], lineages: Lineages, what: str) -> None:
    """Refuses what takes an arm for runs of one config.

    Args:
      arms: those that are there.
      lineages: of those that changed.
      what: is refused, as the sentence's subject.

    Raises:
      ValueError: one of them changed its config, or went on from another's state.
    """
    if changed := [arm for arm in lineages if arm in set(arms)]:
        raise ValueError(
            f"{what} needs arms of one config each, but a scheduler changed those of "
            f"{counted(len(changed), 'arm')}, as {changed[0]!r}, or had them copy; leave them out by "
            "where(arm=[...]), or train what they ended with from other seeds"
        )


def _course(changes: Sequence[Change], name: str) -> Any:
    """A field's values one after the other: itself if it is one."""
    values = [one.fields[name] for one in changes]
    steps = [v for i, v in enumerate(values) if not i or identity(v) != identity(values[i - 1])]
    if len(steps) == 1:
        return steps[0]
    return " → ".join(map(text, steps) if len(steps) < 4 else (text(steps[0]), "…", text(steps[-1])))
