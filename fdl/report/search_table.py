"""The table of a search's trials."""

from collections.abc import Mapping
from typing import Any

from fdl.report.tables import Column, column_of
from fdl.text import counted

SHOWN = 20
"""So many trials of a search are shown, the best."""


def trials(search: Mapping[str, Any]) -> tuple[str, tuple[Column, ...]]:
    """The best trials of a search, `Result.meta["search"]`, or the front: what the table is, its columns."""
    better, every = search["better"], search["trials"]
    lost, [metric, *others] = [t["trial"] for t in every if None in map(t.get, better)], better
    stopped = [number for number in lost if every[number].get("stopped at") is not None]
    sign = -1 if better[metric] == "higher" else 1
    best = sorted(every, key=lambda one: (one["trial"] in lost, sign * (one[metric] or 0.0)))[:SHOWN]
    shown = [every[number] for number in search["front"]] if others else best
    heading = f"The {'front: ' if others else 'best '}{len(shown)} of {counted(len(every), 'trial')} by "
    heading += " and ".join(f"{name}, {side} being better" for name, side in better.items())
    heading += f": means over {counted(len(search['seeds']), 'seed')}. Being the best of many flatters them"
    failed = len(lost) - len(stopped)
    heading += f". {counted(failed, 'trial')} had a run that failed" if failed else ""
    heading += f". {counted(len(stopped), 'trial')} left where the scheduler stopped them" if stopped else ""
    heading += f". {search['refused']:,} more that were asked are not allowed" if search["refused"] else ""
    return heading, tuple(column_of(name, [one[name] for one in shown]) for name in every[0])
