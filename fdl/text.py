"""What fdl says in one line: errors, hints and lists."""

import difflib
import importlib.metadata
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path


def one_line(text: str, *, most: int | None = None) -> str:
    """A text on one line; of a longer one than `most` characters its beginning and its end.

    >>> one_line("first  line\\nsecond line", most=18)
    'first ... ond line'
    """
    line = " ".join(text.split())
    if most is None or len(line) <= most:
        return line
    start = (most - 5) * 2 // 5  # the cause tends to stand at the end
    return f"{line[:start]} ... {line[-(most - 5 - start) :]}"


def message_of(error: BaseException, *, most: int | None = None) -> str:
    """What an error says, on one line; its type's name where it says nothing."""
    return one_line(str(error), most=most) or type(error).__name__


def named(error: BaseException, *, most: int | None = None) -> str:
    """An error's type and what it says, on one line.

    >>> named(KeyError("lr"))
    "KeyError: 'lr'"
    >>> named(AssertionError())
    'AssertionError'
    """
    return one_line(f"{type(error).__name__}: {error}".removesuffix(": "), most=most)


def innermost(error: BaseException) -> BaseException:
    """The cause of an error's cause, and so on to the first."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def hint(name: str, known: Iterable[str], *, else_say: str = "") -> str:
    """The known name that is nearest to a misspelt one, as a question; or, where none is near, all of them.

    >>> hint("wdith", ["depth", "width"])
    "did you mean 'width'?"
    >>> hint("Y", ["a", "y"])
    "did you mean 'y'?"

    Args:
      name: what came.
      known: what could have come.
      else_say: said instead of all names.
    """
    known = list(known)
    lower = {one.lower(): one for one in reversed(known)}
    near = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.4)
    return f"did you mean {lower[near[0]]!r}?" if near else else_say or f"expected one of {', '.join(known)}"


def counted(number: int, noun: str) -> str:
    """A number of things, as `1 run` or `2 runs`.

    >>> counted(1, "run"), counted(48000, "step")
    ('1 run', '48,000 steps')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def some_of(names: Sequence[str], *, most: int = 4) -> str:
    """Names in a row; of more than `most` the first two and the last.

    >>> some_of(["a", "b", "c", "d", "e"])
    'a, b, ..., e'
    """
    return ", ".join(names if len(names) <= most else [*names[:2], "...", names[-1]])


def no_effect(arms: Sequence[str], of: str) -> str:
    """What is said of arms that are the same program with the same inputs as another.

    >>> no_effect(["b", "c"], "a")
    'b, c had no effect: the same program and inputs as a'
    """
    return f"{some_of(arms)} had no effect: the same program and inputs as {of}"


def no_effects(same: Mapping[str, str]) -> list[str]:
    """`no_effect` of arms by name that each are the same as another."""
    arms: dict[str, list[str]] = {}
    for arm, of in same.items():
        arms.setdefault(of, []).append(arm)
    return [no_effect(names, of) for of, names in arms.items()]


def command_text(words: Sequence[str]) -> str:
    """A command as it is kept and shown, without the folder of its program; passwords in URLs are `***`.

    >>> command_text(["/usr/bin/fdl", "search", "a file.py", "--storage", "postgresql://me:secret@host/db"])
    "fdl search 'a file.py' --storage 'postgresql://me:***@host/db'"
    """
    program, *more = words or [""]
    return shlex.join([Path(program).name, *map(_without_password, more)])


def _without_password(word: str) -> str:
    word = re.sub(r"(://[^:/@]*):.*@", r"\1:***@", word)
    return re.sub(r"([?&]password=)[^&]*", r"\1***", word, flags=re.IGNORECASE)


def version_of(package: str) -> str:
    """The version of an installed package.

    >>> version_of("no-such-package")  # as fdl itself where its folder is only on PYTHONPATH
    'not installed'
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
