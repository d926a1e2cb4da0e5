"""Flags from dataclasses: an experiment's fields, and the options of each command."""

import argparse
import contextlib
import dataclasses
import functools
import io
import os
import re
import typing
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import flax.linen
import jax
import optax
import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from fdl.cli.fields import changed_in, columns_in, fields_type, grid_type
from fdl.experiment import Best
from fdl.parallel.hosts import Seat, seat_of
from fdl.parallel.plan import Strategy, parse_mesh
from fdl.serialization import find, function_name
from fdl.train.saving import Saving, check_saving
from fdl.train.text import short

LIBRARIES = {"nn": flax.linen, "jax": jax, "jnp": jax.numpy, "optax": optax}
"""Under these names a flag finds functions, besides by full name: `--activation nn.tanh`."""

Switch = tyro.conf.FlagCreatePairsOff[bool]


@dataclasses.dataclass
class Options:
    """What every command takes."""

    json: Switch = False
    """print one machine-readable line at the end; all else goes to stderr"""


@dataclasses.dataclass
class MeshOptions(Options):
    """What the commands that compile for devices take."""

    mesh: str | None = None
    """over how many devices to split members, rows, parameters and hidden units, as population=2,data=4 or
    fsdp=4,tensor=2 (default: by measurement)"""
    strategy: Strategy = "jit"
    """who splits the rows: the compiler (jit), or each device takes its own (shard_map, pmap)"""

    def sizes(self) -> dict[str, int] | None:
        """Those of the mesh's axes; raises `ValueError` for what is no mesh."""
        return None if self.mesh is None else parse_mesh(self.mesh)


@dataclasses.dataclass
class HostOptions:
    """What makes a process one of several, where the surroundings do not say it; read before all others."""

    coordinator: str | None = None
    """where process 0 listens, as HOST or HOST:PORT, where several processes train together"""
    process_id: int | None = None
    """which of them this is, from 0"""
    processes: int | None = None
    """how many there are"""


@dataclasses.dataclass
class ResultOptions:
    """What the commands that train or report take."""

    best: str | None = None
    """by which metric each run's best state is kept and reported, instead of the last: validation/accuracy"""
    better: typing.Literal["higher", "lower"] | None = None
    """which way BEST is better"""

    def result(self) -> Best | None:
        """Which state is a run's result; raises `ValueError` for one flag without the other, or test/...."""
        if self.best is None and self.better is None:
            return None
        if self.best is None or self.better is None:
            raise ValueError("--best and --better go together, as --best validation/loss --better lower")
        if self.best.startswith("test/"):
            raise ValueError(f"--best is {self.best}: what chooses may not judge; expected a validation/...")
        return Best(self.best, self.better)


@dataclasses.dataclass
class TrainOptions(ResultOptions, HostOptions, MeshOptions):
    """What the commands that train take."""

    workdir: str | None = None
    """where everything goes, also gs://BUCKET/NAME or s3://... (default: runs/NAME/FINGERPRINT)"""
    restart: Switch = False
    """move what the directory holds aside and begin anew; nothing is deleted"""
    checkpoint_seconds: float = 30.0
    """seconds between checkpoints"""
    checkpoint_steps: int | None = None
    """steps between checkpoints, instead of seconds"""
    keep: int = 2
    """how many of the last checkpoints to keep"""

    def saving(self) -> Saving:
        """When to save; raises `ValueError` for numbers that make no sense."""
        saving = Saving(self.checkpoint_seconds, self.checkpoint_steps, self.keep)
        check_saving(saving, "--checkpoint-seconds", "--checkpoint-steps", "--keep")
        return saving


@dataclasses.dataclass
class RunOptions(TrainOptions):
    """`fdl run`."""

    seed: int = 0
    """names the run's randomness"""


@dataclasses.dataclass
class SweepOptions(TrainOptions):
    """`fdl sweep`."""

    seeds: int | None = None
    """seeds of every arm, instead of those in the file"""
    members: int | None = None
    """members in one program, instead of the measured choice"""


@dataclasses.dataclass
class PlanOptions(MeshOptions):
    """`fdl plan`."""

    seeds: int | None = None
    """seeds of every arm, instead of those in the file"""
    members: int | None = None
    """members in one program, instead of the measured choice"""
    topology: str | None = None
    """a slice of TPUs to compile for, as v5e:4x4; none need be there"""
    slices: int = 1
    """how many of them"""
    price: float | None = None
    """of an hour of a chip, to reckon the sweep's"""
    fit: Switch = False
    """search the largest batch, and the cheapest mesh and remat, that fit"""
    quick: Switch = False
    """compile several times as fast, with little optimisation; memory is a tenth off or so"""


@dataclasses.dataclass
class ReportOptions(ResultOptions, Options):
    """`fdl report`."""

    workdir: str | None = None
    """where the sweep's runs are (default: runs/NAME/FINGERPRINT)"""
    seeds: int | None = None
    """seeds of every arm, instead of those in the file"""


OPTIONS = {"run": RunOptions, "sweep": SweepOptions, "plan": PlanOptions, "report": ReportOptions}
"""What each command takes besides the experiment's fields."""


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
    sweeps, given = options is not RunOptions, fields_type(config, option_names())
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


def option_names() -> set[str]:
    """The names of the options of all commands."""
    return {field.name for options in OPTIONS.values() for field in dataclasses.fields(options)}


def seat(words: Sequence[str]) -> Seat | None:
    """Which of several processes the flags make this one: asked before the file is loaded, as that may
    use devices.

    Raises:
      ValueError: a flag that does not fit, or is missing.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--coordinator")
    parser.add_argument("--process-id", "--process_id", type=int)
    parser.add_argument("--processes", type=int)
    try:
        found, _ = parser.parse_known_args(words)
    except argparse.ArgumentError as error:
        raise ValueError(str(error)) from None
    return seat_of(found.coordinator, found.process_id, found.processes)


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
        raise ValueError(f"the fields of the config cannot be flags: {short(e)}") from e
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
