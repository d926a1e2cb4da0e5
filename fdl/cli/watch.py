"""`fdl watch`: how the runs in a work directory stand, from its files alone."""

import contextlib
import dataclasses
import time
import warnings
from collections.abc import Sequence

import tyro
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from fdl.cli.flags import parse_options
from fdl.cli.options import Switch
from fdl.report.schedule import schedule
from fdl.report.standing import standing
from fdl.report.terminal import fitted_table
from fdl.result import Better, Result
from fdl.storage import Folder, folder
from fdl.sweeps.schedule_folder import last_schedule
from fdl.train.folder import identity_in, is_held
from fdl.trained import load


@dataclasses.dataclass
class WatchOptions:
    """`fdl watch`."""

    directory: tyro.conf.Positional[str]
    """a work directory, as runs/first/0123456789abcdef; local or in a bucket"""
    once: Switch = False
    """look once, and end"""
    metric: str | None = None
    """by which arms rank, as validation/loss (default: the first that the report shows)"""
    better: Better | None = None
    """which way METRIC is better (default: a loss or an error lower, all else higher)"""
    every: float = 5.0
    """seconds between two looks"""


def execute(words: Sequence[str]) -> int:
    """Runs the command on the words after its name, until Ctrl-C; returns the exit code.

    Raises:
      ValueError: there is no such directory, no such metric in it, or with `--once` nothing measured yet.
    """
    options = parse_options("fdl watch", WatchOptions, words)
    if not options.every > 0:
        raise ValueError(f"--every is {options.every}; expected seconds, more than 0")
    if not folder(options.directory).exists():
        raise ValueError(f"{options.directory} is no folder; expected a work directory, as a sweep names it")
    console = Console()
    if options.once:
        console.print(_shown(*_seen(options), options, console))
        return 0
    with contextlib.suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) as live:
        before = ""
        while True:
            shown = _look(options, console)
            if console.is_terminal:
                live.update(shown, refresh=True)
            elif (text := _text(shown, console)) != before:  # only what is new
                before = text
                console.print(shown)
            time.sleep(options.every)
    return 0


def board(
    result: Result, console: Console, metric: str | None = None, better: Better | None = None
) -> RenderableType:
    """What `standing` tells, as wide as the console; the columns that matter most, where not all fit. With a
    scheduler, who went on at each rung so far."""
    heading, columns = standing(result, metric, better)
    names = [column.name for column in columns]
    first = (
        "arm",
        names[names.index("rank") - 1],
        "rank",
        "left",
        "curve",
        "step",
        "ended",
    )  # and the metric
    parts: list[RenderableType] = [Text(heading, style="dim"), fitted_table(console, columns, first)]
    if result.meta.get("schedule", {}).get("rungs"):
        told = schedule(result.meta["schedule"])
        names = [column.name for column in told.columns]
        parts += [Text(told.heading, style="dim"), fitted_table(console, told.columns, names)]
    return Group(*parts)


def _look(options: WatchOptions, console: Console) -> RenderableType:
    """What there is to see now, or why there is nothing yet."""
    try:
        result, note = _seen(options)
    except (OSError, ValueError) as error:
        return Text(str(error), style="dim")
    return _shown(result, note, options, console)


def _seen(options: WatchOptions) -> tuple[Result, str]:
    """What is measured, and a note where nobody trains what has not come to its end."""
    given = folder(options.directory)
    place, shown = _held_place(given), _led_now(given)
    free = not is_held(place)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* is of a search")  # to watch is not to judge
        result = load(shown)
    if shown != given:
        told = "A scheduler leads this search: here is the population that was led last"
        told = "These runs judge what the search chose" if shown.name == "units" else told
        return result, f"{told}; results.parquet has all"
    if free and (result.frame["status"] == "running").any() and not is_held(place):
        how = "what is called running was stopped, and goes on with the same command"
        return result, f"No process holds {place}: {how}"
    return result, ""


def _shown(result: Result, note: str, options: WatchOptions, console: Console) -> RenderableType:
    table = board(result, console, options.metric, options.better)
    return Group(table, Text(note)) if note else table


def _led_now(place: Folder) -> Folder:
    """What to look at of a work directory: of a search whose populations a scheduler leads, which are no one
    result, that which was led last; else all."""
    if not (place / "searches").exists() or (last := last_schedule(place)) is None:
        return place
    judged = any((place / "units").glob("*/unit.json"))
    return place / "units" if judged else last


def _held_place(place: Folder) -> Folder:
    """The work directory, which a command holds, of it or of a folder in it that `load` takes."""
    if identity_in(place):
        return place
    if place.name == "units":
        return place.parent
    return place.parent.parent if place.parent.name == "schedules" else place


def _text(shown: RenderableType, console: Console) -> str:
    with console.capture() as capture:
        console.print(shown)
    return capture.get()
