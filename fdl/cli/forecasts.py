"""`fdl plan` on this machine: programs, members, memory and time."""

import json
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fdl import formats
from fdl.cli.ending import tried_on
from fdl.cli.options import PlanOptions
from fdl.experiment_file import ExperimentFile
from fdl.report.terminal import PLAIN
from fdl.sweeps import Sweep, forecast
from fdl.text import counted, some_of


def plan_here(file: ExperimentFile, options: PlanOptions, space: Sweep, console: Console) -> int:
    """Compiles and measures, prints what a sweep would take, and trains nothing; the exit code."""
    price = options.checked_price()
    for name in ("fit", "quick"):
        if getattr(options, name):
            raise ValueError(f"--{name} needs --topology, as --topology v5e:2x2")
    programs = forecast(
        file.experiment,
        space,
        members=options.members,
        mesh=options.sizes(),
        strategy=options.strategy,
        claim=tried_on(file, space),
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
            _between(program.train_seconds, program.train_low, program.train_high),
        )
    console.print(table)
    compiling = sum(program.compile_seconds for program in programs)
    training = [
        sum(getattr(program, name) for program in programs)
        for name in ("train_seconds", "train_low", "train_high")
    ]
    runs = sum(program.trials for program in programs)
    spent = [sum(part) / 3600 for part in zip(*(program.device_seconds for program in programs), strict=True)]
    console.print(
        f"{counted(runs, 'run')}, {counted(len(programs), 'program')}: "
        f"about {_between(*(compiling + seconds for seconds in training))}, by a short trial; compiling was "
        "timed once",
        highlight=False,
    )
    console.print(f"{_range(spent)} device-hours{_money(spent, price)}", highlight=False)
    if options.json:
        rows = [{**program._asdict(), "plan": program.plan._asdict()} for program in programs]
        cost = {
            "device_hours": spent,
            "price": price,
            "money": [price * one for one in spent] if price else None,
        }
        print(json.dumps({"name": file.name, "runs": runs, "programs": rows, **cost}))
    return 0


def _between(mean: float, low: float, high: float) -> str:
    """Seconds and their interval, as `41 s (40 s to 42 s)`."""
    return f"{formats.duration(mean)} ({formats.duration(low)} to {formats.duration(high)})"


def _range(values: Sequence[float]) -> str:
    mean, low, high = (formats.number(value, digits=2) for value in values)
    return f"{mean} ({low} to {high})"


def _money(spent: Sequence[float], price: float | None) -> str:
    return "" if price is None else f", which cost {_range([price * one for one in spent])}"
