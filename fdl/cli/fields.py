"""An experiment's fields as flags: `--lr`, `--net.depth` of a dataclass inside, `--grid.lr` of several.

A field that is called as an option of a command, or as what begins other flags, is `--config.<field>`.
"""

import dataclasses
import re
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any

import tyro

from fdl.configs import at

Parse = Callable[[type, Sequence[str]], Any]
"""`parse(dataclass, words)` reads flags."""
TAKEN = ("config", "grid", "help")
"""Beside the commands' options, what a field's flag cannot be called."""


def leaves_of(cls: Any) -> dict[str, Any]:
    """The annotation of each field of a config's class by path; of dataclasses inside, their fields'."""
    found = {}
    for name, hint in typing.get_type_hints(cls).items():
        if name not in {field.name for field in dataclasses.fields(cls)}:
            continue
        inner = leaves_of(hint) if _is_dataclass(hint) else None
        found |= {name: hint} if inner is None else {f"{name}.{k}": v for k, v in inner.items()}
    return found


def flag_of(path: str, cls: Any, taken: Iterable[str]) -> str:
    """A field's flag without the dashes before it.

    Args:
      path: the field.
      cls: the config's class.
      taken: the names of all options.
    """
    first, hints = path.partition(".")[0], typing.get_type_hints(cls)
    negated = first.startswith("no_") and hints.get(first.removeprefix("no_")) is bool
    word = _word(first, hints)
    names = {one.replace("_", "-") for one in (*TAKEN, *taken)}
    prefix = "config." if negated or {word, f"no-{word}"} & names else ""
    return prefix + grid_flag_of(path, cls)


def grid_flag_of(path: str, cls: Any) -> str:
    """What follows `--grid.` for a field; of a dataclass inside, its fields as the parser calls them."""
    first, *inner = path.split(".")
    return ".".join([_word(first, typing.get_type_hints(cls)), *map(_dashed, inner)])


def _word(name: str, names: Iterable[str]) -> str:
    """A field's name in a flag, without the underscores of `class_` and `_x` if no other is called so."""
    bare = name.strip("_")
    alone = sum(other.strip("_") == bare for other in names) == 1
    return _dashed(bare if bare and alone else name)


def _dashed(name: str) -> str:
    """Dashes for the underscores of a name, but at its ends."""
    return re.sub(r"(?<=[^_])_+(?=[^_])", lambda run: "-" * len(run[0]), name)


def fields_type(cls: Any, taken: Iterable[str]) -> type:
    """A dataclass whose flags are the fields of a config's class, with its defaults and docstrings."""
    hints, parts = typing.get_type_hints(cls), []
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        if any(map(_is_dataclass, typing.get_args(hint))):
            hint = tyro.conf.Suppress[hint]  # it would be a subcommand
        flag = flag_of(field.name, cls, taken)
        named = Annotated[hint, tyro.conf.arg(name=flag, prefix_name=False)]
        given = field.default_factory if field.default is dataclasses.MISSING else None
        default = (
            dataclasses.field(default=field.default)
            if given is None
            else dataclasses.field(default_factory=given)
        )
        parts.append((field.name, named, default))
    return dataclasses.make_dataclass("Fields", parts, bases=(cls,), frozen=True)


def given_in(words: Sequence[str], flag: str) -> bool:
    """Whether a flag, or for a switch its contrary, is among the words of a command line."""
    *above, name = flag.replace("_", "-").split(".")
    forms = {f"--{'.'.join([*above, form])}" for form in (name, f"no-{name}")}
    return bool(forms & {word.partition("=")[0].replace("_", "-") for word in words})


def changed_in(words: Sequence[str], parsed: Any, cls: Any, taken: Iterable[str]) -> dict[str, Any]:
    """The values of the fields that a command line gives, by path."""
    flags = {path: flag_of(path, cls, taken) for path in leaves_of(cls)}
    return {path: at(parsed, path) for path, flag in flags.items() if given_in(words, flag)}


def grid_type(cls: Any) -> type:
    """A dataclass whose flags take several values for each field; those of tuples are words with commas."""
    parts = []
    for index, (path, hint) in enumerate(leaves_of(cls).items()):
        flag = grid_flag_of(path, cls)
        if _has_tuple(hint):
            named = tyro.conf.arg(name=flag, metavar="A,B ...", help="each value with commas")
            parts.append((f"field{index}", Annotated[tuple[str, ...], named], dataclasses.field(default=())))
        elif not any(map(_is_dataclass, typing.get_args(hint))):
            named = tyro.conf.arg(name=flag)
            parts.append((f"field{index}", Annotated[tuple[hint, ...], named], dataclasses.field(default=())))
    return dataclasses.make_dataclass("Grid", parts)


def columns_in(words: Sequence[str], parsed: Any, cls: Any, parse: Parse) -> dict[str, tuple[Any, ...]]:
    """The values of `--grid` by field.

    Raises:
      ValueError: a flag without values, or values that do not fit.
    """
    found = {}
    for index, (path, hint) in enumerate(leaves_of(cls).items()):
        flag = f"grid.{grid_flag_of(path, cls)}"
        given = getattr(parsed, f"field{index}", ())
        if not given and given_in(words, flag):
            raise ValueError(f"--{flag} has no values; write those to try after it, as --{flag} A B")
        if given:
            found[path] = (
                tuple(_tuple_of(word, hint, flag, parse) for word in given) if _has_tuple(hint) else given
            )
    return found


def _tuple_of(word: str, hint: Any, flag: str, parse: Parse) -> Any:
    """A value of a tuple's field, written with commas."""
    one = dataclasses.make_dataclass("One", [("value", Annotated[hint, tyro.conf.arg(name=flag)])])
    return parse(one, [f"--{flag}", *(part for part in word.strip("()").split(",") if part)]).value


def _is_dataclass(hint: Any) -> bool:
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def _has_tuple(hint: Any) -> bool:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(map(_has_tuple, typing.get_args(hint)))
    return hint is tuple or origin is tuple
