"""What a person sees while a sweep runs."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, SpinnerColumn, TextColumn
from rich.progress import Progress as Bar

from fdl.cli.watch import board
from fdl.formats import duration
from fdl.report.terminal import PLAIN
from fdl.result import Result
from fdl.train import Progress

LINE_SECONDS = 10.0
"""How often a line is printed where there is no terminal to draw on."""


@contextlib.contextmanager
def shown(console: Console) -> Iterator[tuple[Progress, Callable[[Result], None]]]:
    """A live display of members, steps a second and time left; plain lines where there is no terminal. With
    it what shows how the arms stand above that, whenever it is called."""
    rate = _Rate()
    if not console.is_terminal:
        yield Progress(lambda line: console.print(line, **PLAIN), _lines(console, rate)), _boards(console)
        return
    columns = (SpinnerColumn(), BarColumn(bar_width=None), TextColumn("{task.description}", markup=False))
    bar, above = Bar(*columns, console=console, expand=True), list[RenderableType]()
    task = bar.add_task("compiling", total=None)
    with Live(console=console, transient=True, get_renderable=lambda: Group(*above, bar)) as live:

        def step(done: int, total: int, running: int) -> None:
            bar.update(task, completed=done, total=total, description=rate.text(done, total, running))

        def say(line: str) -> None:
            live.console.print(line, **PLAIN)

        def stand(result: Result) -> None:
            above[:] = [board(result, console)]

        yield Progress(say, step), stand


def _boards(console: Console) -> Callable[[Result], None]:
    printed = float("-inf")

    def stand(result: Result) -> None:
        nonlocal printed
        if time.monotonic() - printed > LINE_SECONDS:
            printed = time.monotonic()
            console.print(board(result, console))

    return stand


def _lines(console: Console, rate: "_Rate") -> Callable[[int, int, int], None]:
    def step(done: int, total: int, live: int) -> None:
        text = rate.text(done, total, live)
        if time.monotonic() - rate.printed > LINE_SECONDS:
            rate.printed = time.monotonic()
            console.print(text, **PLAIN)

    return step


class _Rate:
    """Steps a second, over what this process itself has done."""

    def __init__(self) -> None:
        self.began = self.printed = time.monotonic()
        self.first, self.last = 0, math.inf

    def text(self, done: int, total: int, live: int) -> str:
        """The progress in words."""
        now = time.monotonic()
        if done < self.last:  # it begins, or as a search does with each population begins again
            self.first, self.began = done, now
        self.last = done
        speed = (done - self.first) / max(now - self.began, 1e-9)
        left = f", {duration((total - done) / speed)} left" if speed > 0 else ""
        return f"{done / total:.0%}, {live} member{'s' if live != 1 else ''}, {speed:,.0f} steps/s{left}"
