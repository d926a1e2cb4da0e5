"""How what runs tells the outside of its progress."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from fdl.text import named


class Progress(NamedTuple):
    """Functions that are called while something trains, and return at once.

    Attributes:
      say: a line for the user.
      step: `step(done, total, live)`: steps done and in all, of a sweep those of all members together; and
        members still running.
      evaluated: `evaluated(rows)` after each evaluation, for each run `{"step": updates, "test/loss": number,
        ...}`, of a sweep with its `"arm"` and `"seed"`. They are copies: nothing done to them changes a
        run. After an error, which is said and ends no run, it is not called again. After a kill what was
        evaluated since the last checkpoint comes once more. Of several processes the first calls it.
      asked: `asked(population)` before `fdl.search` trains a population of trials, a
        `fdl.sweeps.populations.Population`. An error in it is treated alike.

    Example:
      >>> from fdl import train
      >>> seen = []
      >>> progress = train.Progress(evaluated=lambda rows: seen.extend(row["test/loss"] for row in rows))
      >>> progress.evaluated([{"step": 10, "test/loss": 0.5}])
      >>> seen
      [0.5]
    """

    say: Callable[[str], None] = lambda _: None
    step: Callable[[int, int, int], None] = lambda *_: None
    evaluated: Callable[[list[dict[str, Any]]], None] = lambda _: None
    asked: Callable[[Any], None] = lambda _: None


def harmless(progress: Progress) -> Progress:
    """The same, but an error in `evaluated` or `asked` is said: a mistake in what only looks on costs no
    run."""
    looks_on = {name: _until_broken(progress, name) for name in ("evaluated", "asked")}
    return progress._replace(**looks_on)


def _until_broken(progress: Progress, name: str) -> Callable[[Any], None]:
    broken = False

    def told(what: Any) -> None:
        nonlocal broken
        if broken:
            return
        try:
            getattr(progress, name)(what)
        except Exception as error:
            broken = True
            progress.say(f"progress.{name} is not called again: {named(error)}")

    return told


def progress_of(
    progress: Progress,
    runs: Sequence[Mapping[str, Any]],
    *,
    before: int,
    total: int,
    counted: int | None = None,
) -> Progress:
    """What some runs of a sweep, trained together, tell it.

    Args:
      progress: the sweep's.
      runs: by the member's number what tells its rows from others, as `{"arm": ..., "seed": ...}`.
      before: steps of the runs that come first.
      total: steps of all.
      counted: how many of them are among all, if not each is.
    """
    counted = len(runs) if counted is None else counted

    def evaluated(rows: list[dict[str, Any]]) -> None:
        progress.evaluated([{**runs[row.pop("member")], **row} for row in rows])

    step = lambda done, _, live: progress.step(before + done * counted, total, live)  # noqa: E731
    return Progress(progress.say, step, evaluated)
