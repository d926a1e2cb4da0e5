"""`fdl export-results`: what a work directory holds, as a table for a spreadsheet or a paper."""

import dataclasses
import sys
import typing
from collections.abc import Sequence
from pathlib import Path

import tyro

from fdl.cli.flags import parse_options
from fdl.report import export
from fdl.storage import write_atomically
from fdl.trained import load

_FORMATS = {"csv": export.as_csv, "latex": export.as_latex, "markdown": export.as_markdown}


@dataclasses.dataclass
class ExportOptions:
    """`fdl export-results`."""

    directory: tyro.conf.Positional[str]
    """a work directory, as runs/first/0123456789abcdef; also of a sweep that is running"""
    format: typing.Literal["csv", "latex", "markdown"] = "csv"
    """csv to the last digit, or the report's table for a paper"""
    output: typing.Annotated[str | None, tyro.conf.arg(aliases=["-o"])] = None
    """the file to write, whole or not at all (default: stdout)"""


def execute(words: Sequence[str]) -> int:
    """Runs the command on the words after its name; returns the exit code.

    Raises:
      ValueError: no work directory, or nothing is measured there yet.
      OSError: the file cannot be written.
    """
    options = parse_options("fdl export-results", ExportOptions, words)
    table = _FORMATS[options.format](load(options.directory)).encode()
    if options.output is None:
        sys.stdout.buffer.write(table)
        sys.stdout.flush()
    else:
        write_atomically(Path(options.output), table)
    return 0
