"""Interim."""

from typing import NamedTuple, Any
import numpy as np, jax, jax.numpy as jnp
from fdl.experiment import Source


class Splits(NamedTuple):
    train: Any
    validation: Any
    test: Any


def shuffled(arrays, *, batch_size):
    n = len(arrays["x"])

    def batch(a, step, key):
        i = jax.random.randint(jax.random.fold_in(key, step), (batch_size,), 0, n)
        return {k: v[i] for k, v in a.items()}

    return Source(arrays, batch, n // batch_size)


def sequential(arrays, *, batch_size):
    n = len(arrays["x"])

    def batch(a, step, key):
        i = step * batch_size + jnp.arange(batch_size)
        return {k: v[jnp.minimum(i, n - 1)] for k, v in a.items()} | {"weight": (i < n).astype(jnp.float32)}

    return Source(arrays, batch, -(-n // batch_size))


def digits():
    from sklearn.datasets import load_digits

    d = load_digits()
    p = np.random.default_rng(0).permutation(1797)
    x = d.data[p].astype(np.float32)
    y = d.target[p].astype(np.int32)
    mu, sd = x[:1197].mean(0), x[:1197].std(0)
    x = (x - mu) / np.where(sd > 0, sd, 1)
    f = lambda a, b: {"x": x[a:b].astype(np.float32), "y": y[a:b]}
    return Splits(f(0, 1197), f(1197, 1497), f(1497, 1797))
