"""Compiling one program for TPUs that are not there, in a process of its own: a compiler may crash.

python -m fdl.aot.worker < request.json
"""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fdl.aot.chips import parse_slice
from fdl.aot.estimate import Estimate, estimate, from_data, to_data
from fdl.aot.target import Target
from fdl.aot.topology import absent_mesh, load_compiler
from fdl.experiment_file import load_file
from fdl.parallel.plan import Plan, plan_from
from fdl.serialization import from_json, to_json
from fdl.text import innermost, named
from fdl.train.program import stack_members
from fdl.train.run import arrays_of


class Request(NamedTuple):
    """A program to be compiled.

    Attributes:
      file: the experiment's file.
      config: of a member; what is static in it decides the program.
      plan: how the members run.
      topology: the slice's name.
      slices: how many of them.
      quick: whether the compiler is to optimise little.
    """

    file: Path
    config: Any
    plan: Plan
    topology: str
    slices: int
    quick: bool


def request_of(path: Path, config: Any, plan: Plan, target: Target) -> Request:
    """The request for a program that is to be compiled for a target."""
    return Request(path, config, plan, str(target.part), target.slices, target.quick)


def compiled(request: Request) -> Estimate | str:
    """What the program will be; or why it cannot be compiled, in one line."""
    asked = {
        **request._asdict(),
        "file": str(request.file),
        "config": to_json(request.config),
        "plan": request.plan._asdict(),
    }
    command = [sys.executable, "-m", "fdl.aot.worker"]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=False)
    if done.returncode < 0:
        return f"the compiler crashed ({signal.Signals(-done.returncode).name})"
    if done.returncode > 0:
        said = done.stderr.strip().splitlines()
        return (
            f"the compiling process ended with {done.returncode}: {said[-1] if said else 'it said nothing'}"
        )
    answer = json.loads(done.stdout.splitlines()[-1])
    return answer["problem"] if "problem" in answer else from_data(answer)


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    try:
        load_compiler()
        jax.config.update("jax_platforms", "cpu")  # of what is computed beside compiling
        jax.config.update("jax_enable_compilation_cache", False)  # it cannot read what it writes for TPUs
        if asked["quick"]:
            jax.config.update("jax_optimization_level", "O0")
        file = load_file(Path(asked["file"]))
        config, plan = from_json(file.config, asked["config"]), plan_from(asked["plan"])
        keys = jax.vmap(jax.random.key)(jnp.arange(plan.members))
        members = stack_members([config] * plan.members, keys, pad_to=plan.members)
        arrays = arrays_of(file.experiment(config))
        part = parse_slice(asked["topology"])
        mesh = absent_mesh(plan, part, slices=asked["slices"])
        found = estimate(file.experiment, members, arrays, plan, mesh, part.chip)
        # What a program moves that is little optimised says nothing of the one that will run.
        return to_data(found._replace(expected=None) if asked["quick"] else found)
    except (ValueError, jax.errors.JaxRuntimeError) as error:
        return {"problem": named(innermost(error), most=200)}


if __name__ == "__main__":
    print("\n" + json.dumps(_answer(json.load(sys.stdin))))
