"""Who trains the units of `fdl sweep` and `fdl search`, by their flags."""

import functools
from pathlib import Path

from fdl.cli.options import ExecutorOptions
from fdl.experiment_file import load_file
from fdl.storage import Folder, in_bucket
from fdl.sweeps import Executor, on_processes, on_ray, on_slurm

HEEDING = {
    "workers": ("processes", "ray", "slurm"),
    "cpus": ("ray", "slurm"),
    "gpus": ("ray", "slurm"),
    "address": ("ray",),
    "minutes": ("slurm",),
    "partition": ("slurm",),
}
"""Which executors heed a flag."""


def executor_of(options: ExecutorOptions, path: Path, directory: Folder) -> Executor | None:
    """The executor that flags ask for; None where this process trains.

    Args:
      options: those of the command.
      path: of the experiment's file, which workers load.
      directory: where the runs are.

    Raises:
      ValueError: flags that do not go together, or a library that is not installed.
    """
    _check_used(options)
    if options.executor == "local":
        return None
    if options.workers is None:
        raise ValueError(f"--executor {options.executor} needs --workers, how many are to train at once")
    found = _found(options, options.workers, directory)
    return found._replace(first=functools.partial(load_file, path.absolute()))


def _found(options: ExecutorOptions, workers: int, directory: Folder) -> Executor:
    cpus, gpus = options.cpus, options.gpus
    if options.executor == "processes":
        return on_processes(workers)
    if options.executor == "ray":
        return on_ray(workers, address=options.address, cpus=cpus, gpus=gpus)
    logs = Path("slurm") / directory.name if in_bucket(directory) else Path(str(directory)) / "slurm"
    return on_slurm(workers, logs, cpus=cpus, gpus=gpus, minutes=options.minutes, partition=options.partition)


def _check_used(options: ExecutorOptions) -> None:
    """Raises `ValueError` for a flag that the executor does not heed."""
    defaults = ExecutorOptions()
    for name, heeding in HEEDING.items():
        value = getattr(options, name)
        if value != getattr(defaults, name) and options.executor not in heeding:
            raise ValueError(
                f"--{name} {value} needs --executor {' or '.join(heeding)}; give it, or leave it out"
            )
