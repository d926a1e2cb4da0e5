"""Does fdl compute rightly and fast on an NVIDIA GPU?

    uv run python experiments/benchmarks/gpu.py --json gpu.json

Seven parts, all by default, or some by `--only gpt,resume`:

- correctness: a training step of four nets in float32, on the GPU and on the CPU;
- attention: cuDNN's kernel in bfloat16 against fdl's own attention in float32;
- population: 4,096 small nets as one population, against PyTorch one after another and by `torch.func.vmap`;
- gpt: GPT-2 with 124 million parameters in bfloat16, against `torch.compile`;
- resnet: ResNet-18 on images of 32x32 in bfloat16, against `torch.compile`;
- checkpoint: how long a loop is held up while 5 GB of state are saved;
- resume: a run killed half-way and gone on with, against one that was not, bit for bit.

Needs JAX and PyTorch with CUDA (`jax[cuda12]`, `torch`), the memory of a large GPU, and for `checkpoint` as
much room in a folder for temporary files (`--folder`) as the state takes (`--gigabytes`). Prints a table,
with the goal of a number where there is one, and whether it is met. A part that fails prints its traceback,
the others run, and the exit code is 1; a goal that is missed does not change it. `--json` is written anew
after each part.
"""

import argparse
import datetime
import functools
import gc
import json
import math
import os
import tempfile
import time
import traceback
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

# Before JAX starts: PyTorch, and the processes of `resume`, need memory of the same GPU.
os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.6")

import gpu_attention
import gpu_exact
import gpu_population
import gpu_speed
import jax
from gpu_lines import Line, told

from fdl.train.runtime import machine, prepare

Parts = dict[str, Callable[[], list[Line]]]
LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "torch")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="Does fdl compute rightly and fast on an NVIDIA GPU?")
    parser.add_argument("--only", help="some parts, as gpt,resume; all if not given")
    parser.add_argument("--json", type=Path, help="a file for what was measured")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="for checkpoints")
    parser.add_argument("--gigabytes", type=float, default=5.0, help="of state in `checkpoint`")
    arguments = parser.parse_args()
    parts = parts_of(arguments.folder, arguments.gigabytes)
    names = arguments.only.split(",") if arguments.only else list(parts)
    if unknown := set(names) - set(parts):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; expected some of {', '.join(parts)}")
    prepare()
    if jax.default_backend() != "gpu":
        parser.error(f"JAX found no GPU: its devices are {jax.devices()}; install jax[cuda12]")
    about = {"date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), **surroundings()}
    print(f"{about['machine']}; torch {about['versions']['torch']}; {about['date']}", flush=True)
    raise SystemExit(measure({name: parts[name] for name in names}, about, arguments.json))


def parts_of(folder: Path, gigabytes: float) -> Parts:
    """What can be measured, by name."""
    checkpoint = functools.partial(gpu_exact.checkpoint, folder, int(gigabytes * 1e9))
    return {
        "correctness": gpu_exact.correctness,
        "attention": gpu_attention.attention,
        "population": gpu_population.population,
        "gpt": gpu_speed.gpt,
        "resnet": gpu_speed.resnet,
        "checkpoint": checkpoint,
        "resume": functools.partial(gpu_exact.resume, folder),
    }


def surroundings() -> dict[str, Any]:
    """What a number depends on besides the program."""
    versions: dict[str, str | None] = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    flags = os.environ.get("XLA_FLAGS", "")
    return {"machine": machine(), "cores": os.cpu_count(), "versions": versions, "XLA_FLAGS": flags}


def measure(parts: Parts, about: dict[str, Any], path: Path | None) -> int:
    """Measures the parts one after another, prints them, and writes them down; the exit code."""
    found: dict[str, Any] = {}
    for name, part in parts.items():
        began = time.perf_counter()
        try:
            lines, failure = part(), None
        except Exception as error:
            traceback.print_exc()
            lines, failure = [], f"{type(error).__name__}: {error}"
        seconds = time.perf_counter() - began
        print(f"{name} ({seconds:.0f} s){': FAILED, ' + failure if failure else ''}", flush=True)
        for line in lines:
            print(told(line), flush=True)
        found[name] = {"seconds": seconds, "failure": failure, "lines": [as_data(line) for line in lines]}
        if path:
            path.write_text(json.dumps({**about, "parts": found}, indent=2), encoding="utf-8")
        forget()
    return int(any(part["failure"] for part in found.values()))


def as_data(line: Line) -> dict[str, Any]:
    """A line as JSON-able data; what is not finite is null."""
    value = line.value if math.isfinite(line.value) else None
    return {**line._asdict(), "value": value, "met": line.met}


def forget() -> None:
    """Gives memory back that a part held, programs' too."""
    jax.clear_caches()
    gc.collect()
    try:
        import torch
    except ImportError:
        return
    if torch.cuda.is_available():
        torch.compiler.reset()
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
