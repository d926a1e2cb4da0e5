"""Losses whose gradients and curvature are known, and a small net."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from fdl import models

KEY = jax.random.key(0)
MATRIX = np.random.default_rng(0).normal(size=(6, 6))
MATRIX = (MATRIX + MATRIX.T).astype(np.float32)
"""Symmetric, of both signs."""


def quadratic(variables, matrix):
    """Half of w^T A w: its Hessian is A."""
    w = jnp.concatenate([variables["params"]["a"]["w"], variables["params"]["b"]["w"]])
    return w @ matrix @ w / 2


def at(w):
    """Variables of `quadratic`."""
    return {"params": {"a": {"w": jnp.asarray(w[:2])}, "b": {"w": jnp.asarray(w[2:])}}, "other": {"n": 3}}


@functools.cache
def net():
    """A loss of a perceptron of 43 parameters, its variables and a batch."""
    model = models.MLP(widths=(4, 3), outputs=2, activation=jnp.tanh)
    x, y = jax.random.normal(KEY, (2, 20, 4))
    variables = nn.meta.unbox(model.init(KEY, x))

    def loss(variables, batch):
        return jnp.mean(jnp.square(model.apply(variables, batch["x"]) - batch["y"][:, :2]))

    return loss, variables, {"x": x, "y": y}
