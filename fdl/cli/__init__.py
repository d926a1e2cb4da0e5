"""The command line. This file imports nothing heavy, so that help comes at once."""

import sys
from collections.abc import Sequence
from typing import NamedTuple


class Command(NamedTuple):
    """A command, from which help and dispatch come.

    Attributes:
      usage: lines of usage, each with what it does.
      entry: `module:function` of `function(words) -> exit code`, imported when the command is given.
      options: the name of its class in `fdl.cli.options`; None for a command that takes no experiment's file.
    """

    usage: tuple[tuple[str, str], ...]
    entry: str
    options: str | None = None


COMMANDS = {
    "run": Command(
        (("FILE [--lr 3e-3 ...] [--seed 1]", "train one run"),), "fdl.cli.commands:run", "RunOptions"
    ),
    "sweep": Command(
        (
            (
                "FILE [--seeds 8] [--grid.lr ...]",
                "train the file's sweep (or a grid), compare, report",
            ),
        ),
        "fdl.cli.commands:sweep_file",
        "SweepOptions",
    ),
    "search": Command(
        (("FILE --trials 200", "look for the best config in the file's SEARCH, judge it by fresh seeds"),),
        "fdl.cli.commands:search_file",
        "SearchOptions",
    ),
    "plan": Command(
        (
            ("FILE", "programs, members, memory and time of a sweep; trains nothing"),
            (
                "FILE --topology v5e:4x4 [--fit]",
                "the same, by compiling for TPUs that are not there",
            ),
        ),
        "fdl.cli.plan_command:execute",
        "PlanOptions",
    ),
    "report": Command(
        (("FILE", "the report of what a sweep has finished"),), "fdl.cli.commands:report_of", "ReportOptions"
    ),
    "reproduce": Command(
        (("[ID ...] [--seed-offset N]", "run a folder's experiments anew, and write the page of verdicts"),),
        "fdl.cli.reproduce:execute",
    ),
    "watch": Command(
        (("DIR [--once]", "how the runs in a work directory stand: curves and ranks, while they run"),),
        "fdl.cli.watch:execute",
    ),
    "export-results": Command(
        (("DIR --format csv|latex|markdown", "the table of what a work directory holds"),),
        "fdl.cli.export_results:execute",
    ),
    "inspect": Command(
        (("DIRECTORY", "what trained runs are: checkpoints, parameters, how to load them"),),
        "fdl.cli.inspect_command:execute",
    ),
    "predict": Command(
        (("DIRECTORY INPUT -o OUT", "what a trained run says of new rows: a table, images, a text"),),
        "fdl.cli.predict_command:execute",
    ),
    "check": Command(
        (("DIR [--group COLUMN ...]", "a trained classifier's model card: groups, calibration, attacks"),),
        "fdl.cli.check_command:execute",
    ),
    "export": Command(
        (("DIRECTORY -o FOLDER [--format ...]", "a trained run as a program or weights that need no fdl"),),
        "fdl.cli.export_command:execute",
    ),
    "list": Command(
        (("[FOLDER]", "the experiments in a folder and their questions"),), "fdl.cli.list_command:listing"
    ),
    "doctor": Command(
        (
            (
                "[--workdir gs://...] [--topology v5e:4x4]",
                "is this machine, or every worker of a slice, fit to train?",
            ),
        ),
        "fdl.cli.doctor_command:execute",
    ),
    "data": Command(
        (("list | get NAME | show NAME", "data sets: which there are, their files, a look at them"),),
        "fdl.cli.data:execute",
    ),
}
"""All commands, in the order in which help shows them."""

HELP = """usage: fdl COMMAND ...

A deep-learning experiment is a pure function, in one file.

{commands}

  fdl COMMAND --help         the flags of a command
  fdl COMMAND FILE --help    the experiment's own fields with them
  fdl --version

The same command again continues where it stopped, and does nothing where all is done.
Exit codes: 0 done, 1 the disk, machine or program failed, 2 bad input, 3 a run's loss was not finite,
75 interrupted and saved (give the same command again).
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line; returns its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        lines = [(f"fdl {name} {form}", what) for name, one in COMMANDS.items() for form, what in one.usage]
        width = max(len(form) for form, _ in lines)
        print(HELP.format(commands="\n".join(f"  {form:{width}}  {what}" for form, what in lines)), end="")
        return 0 if words else 2
    if words[0] == "--version":
        from fdl.text import version_of

        print(f"fdl {version_of('fdl')}")
        return 0
    if words[0] in COMMANDS and words[1:] and words[1] in ("-h", "--help") and COMMANDS[words[0]].options:
        from fdl.cli.command_help import command_help

        print(command_help(words[0], COMMANDS[words[0]]), end="")
        return 0
    from fdl.cli.exit_codes import guarded

    return guarded(words)
