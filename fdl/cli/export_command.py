"""`fdl export`: a trained run as files that need no fdl."""

import dataclasses
import typing
from collections.abc import Sequence
from pathlib import Path

import tyro

from fdl.cli.flags import parse_options
from fdl.cli.predict_command import with_changes_told
from fdl.formats import memory
from fdl.train.runtime import prepare
from fdl.trained import load
from fdl.trained.exporting import as_safetensors, as_stablehlo, check_free, write_artifact
from fdl.trained.litert import as_litert
from fdl.trained.onnx import as_onnx


@dataclasses.dataclass
class ExportedOptions:
    """`fdl export`."""

    directory: tyro.conf.Positional[str]
    """the directory of a run or a sweep, as runs/first/0123456789abcdef"""
    output: typing.Annotated[str, tyro.conf.arg(aliases=["-o"])]
    """the folder to write: the artifact, model.json (what it takes and gives), a program that uses it"""
    format: typing.Literal["stablehlo", "onnx", "litert", "safetensors"] = "stablehlo"
    """stablehlo, onnx, litert: predictions as a program, preparation and parameters in it; safetensors:
    parameters"""
    batch: int | None = None
    """rows at a time of a stablehlo program (default: any number) or a litert one (default: 1)"""
    arm: str | None = None
    """its arm; it may be left out where there is one"""
    seed: int | None = None
    """its seed; likewise"""
    state: str = "result"
    """which state: result (the best, where the experiment keeps it, else the last), last or best"""
    experiment: str | None = None
    """a file to take for the experiment's, or stored (default: the file that trained it, as it is today)"""


def execute(words: Sequence[str]) -> int:
    """Runs the command on the words after its name; returns the exit code.

    Raises:
      ValueError: no such run, a folder that holds something else, or a run that cannot be exported.
      OSError: a file cannot be read or written.
    """
    options = parse_options("fdl export", ExportedOptions, words)
    if options.batch is not None and (options.batch < 1 or options.format not in ("stablehlo", "litert")):
        raise ValueError(
            f"--batch is {options.batch}; expected at least 1, and of --format stablehlo or litert alone"
        )
    folder = Path(options.output)
    check_free(folder)
    prepare()
    run = with_changes_told(
        lambda: load(options.directory).run(
            options.arm,
            options.seed,
            state=typing.cast(typing.Any, options.state),
            experiment=options.experiment,
        )
    )
    forms = {
        "stablehlo": lambda: as_stablehlo(run, batch=options.batch),
        "onnx": lambda: as_onnx(run),
        "litert": lambda: as_litert(run, batch=options.batch or 1),
        "safetensors": lambda: as_safetensors(run),
    }
    artifact = forms[options.format]()
    for path in write_artifact(artifact, run, folder):
        print(f"{path}  {memory(path.stat().st_size)}")
    return 0
