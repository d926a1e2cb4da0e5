"""Foresees programs on TPUs that are not there; prints a line of JSON.

python -m tests.aot.estimate_driver CASE
"""

import json
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fdl import data, models, tasks
from fdl.aot.chips import parse_slice
from fdl.aot.estimate import estimate, to_data
from fdl.aot.topology import absent_mesh, load_compiler
from fdl.experiment import Experiment
from fdl.parallel.plan import Plan
from fdl.train.program import stack_members
from fdl.train.run import arrays_of
from tests.parallel.strategy_driver import transformer

LENGTH = 1024
STRATEGIES = {
    "jit": ("v5e:2x2", Plan(1, "vmap", "scan", data=2, fsdp=2), 1),
    "jit data": ("v5e:2x2", Plan(1, "vmap", "scan", data=4), 1),
    "tensor": ("v5e:2x2", Plan(1, "vmap", "calls", data=2, tensor=2), 1),
    "shard_map": ("v5e:2x2", Plan(1, "vmap", "scan", data=4, strategy="shard_map"), 1),
    "shard_map calls": ("v6e:2x2", Plan(1, "vmap", "calls", data=2, fsdp=2, strategy="shard_map"), 1),
    "pmap": ("v5e:2x2", Plan(1, "vmap", "scan", data=4, strategy="pmap"), 1),
    "pmap of cores": ("v2:2x2", Plan(1, "vmap", "calls", data=8, strategy="pmap"), 1),
    "population": ("v5e:2x2", Plan(8, "vmap", "scan", 4), 1),
    "slices": ("v5e:2x2", Plan(1, "vmap", "calls", data=4, fsdp=2), 2),
    "slices by fsdp": ("v5e:2x2", Plan(1, "vmap", "calls", data=4, fsdp=2, spans=(1, 1, 2, 1)), 2),
}
"""Where, how, and on how many slices."""


def gpt(batch_size: int) -> Experiment:
    """GPT-2 with 124 million parameters, its layers in a loop and computed again for the gradient."""
    tokens = np.zeros((4, LENGTH), np.int32)
    part = {"x": tokens, "y": tokens}
    model = models.gpt2(length=LENGTH, scan=True, remat=True)
    splits = data.Splits(part, part, part)
    return tasks.language_modelling(model, splits, optax.adamw(1e-3), steps=10, batch_size=batch_size)


def foreseen(experiment: Experiment, name: str, plan: Plan, slices: int = 1) -> dict[str, Any]:
    """The foresight as JSON-able data, with the bytes of the data and of one member's state."""
    keys = jax.vmap(jax.random.key)(jnp.arange(plan.members))
    members, arrays = stack_members([()] * plan.members, keys, pad_to=plan.members), arrays_of(experiment)
    part = parse_slice(name)
    mesh = absent_mesh(plan, part, slices=slices)
    found = estimate(lambda _: experiment, members, arrays, plan, mesh, part.chip)
    state = jax.eval_shape(experiment.learner.init, jax.random.key(0))
    size = lambda tree: sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))  # noqa: E731
    least = size(state) // (plan.fsdp * plan.tensor) * (plan.members // plan.population)
    return {**to_data(found), "data": size(arrays), "state": least}


if __name__ == "__main__":
    load_compiler()
    jax.config.update("jax_optimization_level", "O0")
    cases = {
        "gpt 2x2": lambda: foreseen(gpt(32), "v5e:2x2", Plan(1, "vmap", "calls", data=2, fsdp=2)),
        "gpt 16x16": lambda: foreseen(gpt(2048), "v5e:16x16", Plan(1, "vmap", "calls", data=16, fsdp=16)),
        "gpt too large": lambda: foreseen(gpt(256), "v5e:2x2", Plan(1, "vmap", "calls", data=2, fsdp=2)),
        "strategies": lambda: {name: foreseen(transformer(), *where) for name, where in STRATEGIES.items()},
    }
    print("\n" + json.dumps(cases[sys.argv[1]]()))
