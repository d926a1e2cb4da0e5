"""How long does what `fdl export` writes of each arm of a sweep take for one row, on one core?

    uv run python experiments/benchmarks/latency.py runs/compressed/0123456789abcdef > latency.json

Writes the StableHLO program of each arm's first seed, as `fdl export` does, and runs them without fdl in a
process of their own that may use one core: after compiling, one row at a time from host to host, all by
turns, so that what else the machine does is shared among them. Where `onnxruntime` is installed the ONNX file
of each is written and timed too; where it is not, a line says so. The table, on stderr, has the median over
rounds of a round's mean time, and the quartiles; the JSON, on stdout, the machine and the day too. A time is
of that machine on that day. Only Linux can bind a process to a core.
"""

import datetime
import importlib
import importlib.util
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
from fdl.trained import TrainedRun
from fdl.trained.exporting import Artifact, as_stablehlo, write_artifact
from fdl.trained.onnx import as_onnx

ROUNDS, CALLS = 31, 100
"""Rounds, and one row's predictions by each arm in a round."""
CHILD = "--timed"


def main(directory: str) -> None:
    """Exports, measures and prints."""
    prepare()
    ways: dict[str, Callable[[TrainedRun], Artifact]] = {"stablehlo": as_stablehlo}
    if importlib.util.find_spec("onnxruntime"):
        ways["onnx"] = as_onnx
    else:
        print(
            "onnxruntime is not installed, so ONNX is not timed: uv pip install onnxruntime", file=sys.stderr
        )
    loaded = fdl.load(directory)
    first = loaded.runs().drop_duplicates("arm")
    timed_as = [
        (arm, int(seed), way) for arm, seed in zip(first["arm"], first["seed"], strict=True) for way in ways
    ]
    with tempfile.TemporaryDirectory() as place:
        for number, (arm, seed, way) in enumerate(timed_as):
            run = loaded.run(arm=arm, seed=seed)
            write_artifact(ways[way](run), run, Path(place) / f"{number:03}")
        command, env = [sys.executable, __file__, CHILD, place], {**os.environ, "JAX_PLATFORMS": "cpu"}
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, check=True)
    found = zip(timed_as, json.loads(done.stdout), strict=True)
    arms = [{"arm": arm, "format": way, **one} for (arm, _, way), one in found]
    told = {"of": directory, "machine": machine(), "cores": 1, "date": f"{datetime.date.today()}"}
    print(json.dumps({**told, "rounds": ROUNDS, "calls": CALLS, "arms": arms}, indent=1))
    show(told, arms)


def show(told: dict[str, Any], arms: list[dict[str, Any]]) -> None:
    """Prints the table."""
    table = Table(title=f"One row on one core of {told['machine']}, {told['date']}", title_justify="left")
    table.add_column("arm")
    table.add_column("format")
    for name in ("microseconds", "quartiles", "bytes of the program"):
        table.add_column(name, justify="right")
    for one in arms:
        low, high = one["quartiles"]
        table.add_row(
            one["arm"],
            one["format"],
            f"{one['microseconds']:.1f}",
            f"{low:.1f} to {high:.1f}",
            f"{one['bytes']:,}",
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
        (size,) = (path.stat().st_size for path in folder.glob("model.*") if path.suffix != ".json")
        found.append({"microseconds": middle, "quartiles": [low, high], "bytes": size})
    return found


def loaded(folder: Path) -> Callable[[], Any]:
    """A call of the program in a folder on one row of zeros, from host to host."""
    form = json.loads((folder / "model.json").read_text())["inputs"]
    rows = {name: np.zeros((1, *one["shape"][1:]), one["dtype"]) for name, one in form.items()}
    if (path := folder / "model.onnx").exists():
        return by_onnxruntime(path, rows)
    program = jax.jit(jax.export.deserialize(bytearray((folder / "model.stablehlo").read_bytes())).call)
    return lambda: jax.device_get(program(rows))


def by_onnxruntime(path: Path, rows: dict[str, np.ndarray]) -> Callable[[], Any]:
    """The same by ONNX Runtime, with one thread."""
    runtime: Any = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, rows)


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
