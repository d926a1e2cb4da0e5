"""What a walk from some functions and values finds."""

from typing import Any, NamedTuple


class Meaning(NamedTuple):
    """What some roots mean; JSON-able but for the sets.

    Attributes:
      code: the user's functions and classes that are reached, by name: their `digest`, and `text` for people.
      values: the global names that this code reads, and the roots themselves, described.
      unseen: what could not be described, in words; where there is some, equal meanings tell nothing.
      packages: the installed packages that are reached, by import name.
      arrays: words for the content of every array that is reached.
    """

    code: dict[str, dict[str, str]]
    values: dict[str, Any]
    unseen: set[str]
    packages: set[str]
    arrays: set[str]
