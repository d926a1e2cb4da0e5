"""Flags from dataclasses: an experiment's fields, and the options of each command."""

import argparse
import contextlib
import dataclasses
import functools
import io
import os
import re
import typing
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import flax.linen
import jax
import optax
import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from fdl.cli.fields import changed_in, columns_in, fields_type, grid_type
from fdl.cli.options import OPTIONS, RunOptions, SearchOptions
from fdl.parallel.distributed import Seat, seat_of
from fdl.serialization import find, function_name
from fdl.storage import Folder, in_bucket, path_of
from fdl.text import message_of

LIBRARIES = {"nn": flax.linen, "jax": jax, "jnp": jax.numpy, "optax": optax}
"""Under these names a flag finds functions, besides by full name: `--activation nn.tanh`."""


def parse(
    command: str, options: type, config: type, words: Sequence[str]
) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Reads flags.

    Args:
      command: how help calls it, as `fdl run experiments/first.py`.
      options: the command's dataclass of options.
      config: the experiment's config class; each field is a flag (see `fdl.cli.fields`), and `--grid.<field>`
        takes several values where the command sweeps.
      words: the command line's words after the file.

    Returns:
      The options; the fields that were given; the grid's values by field. Fields of dataclasses inside go by
      their path, as `"net.depth"`.

    Raises:
      ValueError: a flag that does not exist, or a value that does not fit; one line.
    """
    config()  # bad defaults are said before anything of the words
    _check_once(words)
    sweeps, given = options not in (RunOptions, SearchOptions), fields_type(config, option_names())
    parts: list[Any] = [
        ("options", tyro.conf.OmitArgPrefixes[options], dataclasses.field(default_factory=options)),
        ("fields", Annotated[given, tyro.conf.arg(name="")], dataclasses.field(default_factory=given)),
    ]
    if sweeps:
        grid = grid_type(config)
        parts.append(("grid", grid, dataclasses.field(default_factory=grid)))
    read = functools.partial(_parse, prog=command)
    parsed = read(dataclasses.make_dataclass("Flags", parts), words)
    changed = changed_in(words, parsed.fields, config, option_names())
    return parsed.options, changed, columns_in(words, parsed.grid, config, read) if sweeps else {}


def parse_options(command: str, options: type, words: Sequence[str]) -> Any:
    """Reads the flags of a command that takes no experiment's file.

    Raises:
      ValueError: a flag that does not exist, or a value that does not fit; one line.
    """
    _check_once(words)
    return _parse(options, words, prog=command)


def option_names() -> set[str]:
    """The names of the options of all commands."""
    return {field.name for options in OPTIONS.values() for field in dataclasses.fields(options)}


def seat(words: Sequence[str]) -> Seat | None:
    """Which of several processes the flags make this one: asked before the file is loaded, as that may
    use devices.

    Raises:
      ValueError: a flag that does not fit, or is missing.
    """
    found = _early(words, coordinator=str, process_id=int, processes=int)
    return seat_of(found.coordinator, found.process_id, found.processes)


def is_elsewhere(words: Sequence[str]) -> bool:
    """Whether other processes are to train: asked before the file is loaded, as that may use devices."""
    return (_early(words, executor=str).executor or "local") != "local"


def workdir(words: Sequence[str]) -> Folder | None:
    """The work directory, if it is one in a bucket, which is not looked at: asked before the file is loaded,
    as that may compile.

    Raises:
      ValueError: it is no place in a bucket, or has no value.
    """
    given = _early(words, workdir=str).workdir or ""
    return path_of(given) if in_bucket(given) else None


def _early(words: Sequence[str], **kinds: Callable[[str], Any]) -> argparse.Namespace:
    """Some flags' values, or None, of words that have others too; `ValueError` for one that does not fit."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name, kind in kinds.items():
        parser.add_argument(*dict.fromkeys((f"--{name.replace('_', '-')}", f"--{name}")), type=kind)
    try:
        return parser.parse_known_args(words)[0]
    except argparse.ArgumentError as error:
        raise ValueError(str(error)) from None


def _check_once(words: Sequence[str]) -> None:
    """Raises `ValueError` for a flag that is given twice: the parser would take the last and not say so."""
    names = [word.partition("=")[0].replace("_", "-") for word in words if word.startswith("--")]
    for name, times in Counter(names).items():
        if times > 1:
            raise ValueError(f"{name} is given {times} times; expected once")


def _parse(flags: type, words: Sequence[str], *, prog: str) -> Any:
    complaint = io.StringIO()
    columns = os.environ.get("COLUMNS")
    try:
        if not {"-h", "--help"} & set(words):
            os.environ["COLUMNS"] = "1000"  # so that an error is not broken into lines
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(flags, args=list(words), prog=prog, registry=_registry(), add_help=True)
    except SystemExit as end:
        if not end.code:
            raise
        raise ValueError(_first_sentences(complaint.getvalue())) from None
    except (
        AssertionError,
        TypeError,
        argparse.ArgumentError,
        tyro.constructors.UnsupportedTypeAnnotationError,
    ) as e:
        raise ValueError(f"the fields of the config cannot be flags: {message_of(e, most=300)}") from e
    finally:
        if columns is None:
            os.environ.pop("COLUMNS", None)
        else:
            os.environ["COLUMNS"] = columns


def _first_sentences(box: str) -> str:
    """What the parser's framed complaint says, in one line: the problem, and the nearest flag."""
    box = re.sub(r"^[|+]|[|+]$", " ", box.replace("-" * 3, "───"), flags=re.MULTILINE)  # a frame of ASCII
    lines = [line.strip("│╭╮╰╯ ").strip() for line in box.splitlines()]
    parts = re.split("─{3,}", " ".join(line for line in lines[1:] if line))
    parts = [part.strip("─- ") for part in parts if part.strip("─- ")]
    problem = parts[0] if parts else "the flags cannot be read"
    near = re.search(
        r"Perhaps you meant: (--\S+)", box.replace("│", " ").replace("\n", " ").replace("  ", "")
    )
    near = near or re.search(r"Perhaps you meant:\s+(--\S+)", " ".join(lines))
    return f"{problem}; did you mean {near.group(1)}?" if near else f"{problem}; see --help"


def _registry() -> ConstructorRegistry:
    registry = ConstructorRegistry()

    @registry.primitive_rule
    def function(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
        if info.type is not Callable and typing.get_origin(info.type) is not Callable:
            return None
        return PrimitiveConstructorSpec(
            nargs=1,
            metavar="FUNCTION",
            instance_from_str=lambda words: named_function(words[0]),
            is_instance=callable,
            str_from_instance=lambda one: [function_text(one)],
        )

    return registry


def named_function(name: str) -> Callable[..., Any]:
    """The function of a qualified name, or of a short one as `nn.tanh`.

    Raises:
      ValueError: there is none.
    """
    first, _, rest = name.partition(".")
    found = find(name)
    if found is None and first in LIBRARIES:
        found = getattr(LIBRARIES[first], rest, None)
    if not callable(found):
        raise ValueError(f"there is no function {name!r}; write it as nn.tanh or by its full name")
    return found


def function_text(function: Any) -> str:
    """A function as a flag names it."""
    try:
        return function_name(function)
    except ValueError:
        return repr(function)
