"""An experiment some of whose fields do nothing, and others what is easily overlooked."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import fdl
from fdl.experiment import Experiment, Learner, Source
from fdl.metrics import Mean


@fdl.config
class Config:
    lr: float = 0.1
    unread: float = 0.0
    """nothing reads it"""
    label: str = "a"
    """nothing reads it"""
    warm: float = 2.0
    """only where `warmed` is"""
    warmed: bool = False
    trap: str = ""
    """what is done, of what is easily overlooked"""
    variant: int = 0
    """how `trap` is done; alone it does nothing"""


BIG = np.arange(4096, dtype=np.float32)


def experiment(config: Config) -> Experiment:
    trap, variant = config.trap, config.variant
    rate: Any = config.warm if trap == "other field" and variant else config.lr
    if trap == "schedule":
        rate = optax.linear_schedule(0.1, 0.0, 3 + variant)

    def init(key):
        key = jax.random.fold_in(key, variant) if trap == "key" else key
        return {"w": jax.random.normal(key, (3,)), "n": jnp.int32(0)}

    @jax.custom_batching.custom_vmap
    def together(w):
        return w

    @together.def_vmap
    def _(size, batched, w):
        return w * (1 + variant), batched[0]

    def step(state, batch, key):
        slope = jax.grad(lambda w: jnp.mean((batch["x"] @ w - 1.0) ** 2))(state["w"])
        if trap == "callback":
            slope = jax.pure_callback(
                lambda s: s * np.float32(1 + variant), slope, slope, vmap_method="sequential"
            )
        if trap == "vmap":
            slope = together(slope)
        if trap == "constant":
            table = BIG.copy()
            table[2000] += variant
            slope += jnp.take(jnp.asarray(table), state["n"]) * 1e-9
        size: Any = rate(state["n"]) if callable(rate) else rate
        if config.warmed:
            size = size / config.warm
        unused = jnp.log(config.unread)  # is traced, and reaches nothing
        del unused
        return {"w": state["w"] - size * slope, "n": state["n"] + 1}, {"loss": jnp.sum(slope**2)}

    def evaluate(state, batch, key):
        scale = 1 + variant if trap == "evaluation" else 1
        return {"loss": Mean(scale * jnp.sum(state["w"] * batch["x"][0]), jnp.float32(1))}

    def inspect(state, key):
        return {"w": fdl.inspection.Histogram(state["w"] * (1 + variant))} if trap == "inspect" else {}

    x = np.linspace(-1, 1, 24, dtype=np.float32).reshape(8, 3)
    held_out = x + variant if trap == "data" else x
    train = Source({"x": x}, lambda arrays, step, key: arrays, 1)
    if trap == "host":
        # What the data says of itself is the same; how it is read is not.
        take = lambda index: {"x": x[index] * (1 + variant)}  # noqa: E731
        rows = fdl.data.Rows(8, {"x": jax.ShapeDtypeStruct((3,), np.float32)}, take, identity="x")
        train = fdl.data.shuffled(rows, batch_size=8)
    return Experiment(
        Learner(init, step, evaluate),
        train,
        {"test": Source({"x": held_out}, lambda arrays, step, key: arrays, 1)},
        steps=4 + variant if trap == "steps" else 4,
        evaluate_every=4,
        log_every=1 + variant if trap == "log" else None,
        inspect=inspect if trap == "inspect" else None,
    )
