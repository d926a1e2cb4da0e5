"""What others can see of a sweep while it runs: `results.parquet`, and with `--watch` the terminal.

A thread of its own reads what the runs have written and writes the table, so that the loop that trains is
never waited for: all that it does is to say that there is something new.
"""

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from fdl.parallel.distributed import is_first
from fdl.report.files import write_results
from fdl.result import Result
from fdl.storage import Folder
from fdl.text import named
from fdl.train import Progress

SECONDS = 5.0
"""The least from one table to the next."""
PAUSE = 50.0
"""How many times as long as making the last table took the next one waits: it takes 2 % of one core."""


@contextlib.contextmanager
def followed(
    progress: Progress,
    read: Callable[[], Result | None],
    place: Callable[[], Folder | None],
    shown: Callable[[Result], None] | None = None,
    kept: Callable[[Result], None] | None = None,
    *,
    elsewhere: bool = False,
    failed: Callable[[Exception], None] | None = None,
    write: Callable[[Result, Folder], None] = write_results,
) -> Iterator[Progress]:
    """The progress to train with. While it lasts, `results.parquet` tells what a sweep's runs have measured
    so far: soon after an evaluation, at most every `SECONDS`, at once after each population of a search, and
    once more at the end if that is an error or an interruption, as else a report follows.

    An error in it is said once, and ends no run; what `kept` raises at the end goes to `failed`, as what is
    measured is to be reported all the same.

    Args:
      progress: what else is told of the progress.
      read: gives what the runs have measured so far; None before the first evaluation.
      place: asked once, after the first evaluation, for the folder of the table; None writes none.
      shown: shows the same, if given.
      kept: keeps the same in another form, if given; asked once more when all is measured.
      elsewhere: whether other processes train: then it looks without being told.
      failed: told of an error of `kept` at the end; if not given, it is raised.
      write: writes the table into its folder.
    """
    if not is_first():
        yield progress
        return
    target = functools.cache(place)

    def look() -> None:
        result = read()
        if result is not None:
            if there := target():
                write(result, there)
            if shown:
                shown(result)
            if kept:
                kept(result)

    news = _News()
    thread = threading.Thread(target=_look_at, args=(news, look, progress.say, elsewhere), daemon=True)
    thread.start()
    try:
        yield progress._replace(evaluated=news.tell, asked=lambda _: news.tell_at_once())
    except BaseException:
        news.end(thread)
        if news.came or elsewhere:
            with contextlib.suppress(Exception):  # what ended the sweep is what is told
                look()
        raise
    news.end(thread)
    try:
        if kept and (result := read()) is not None:
            kept(result)
    except Exception as error:
        if failed is None:
            raise
        failed(error)


class _News:
    """Whether there is something new, and whether it is over; between the loop and the thread."""

    def __init__(self) -> None:
        self.fresh, self.hurry = threading.Event(), threading.Event()
        self.over = self.came = False

    def tell(self, rows: list[dict[str, Any]]) -> None:
        """There is something new."""
        del rows
        self.came = True
        self.fresh.set()

    def tell_at_once(self) -> None:
        """There is something new that is not to wait: a population has ended, and the next one begins."""
        self.hurry.set()
        self.tell([])

    def end(self, thread: threading.Thread) -> None:
        """It is over: waits for the table that is being made."""
        self.over = True
        self.hurry.set()
        self.fresh.set()
        thread.join()


def _look_at(news: _News, look: Callable[[], None], say: Callable[[str], None], elsewhere: bool) -> None:
    told = False
    while True:
        news.fresh.wait(SECONDS if elsewhere else None)
        news.hurry.clear()
        if news.over:
            return
        news.fresh.clear()
        began = time.monotonic()
        try:
            look()
        except Exception as error:
            if not told:
                say(f"what others see of the runs is not up to date: {named(error)}")
            told = True
        news.hurry.wait(max(SECONDS, PAUSE * (time.monotonic() - began)))
