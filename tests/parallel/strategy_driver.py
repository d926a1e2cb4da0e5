"""One step of plain SGD under every plan on 8 simulated devices; a line of JSON for each plan.

python -m tests.parallel.strategy_driver MODEL
"""

import gc
import json
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fdl import data, models, tasks
from fdl.experiment import Experiment
from fdl.models.norms import batch_norm
from fdl.parallel.plan import Plan
from fdl.train import run as one
from fdl.train.program import compile_program, stack_members

SGD = optax.sgd(0.1, momentum=0.9)
"""In a first step that of plain SGD; with moments, to see where they lie."""


def mlp() -> Experiment:
    model = models.MLP(widths=(256, 128), outputs=10, norm=batch_norm, dropout=0.3)
    return tasks.classification(model, data.digits(), SGD, steps=10, batch_size=64)


def resnet() -> Experiment:
    images = np.random.default_rng(0).normal(size=(64, 8, 8, 3)).astype(np.float32)
    part = {"x": images, "y": np.arange(64, dtype=np.int32) % 10}
    model = models.ResNet((1, 1), outputs=10, width=16, small=True)
    return tasks.classification(model, data.Splits(part, part, part), SGD, steps=10, batch_size=32)


def transformer() -> Experiment:
    tokens = np.random.default_rng(0).integers(0, 64, (64, 16)).astype(np.int32)
    part = {"x": tokens, "y": np.roll(tokens, -1, axis=1), "mask": np.tri(64, 16, 3, np.int32)}
    model = models.gpt2(vocabulary=64, length=16, layers=1, width=64, heads=4, dropout=0.1)
    return tasks.language_modelling(model, data.Splits(part, part, part), SGD, steps=10, batch_size=16)


MODELS = {"mlp": mlp, "resnet": resnet, "transformer": transformer}
PLANS = {
    "jit data": Plan(1, "vmap", "scan", data=8),
    "jit data calls": Plan(1, "map", "calls", data=4),
    "jit fsdp": Plan(1, "map", "calls", fsdp=8),
    "jit data fsdp": Plan(1, "map", "scan", data=2, fsdp=4),
    "jit tensor": Plan(1, "map", "calls", tensor=4),
    "jit data fsdp tensor": Plan(1, "map", "calls", data=2, fsdp=2, tensor=2),
    "jit population data": Plan(4, "vmap", "scan", 2, data=2, fsdp=2),
    "jit population tensor": Plan(2, "vmap", "scan", 2, data=2, tensor=2),
    "shard_map data": Plan(1, "map", "scan", data=8, strategy="shard_map"),
    "shard_map data fsdp": Plan(1, "map", "calls", data=2, fsdp=2, strategy="shard_map"),
    "shard_map data tensor": Plan(1, "map", "calls", data=4, tensor=2, strategy="shard_map"),
    "shard_map population data": Plan(4, "map", "calls", 2, data=4, strategy="shard_map"),
    "pmap data": Plan(1, "map", "calls", data=8, strategy="pmap"),
    "pmap data scan": Plan(2, "vmap", "scan", data=4, strategy="pmap"),
}
"""The plans that are to agree with one device."""
CONVOLUTIONAL = ("jit data", "jit data fsdp", "jit population data", "shard_map data", "pmap data")
"""Those for the ResNet, which takes long to compile and names no axis to split along `tensor`."""


def plans_of(model: str) -> dict[str, Plan]:
    """The plans that a model is tried under, by name."""
    return {name: PLANS[name] for name in (CONVOLUTIONAL if model == "resnet" else PLANS)}


def stepped(experiment: Experiment, plan: Plan) -> tuple[Any, Any]:
    """The learner's state of all members after a step, and the compiled program's row of metrics."""
    keys = jnp.stack([jax.random.key(seed) for seed in range(plan.members)])
    members = stack_members([()] * plan.members, keys, pad_to=plan.members)
    program = compile_program(lambda _: experiment, members, one.arrays_of(experiment), plan)
    members = program.place(members)
    carry, _ = program.advance(members, program.init(members), 0, 1)
    return program.evaluate(members, carry)


def compared(experiment: Experiment, plan: Plan, alone: tuple[Any, Any]) -> dict[str, float]:
    """How far a plan's step is from that of one device, and what share a device holds of all parameters and
    of the largest; and of the moments, as a multiple of that of the parameters."""
    (carry, row), (reference, reference_row) = stepped(experiment, plan), alone
    apart = 0.0
    for ours, theirs in zip(jax.tree.leaves(carry.state), jax.tree.leaves(reference.state), strict=True):
        ours, theirs = np.asarray(ours), np.asarray(theirs)
        if ours.dtype != np.float32:
            continue
        apart = max(apart, float(np.max(np.abs(ours - theirs) / (1e-5 + 1e-5 * np.abs(theirs)))))
    metrics = max(
        float(np.max(np.abs(np.asarray(row.metrics[k]) - reference_row.metrics[k]))) for k in row.metrics
    )
    leaves = jax.tree.leaves(carry.state.params)
    largest = max(leaves, key=lambda leaf: leaf.nbytes)
    moments = jax.tree.leaves(optax.tree.get(carry.state.optimizer, "trace"))
    return {
        "apart": apart,
        "metrics": metrics,
        "share": here(leaves) / sum(leaf.nbytes for leaf in leaves),
        "largest": here([largest]) / largest.nbytes,
        "moments": here(moments) / here(leaves),
    }


def here(leaves: list[jax.Array]) -> int:
    """The bytes that the first device holds."""
    return sum(leaf.addressable_shards[0].data.nbytes for leaf in leaves)


if __name__ == "__main__":
    gc.set_threshold(100_000, 20, 20)  # tracing makes objects by the million, and few cycles of them
    jax.config.update("jax_num_cpu_devices", 8)
    made, plans = MODELS[sys.argv[1]](), plans_of(sys.argv[1])
    made = made._replace(
        evaluation={"test": made.evaluation["test"]}
    )  # the other splits are the same to compile
    sizes = {each.members for each in plans.values()}
    references = {size: jax.device_get(stepped(made, Plan(size, "map", "calls"))) for size in sizes}
    for name, each in plans.items():
        print(json.dumps({"plan": name, **compared(made, each, references[each.members])}), flush=True)
