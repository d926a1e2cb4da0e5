"""A small regression with noise in the data, the step and the start; from memory, or from the host."""

import json
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import fdl
from fdl import rng
from fdl.data.batching import sequential, shuffled
from fdl.data.splits import on_host
from fdl.experiment import Experiment, Learner, Source
from fdl.metrics import Mean

ROWS, INPUTS, OUTPUTS, BATCH = 96, 5, 512, 8


@fdl.config
class Config:
    lr: float = fdl.traced(0.5, low=0.0)
    """step size"""
    steps: int = fdl.static(200, low=1)
    """updates"""
    hosted: bool = False
    """whether the data stays on the host"""


def noted(source: Source, name: str) -> Source:
    """The same source, which notes what is read of it in the file that the environment names."""
    fetch, file = source.fetch, os.environ.get("READS")
    if fetch is None or not file:
        return source

    def noting(step: int, words: np.ndarray, rows: slice) -> Any:
        with Path(file).open("a") as notes:
            notes.write(json.dumps({"of": name, "step": step, "rows": [rows.start, rows.stop]}) + "\n")
        return fetch(step, words, rows)

    return source._replace(fetch=noting)


def experiment(config: Config) -> Experiment:
    x = np.sin(np.arange(ROWS * INPUTS, dtype=np.float32).reshape(ROWS, INPUTS) * 1.7)
    truth = np.cos(np.arange(INPUTS * OUTPUTS, dtype=np.float32).reshape(INPUTS, OUTPUTS))
    part = {"x": x, "y": np.tanh(x @ truth)}

    def error(weights: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.mean((jnp.tanh(x @ weights) - y) ** 2, axis=1)

    def init(key: jax.Array) -> dict[str, jax.Array]:
        return {
            "weights": jax.random.normal(key, (INPUTS, OUTPUTS)),
            "momentum": jnp.zeros((INPUTS, OUTPUTS)),
            "key": key,  # as environments keep one
        }

    def step(state: dict, batch: dict, key: jax.Array) -> tuple[dict, dict]:
        noise = 0.01 * jax.random.normal(rng.stream(key, "noise"), batch["x"].shape)
        loss = lambda weights: jnp.mean(error(weights, batch["x"] + noise, batch["y"]))  # noqa: E731
        value, slope = jax.value_and_grad(loss)(state["weights"])
        momentum = 0.9 * state["momentum"] + slope
        weights = state["weights"] - config.lr * momentum
        key = jax.random.split(state["key"], 1)[0]
        return {"weights": weights, "momentum": momentum, "key": key}, {"loss": value}

    def evaluate(state: dict, batch: dict, key: jax.Array) -> dict[str, Mean]:
        errors = error(state["weights"], batch["x"], batch["y"])
        return {"loss": Mean(jnp.sum(errors * batch["weight"]), jnp.sum(batch["weight"]))}

    rows = on_host(part) if config.hosted else part
    train = noted(shuffled(rows, batch_size=BATCH), "train")
    test = noted(sequential(rows, batch_size=32), "test")
    return Experiment(Learner(init, step, evaluate), train, {"test": test}, config.steps, 20)


SWEEP = fdl.grid(Config(), lr=(0.1, 0.3, 0.5))
