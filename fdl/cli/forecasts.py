"""`fdl plan` on this machine: programs, members, memory and time."""

import json

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fdl import formats
from fdl.cli.ending import claim_of
from fdl.cli.options import PlanOptions
from fdl.experiment_file import ExperimentFile
from fdl.report.terminal import PLAIN
from fdl.sweeps import Sweep, forecast
from fdl.text import counted, some_of


def plan_here(file: ExperimentFile, options: PlanOptions, space: Sweep, console: Console) -> int:
    """Compiles and measures, prints what a sweep would take, and trains nothing; the exit code."""
    for name in ("price", "fit", "quick"):
        if getattr(options, name):
            raise ValueError(f"--{name} needs --topology, as --topology v5e:2x2")
    programs = forecast(
        file.experiment,
        space,
        members=options.members,
        mesh=options.sizes(),
        strategy=options.strategy,
        claim=claim_of(file, space),
        say=lambda line: console.print(line, **PLAIN),
    )
    table = Table("program", "runs", "plan", "memory a device", "compile", "train", title=Text(file.question))
    for number, program in enumerate(programs, 1):
        table.add_row(
            Text(f"{number}: {some_of(program.arms)}"),  # a [ in a name is no markup
            str(program.trials),
            Text(str(program.plan)),
            formats.memory(program.memory_bytes),
            formats.duration(program.compile_seconds),
            formats.duration(program.train_seconds),
        )
    console.print(table)
    compiling = sum(program.compile_seconds for program in programs)
    training = sum(program.train_seconds for program in programs)
    runs = sum(program.trials for program in programs)
    console.print(
        f"{counted(runs, 'run')}, {counted(len(programs), 'program')}: "
        f"about {formats.duration(compiling + training)}",
        highlight=False,
    )
    if options.json:
        rows = [{**program._asdict(), "plan": program.plan._asdict()} for program in programs]
        print(json.dumps({"name": file.name, "runs": runs, "programs": rows}))
    return 0
