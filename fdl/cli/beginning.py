"""How a command that trains begins: it says what is asked once nothing speaks against it."""

import functools
from collections.abc import Callable

from rich.console import Console

from fdl.cli.doctor_command import check_machine
from fdl.cli.options import TrainOptions
from fdl.doctor.examination import on_slice
from fdl.experiment_file import ExperimentFile
from fdl.report.terminal import PLAIN
from fdl.storage import Folder
from fdl.train import Progress


def begin(
    file: ExperimentFile, options: TrainOptions, directory: Folder, console: Console
) -> Callable[[], None]:
    """Looks at the machine where a bad one costs most; gives what says the question and where the runs will
    be, once, however often it is called."""
    if not options.no_doctor and on_slice():
        check_machine(options.workdir, console)

    @functools.cache
    def introduce() -> None:
        console.print(file.question, style="bold", **PLAIN)
        console.print(str(directory), **PLAIN)

    return introduce


def after(progress: Progress, introduce: Callable[[], None]) -> Progress:
    """The same, but whatever it is told, `introduce` is called first: not before all input was found good."""

    def told(tell: Callable[..., None], *what: object) -> None:
        introduce()
        tell(*what)

    return Progress(*(functools.partial(told, tell) for tell in progress))
