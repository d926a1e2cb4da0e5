"""Small networks with random biases, whose attributions the tests know by other means."""

import jax
import jax.numpy as jnp
import numpy as np

from fdl import models

TABLE = models.MLP(widths=(8, 8), outputs=3)
ROWS = jax.random.normal(jax.random.key(1), (5, 4))
TARGET = jnp.array([0, 2, 1, 1, 0])
BACKGROUND = jax.random.normal(jax.random.key(2), (3, 4))


def shaken(variables, seed=0):
    """Variables, each with noise: at their start biases are 0."""
    leaves, structure = jax.tree.flatten(variables)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    noisy = [leaf + 0.3 * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(structure, noisy)


VARIABLES = shaken(TABLE.init(jax.random.key(0), ROWS))


def layers(variables):
    """Kernels and biases `[(W, b), ...]` of `TABLE`, as NumPy's."""
    params = jax.tree.map(np.asarray, dict(variables["params"]))
    dense = [params["Layer_0"]["Dense_0"], params["Layer_1"]["Dense_0"], params["Dense_0"]]
    return [(one["kernel"], one["bias"]) for one in dense]


outputs = jax.jit(TABLE.apply)
"""Of `TABLE`: compiled once for the many small calls of the references."""


def linear(weights, x):
    return x @ weights
