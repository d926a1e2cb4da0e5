"""What a report tells of a scheduler: who went on, what that saved, and what it lost."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from fdl import formats
from fdl.report.tables import Column
from fdl.text import counted

_COUNTS = {"arms": "arms", "went on": "going", "ran on all the same": "ran_on", "copied another": "copied"}
_SURE = 1.0
"""Seconds up to the first rung from which on they tell how long the rest would take."""


class ScheduleTable(NamedTuple):
    """A table of rungs, what it is, and sentences below it."""

    heading: str
    columns: tuple[Column, ...]
    sentences: tuple[str, ...]


def schedule(told: Mapping[str, Any]) -> ScheduleTable:
    """A sweep's `Result.meta["schedule"]` in words."""
    heading = f"Who went on, by {told['metric']}, {told['better']} being better: means over seeds"
    rungs: dict[int, dict[str, int]] = {}
    for rung in told["rungs"]:  # of several populations
        sums = rungs.setdefault(rung["step"], dict.fromkeys(_COUNTS.values(), 0))
        sums |= {name: sums[name] + rung[name] for name in sums}
    steps = sorted(rungs)
    columns = [Column("step", tuple(f"{step:,}" for step in steps))]
    columns += [
        Column(name, tuple(f"{rungs[step][key]:,}" for step in steps))
        for name, key in _COUNTS.items()
        if key != "copied" or any(rung[key] for rung in rungs.values())
    ]
    sentences = ("It has not come to its end; what it saves and loses is told then.",)
    if told["saved"] is not None:
        sentences = (_saved(told["saved"]), *_lost(told["lost"]))
    return ScheduleTable(heading, tuple(columns), sentences)


def _saved(saved: Mapping[str, Any]) -> str:
    share = saved["steps"] / saved["steps_of_all"]
    took, whole, compiling = (
        formats.duration(saved[name]) for name in ("seconds", "seconds_of_all", "compile_seconds")
    )
    known = f"; to their end all would have taken about {whole}, at the speed up to the first rung"
    if saved["seconds_at_first"] < _SURE:
        known = ", too little up to the first rung to say what all would have taken to their end"
    if saved["steps"] == saved["steps_of_all"]:
        return f"All {saved['steps']:,} steps of all runs were taken, in {took} of device time."
    return (
        f"{saved['steps']:,} of the {saved['steps_of_all']:,} steps of all runs were taken ({share:.0%}). "
        f"Training took {took} of device time{known}. Compiling the programs for those that went on took "
        f"another {compiling}."
    )


def _lost(lost: Mapping[str, Any] | None) -> tuple[str, ...]:
    if lost is None:
        return ("No arm that went on came to a value.",)
    if not lost["left"]:
        return ("No arm was told to leave.",)
    leaving = counted(lost["left"], "arm")
    if not lost["ran_on"]:
        return (
            f"Of the {leaving} that were to leave none ran on, so nothing says whether one of them is better "
            f"than {lost['chosen']}, the best of those that went on.",
        )
    low, high = (f"{place:,}" for place in lost["rank"])
    place = f"place {low}" if low == high else f"a place from {low} to {high} (95 % interval)"
    first = (
        f"What was lost: of the {leaving} that were to leave, {lost['ran_on']:,} drawn at random ran on all "
        f"the same, and {lost['better']:,} of them ended better than {lost['chosen']}, the best of those "
        f"that went on. Among itself and all that were to leave it has {place}."
    )
    best = lost.get("best")
    if best is None:
        return (first,)
    value, chosen = (formats.number(best[name], digits=3) for name in ("value", "chosen_value"))
    return (
        first,
        f"The best of those that ran on, {best['arm']}, came to {value} against {chosen}. At step "
        f"{best['step']:,}, where it was to leave, it had place {best['rank']:,} of {best['of']:,}.",
    )
