"""What a person sees while a sweep runs."""

import contextlib
import time
from collections.abc import Callable, Iterator

import rich.progress
from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn

from fdl.formats import duration
from fdl.report.terminal import PLAIN
from fdl.train import Progress

LINE_SECONDS = 10.0
"""How often a line is printed where there is no terminal to draw on."""


@contextlib.contextmanager
def shown(console: Console) -> Iterator[Progress]:
    """A live display of members, steps a second and time left; plain lines where there is no terminal."""
    rate = _Rate()
    if not console.is_terminal:
        yield Progress(lambda line: console.print(line, **PLAIN), _lines(console, rate))
        return
    columns = (SpinnerColumn(), BarColumn(bar_width=None), TextColumn("{task.description}", markup=False))
    with rich.progress.Progress(*columns, console=console, transient=True, expand=True) as bar:
        task = bar.add_task("compiling", total=None)

        def step(done: int, total: int, live: int) -> None:
            bar.update(task, completed=done, total=total, description=rate.text(done, total, live))

        def say(line: str) -> None:
            bar.console.print(line, **PLAIN)

        yield Progress(say, step)


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
        self.first: int | None = None

    def text(self, done: int, total: int, live: int) -> str:
        """The progress in words."""
        now = time.monotonic()
        if self.first is None:
            self.first, self.began = done, now
        speed = (done - self.first) / max(now - self.began, 1e-9)
        left = f", {duration((total - done) / speed)} left" if speed > 0 else ""
        return f"{done / total:.0%}, {live} member{'s' if live != 1 else ''}, {speed:,.0f} steps/s{left}"
