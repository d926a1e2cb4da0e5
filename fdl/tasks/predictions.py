"""What a model's outputs say of rows whose targets are not known, under the names that users look for."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdl.experiment import Batch
from fdl.tasks.accumulation import Variables

OF_ONE_NET = ("boxes", "code", "embedding", "embedding_x", "embedding_y", "tokens")
"""Outputs that mean something beside others of the same net alone: of several nets there is no mean."""
Says = Callable[[Any], Mapping[str, jax.Array]]
"""`says(outputs) -> {"label": [B, ...], ...}`, of a model's outputs for a batch."""


def applied(model: nn.Module, says: Says) -> Callable[[Variables, Batch], Mapping[str, jax.Array]]:
    """`predict` of `gradient_learner`, for a model that maps a batch's `x` to outputs."""

    def predict(variables: Variables, batch: Batch) -> Mapping[str, jax.Array]:
        outputs, _ = model.apply(variables, batch["x"], train=False, mutable=[])
        return says(outputs)

    return predict


def features_of(model: nn.Module) -> Callable[[Variables, Batch], jax.Array]:
    """`(variables, batch) -> [B, F]`, what a model with a method `features` says of `x`."""

    def features(variables: Variables, batch: Batch) -> jax.Array:
        return model.apply(variables, batch["x"], method="features", mutable=[])[0]

    return features


def one_of_classes(logits: jax.Array) -> dict[str, jax.Array]:
    """Of logits `[B, ..., C]` the likeliest class, `label` int32 `[B, ...]`, and the `probability` of each,
    float32 `[B, ..., C]`."""
    probability = jax.nn.softmax(logits.astype(jnp.float32), axis=-1)
    return {"label": jnp.argmax(logits, axis=-1).astype(jnp.int32), "probability": probability}


def any_of_labels(logits: jax.Array) -> dict[str, jax.Array]:
    """Of logits `[B, K]` which labels hold, `label` bool `[B, K]`, and the `probability` of each."""
    return {"label": logits > 0, "probability": jax.nn.sigmoid(logits.astype(jnp.float32))}


def quantities_of(shape: tuple[int, ...]) -> Says:
    """Of outputs `[B, ...]` the `prediction`, `[B, *shape]`: of the targets' form."""
    return lambda outputs: {"prediction": outputs.reshape(len(outputs), *shape)}
