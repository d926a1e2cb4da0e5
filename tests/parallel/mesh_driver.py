"""Whole runs on two simulated devices through the public functions; a line of JSON for each.

python -m tests.parallel.mesh_driver
"""

import json
from typing import Any

import jax
import numpy as np
import optax

import fdl
from fdl import data, models, tasks, train
from fdl.parallel.plan import Plan
from fdl.train import autotune

RUNS: dict[str, dict[str, Any]] = {
    "alone": {"mesh": {"data": 1}},
    "data": {"mesh": {"data": 2}},
    "fsdp": {"mesh": {"fsdp": 2}},
    "shard_map": {"mesh": {"data": 2}, "strategy": "shard_map"},
    "pmap": {"strategy": "pmap"},
}


def experiment(steps: int) -> fdl.Experiment:
    model = models.MLP(widths=(64, 64), outputs=10, dropout=0.2)
    return tasks.classification(
        model, data.digits(), optax.sgd(0.1), steps=steps, batch_size=64, evaluate_every=steps, accumulate=2
    )


def only(plan: Plan) -> Any:
    """What to put in the place of `candidates`, so that nothing is measured against it."""
    return lambda *_, mesh, strategy, **__: [plan._replace(**mesh, strategy=strategy)]


def main() -> None:
    """Prints the last row of every run, and of a long one with a call a step."""
    jax.config.update("jax_num_cpu_devices", 2)
    for name, wanted in RUNS.items():
        fitted = train.fit(experiment(40), jax.random.key(0), **wanted)
        print(json.dumps({"run": name, **fitted.rows[-1]}), flush=True)
    autotune.candidates = only(Plan(1, "map", "calls"))
    fitted = train.fit(experiment(3000), jax.random.key(0), mesh={"data": 2})
    assert np.isfinite(fitted.rows[-1]["train/loss"])
    print(json.dumps({"run": "long", **fitted.rows[-1]}), flush=True)


if __name__ == "__main__":
    main()
