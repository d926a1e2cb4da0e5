"""Who trains the units of `fdl sweep`, by its flags."""

import functools
from pathlib import Path

from fdl.cli.options import SweepOptions
from fdl.experiment_file import load_file
from fdl.sweeps import Executor, on_processes


def executor_of(options: SweepOptions, path: Path) -> Executor | None:
    """The executor that flags ask for; None where this process trains.

    Args:
      options: those of the command.
      path: of the experiment's file, which workers load.

    Raises:
      ValueError: flags that do not go together, or a library that is not installed.
    """
    if options.executor == "local":
        _check_local(options)
        return None
    if options.workers is None:
        raise ValueError(f"--executor {options.executor} needs --workers, how many are to train at once")
    found = on_processes(options.workers)
    return found._replace(first=functools.partial(load_file, path.absolute()))


def _check_local(options: SweepOptions) -> None:
    if options.workers is not None:
        raise ValueError(f"--workers {options.workers} needs --executor processes, ray or slurm")
