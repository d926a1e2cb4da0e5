"""What `check_agreement` says of learners on 2 simulated devices; a line of JSON for each.

python -m tests.train.strategy_check_driver STRATEGY CASE...
"""

import json
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fdl import models, shards, tasks
from fdl.data import Splits
from fdl.experiment import Experiment, Learner
from fdl.models.norms import batch_norm
from fdl.parallel.plan import Plan
from fdl.train.strategy_check import check_agreement

ROWS = 8
X = np.random.default_rng(0).normal(size=(ROWS, 6)).astype(np.float32)
PART = {"x": X, "y": (np.arange(ROWS) % 3).astype(np.int32)}


def trained(optimizer: Any) -> Experiment:
    """Its biases before the norms have gradients of nothing but rounding."""
    model = models.MLP((16, 5), 3, norm=batch_norm, dropout=0.3)
    splits = Splits(PART, PART, PART)
    return tasks.classification(model, splits, optimizer, steps=1, batch_size=ROWS)


def regression(mean: Any, draw: Any) -> Experiment:
    """A linear regression with noise on its inputs, whose step is written by hand."""

    def step(state: dict, batch: Any, key: jax.Array) -> tuple[dict, dict]:
        x = batch["x"] + draw(jax.random.normal, key, batch["x"].shape)
        loss = lambda w: jnp.mean((x @ w - batch["y"]) ** 2)  # noqa: E731
        value, slope = jax.value_and_grad(loss)(state["weights"])
        return {"weights": state["weights"] - 0.1 * mean(slope)}, {"loss": value}

    plain = trained(optax.sgd(0.1))
    return plain._replace(learner=Learner(lambda key: {"weights": jnp.ones(6)}, step, plain.learner.evaluate))


CASES = {
    "right": lambda: regression(shards.mean, shards.draw),
    "sgd": lambda: trained(optax.sgd(0.1)),
    "adam": lambda: trained(optax.adam(1e-3)),
    "no mean": lambda: regression(lambda slope: slope, shards.draw),
    "same draws": lambda: regression(shards.mean, lambda sample, key, shape: sample(key, shape)),
}


def said(experiment: Experiment, plan: Plan) -> str:
    """The error's message, or nothing."""
    try:
        check_agreement(experiment, plan, jax.random.key(0))
    except ValueError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", 2)
    strategy: Any = sys.argv[1]
    for name in sys.argv[2:]:
        plan = Plan(1, "map", "calls", data=2, strategy=strategy)
        print(json.dumps([name, said(CASES[name](), plan)]), flush=True)
