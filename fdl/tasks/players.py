"""The two players of adversarial learning: their states, their passes and what they must fit."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from fdl import rng
from fdl.experiment import Metrics
from fdl.tasks.accumulation import Variables
from fdl.tasks.gradient import State
from fdl.tasks.inputs import output_shapes

Inputs = tuple[jax.Array, ...]
"""A player's arguments `[B, ...]`: noise or rows, and in conditional learning labels `[B]`."""


class Players(NamedTuple):
    """What a step of adversarial learning reads and writes.

    Attributes:
      generator: parameters, other collections and optimizer of the generator.
      discriminator: those of the discriminator.
      average: the exponential moving average of the generator's variables by collection, or None.
    """

    generator: State
    discriminator: State
    average: Any


def start(model: nn.Module, inputs: Inputs, key: jax.Array, optimizer: optax.GradientTransformation) -> State:
    """A player's first state."""
    model_state = dict(model.init(key, *inputs, train=False))
    params = model_state.pop("params")
    return State(params, model_state, optimizer.init(params))


def player_of(variables: Variables) -> State:
    """A player with these variables that only passes rows: it has no optimizer."""
    model_state = dict(variables)
    return State(model_state.pop("params"), model_state, ())


def prefixed(player: str, found: Metrics) -> Metrics:
    """A player's metrics under its own names; what it minimises is among them, without penalty."""
    found = dict(found)
    del found["loss"]
    return {f"{player}_update_norm": found.pop("update_norm"), **found}


def apply(model: nn.Module, player: State, inputs: Inputs, key: jax.Array) -> tuple[jax.Array, State]:
    """Outputs in training, and the player with its collections after."""
    mutable, rngs = list(player.model_state), {"dropout": rng.stream(key, "dropout")}
    variables = {"params": player.params, **player.model_state}
    outputs, model_state = model.apply(variables, *inputs, train=True, rngs=rngs, mutable=mutable)
    return outputs, player._replace(model_state=model_state)


def check_players(
    generator: nn.Module,
    discriminator: nn.Module,
    row: Mapping[str, jax.ShapeDtypeStruct],
    latent: int,
    *,
    conditional: bool,
) -> None:
    """Raises `ValueError` unless generated rows are like the data's, and each row gets one logit.

    Args:
      generator: see `adversarial`.
      discriminator: see `adversarial`.
      row: a prepared batch of one row.
      latent: numbers of noise.
      conditional: whether both players get the labels.
    """
    x = row["x"]
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"x is {x.dtype}; expected floats: give the splits a prepare that makes them so")
    if conditional and (
        "y" not in row or row["y"].ndim != 1 or not jnp.issubdtype(row["y"].dtype, jnp.integer)
    ):
        raise ValueError(f"rows are {dict(row)}; expected integer labels y [N], or conditional=False")
    labels = (jnp.zeros(1, jnp.int32),) if conditional else ()
    made = output_shapes(generator, jnp.zeros((1, latent)), *labels).shape
    logits = output_shapes(discriminator, jnp.zeros(x.shape), *labels).shape
    if made != x.shape:
        raise ValueError(
            f"the generator makes rows of shape {list(made[1:])}; expected {list(x.shape[1:])}, as the "
            "data's: change the generator or the data"
        )
    if logits != (1,):
        raise ValueError(f"the discriminator's outputs have shape {['B', *logits[1:]]}; expected logits [B]")
