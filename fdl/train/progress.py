"""How what runs tells the outside of its progress."""

from collections.abc import Callable
from typing import NamedTuple


class Progress(NamedTuple):
    """Functions that are called while something trains, and return at once.

    Attributes:
      say: a line for the user.
      step: `step(done, total, live)`: steps done and in all, of a sweep those of all members together; and
        members still running.
    """

    say: Callable[[str], None] = lambda _: None
    step: Callable[[int, int, int], None] = lambda *_: None
