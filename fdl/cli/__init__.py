"""The command line. This file imports nothing heavy, so that help comes at once."""

import sys
from collections.abc import Sequence

HELP = """usage: fdl COMMAND ...

A deep-learning experiment is a pure function, in one file.

  fdl run FILE [--lr 3e-3 ...] [--seed 1]     train one run
  fdl sweep FILE [--seeds 8] [--grid.lr ...]  train the file's sweep (or a grid), compare, report
  fdl plan FILE                               programs, members, memory and time of a sweep; trains nothing
      --topology v5e:4x4 [--fit]              the same for TPUs that are not there, by compiling for them
  fdl report FILE                             the report of what a sweep has finished
  fdl list [FOLDER]                           the experiments in a folder and their questions
  fdl data list | get NAME | show NAME        data sets: which there are, their files, a look at them

  fdl COMMAND FILE --help    all flags, the experiment's own fields with them
  fdl --version

The same command again continues where it stopped, and does nothing where all is done.
Exit codes: 0 done, 1 the disk or the program failed, 2 bad input, 3 a run's loss was not finite,
75 interrupted and saved (give the same command again).
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line; returns its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0 if words else 2
    if words[0] == "--version":
        from importlib.metadata import version

        print(f"fdl {version('fdl')}")
        return 0
    if words[0] == "list":
        from fdl.cli.list_command import listing

        return listing(words[1:])
    from fdl.cli.exit_codes import guarded

    return guarded(words)
