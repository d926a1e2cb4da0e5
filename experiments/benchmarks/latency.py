"""How long does what `fdl export` writes of each arm of a sweep take for one row, on one core?

    uv run python experiments/benchmarks/latency.py runs/compressed/0123456789abcdef > latency.json

Writes the StableHLO program of each arm's first seed, as `fdl export` does, and runs them without fdl in a
process of their own that may use one core: after compiling, one row at a time from host to host, all arms by
turns, so that what else the machine does is shared among them. The table, on stderr, has the median over
rounds of a round's mean time, and the quartiles; the JSON, on stdout, the machine and the day too. A time is
of that machine on that day. Only Linux can bind a process to a core.
"""

import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.export
import numpy as np
from rich.console import Console
from rich.table import Table

import fdl
from fdl.train.runtime import machine, prepare
from fdl.trained.exporting import as_stablehlo, write_artifact

ROUNDS, CALLS = 31, 100
"""Rounds, and one row's predictions by each arm in a round."""
CHILD = "--timed"


def main(directory: str) -> None:
    """Exports, measures and prints."""
    prepare()
    loaded = fdl.load(directory)
    first = loaded.runs().drop_duplicates("arm")
    with tempfile.TemporaryDirectory() as place:
        for number, (arm, seed) in enumerate(zip(first["arm"], first["seed"], strict=True)):
            run = loaded.run(arm=arm, seed=int(seed))
            write_artifact(as_stablehlo(run), run, Path(place) / f"{number:03}")
        command, env = [sys.executable, __file__, CHILD, place], {**os.environ, "JAX_PLATFORMS": "cpu"}
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, check=True)
    arms = [{"arm": arm, **one} for arm, one in zip(first["arm"], json.loads(done.stdout), strict=True)]
    told = {"of": directory, "machine": machine(), "cores": 1, "date": f"{datetime.date.today()}"}
    print(json.dumps({**told, "rounds": ROUNDS, "calls": CALLS, "arms": arms}, indent=1))
    show(told, arms)


def show(told: dict[str, Any], arms: list[dict[str, Any]]) -> None:
    """Prints the table."""
    table = Table(title=f"One row on one core of {told['machine']}, {told['date']}", title_justify="left")
    table.add_column("arm")
    for name in ("microseconds", "quartiles", "bytes of the program"):
        table.add_column(name, justify="right")
    for one in arms:
        low, high = one["quartiles"]
        table.add_row(
            one["arm"], f"{one['microseconds']:.1f}", f"{low:.1f} to {high:.1f}", f"{one['bytes']:,}"
        )
    Console(stderr=True).print(table)


def timed(place: Path) -> list[dict[str, Any]]:
    """The times of the programs in a folder's folders, by turns, in this process."""
    folders = sorted(place.iterdir())
    calls = [loaded(folder) for folder in folders]
    for call in calls:
        call()
    rounds = [[seconds(call, CALLS) for call in calls] for _ in range(ROUNDS)]
    found = []
    for folder, times in zip(folders, zip(*rounds, strict=True), strict=True):
        low, middle, high = (1e6 * one for one in statistics.quantiles(times, n=4))
        size = (folder / "model.stablehlo").stat().st_size
        found.append({"microseconds": middle, "quartiles": [low, high], "bytes": size})
    return found


def loaded(folder: Path) -> Callable[[], Any]:
    """A call of the program in a folder on one row of zeros, from host to host."""
    form = json.loads((folder / "model.json").read_text())["inputs"]
    rows = {name: np.zeros((1, *one["shape"][1:]), one["dtype"]) for name, one in form.items()}
    program = jax.jit(jax.export.deserialize(bytearray((folder / "model.stablehlo").read_bytes())).call)
    return lambda: jax.device_get(program(rows))


def seconds(call: Callable[[], Any], times: int) -> float:
    """The mean time of a call."""
    start = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - start) / times


if __name__ == "__main__":
    if sys.argv[1:2] == [CHILD]:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # which JAX's threads, made later, inherit
        print(json.dumps(timed(Path(sys.argv[2]))))
    elif len(sys.argv) == 2:
        main(sys.argv[1])
    else:
        sys.exit("give the directory of a sweep, as runs/compressed/0123456789abcdef")
