"""A learner written by hand, as a user would who needs what no task offers: linear regression with
noise in the data, the step and the start, so that any wrong key or batch shows."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import fdl
from fdl import rng
from fdl.experiment import Experiment, Learner, Source
from fdl.metrics import Mean

ROWS, WIDTH, BATCH = 96, 5, 8


@fdl.config
class Config:
    lr: float = fdl.traced(0.05, low=0.0)
    """step size"""
    noise: float = 0.01
    """standard deviation of the noise on the inputs"""
    steps: int = fdl.static(40, low=1)
    """updates"""
    power: int = 1
    """power of the inputs; each value is its own program"""
    link: Callable = jnp.tanh
    """applied to the output"""


def arrays() -> dict[str, np.ndarray]:
    x = np.sin(np.arange(ROWS * WIDTH, dtype=np.float32).reshape(ROWS, WIDTH) * 1.7)
    return {"x": x, "y": np.tanh(x @ np.linspace(-1, 1, WIDTH, dtype=np.float32))}


def experiment(config: Config, *, every: int = 10) -> Experiment:
    def predict(weights: jax.Array, x: jax.Array) -> jax.Array:
        return config.link(x**config.power @ weights)

    def init(key: jax.Array) -> dict[str, jax.Array]:
        return {
            "weights": jax.random.normal(key, (WIDTH,)),
            "momentum": jnp.zeros(WIDTH),
            "order": jnp.uint32(0),  # stands for all rows that were ever read, in their order
        }

    def step(state: dict, batch: dict, key: jax.Array) -> tuple[dict, dict]:
        noise = config.noise * jax.random.normal(rng.stream(key, "noise"), batch["x"].shape)

        def loss(weights: jax.Array) -> jax.Array:
            return jnp.mean((predict(weights, batch["x"] + noise) - batch["y"]) ** 2)

        value, slope = jax.value_and_grad(loss)(state["weights"])
        momentum = 0.9 * state["momentum"] + slope
        weights = state["weights"] - config.lr * momentum
        order = state["order"] * jnp.uint32(31) + jnp.sum(
            batch["row"] * jnp.arange(1, BATCH + 1, dtype=jnp.uint32)
        )
        return {**state, "weights": weights, "momentum": momentum, "order": order}, {"loss": value}

    def evaluate(state: dict, batch: dict, key: jax.Array) -> dict[str, Mean]:
        error = (predict(state["weights"], batch["x"]) - batch["y"]) ** 2
        return {"loss": Mean(jnp.sum(error), jnp.float32(error.size))}

    def draw(data: dict, step: jax.Array, key: jax.Array) -> dict:
        rows = jax.random.randint(jax.random.fold_in(key, step), (BATCH,), 0, ROWS)
        return {**{name: values[rows] for name, values in data.items()}, "row": rows.astype(jnp.uint32)}

    def read(data: dict, step: jax.Array, key: jax.Array) -> dict:
        del key
        rows = step * 32 + jnp.arange(32)
        return {name: values[rows] for name, values in data.items()}

    data = arrays()
    train = Source(data, draw, ROWS // BATCH)
    return Experiment(
        Learner(init, step, evaluate), train, {"test": Source(data, read, 3)}, config.steps, every
    )
