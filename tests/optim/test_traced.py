"""Optax's own parts take traced hyper-parameters: one program for all values, the same numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl.optim import warmup_cosine

PARTS = {
    "adam lr": lambda v: optax.adam(v),
    "adam b1": lambda v: optax.adam(1e-2, b1=v),
    "adam b2": lambda v: optax.adam(1e-2, b2=v),
    "adam eps": lambda v: optax.adam(1e-2, eps=v),
    "nadam lr": lambda v: optax.nadam(v),
    "adamw decay": lambda v: optax.adamw(1e-2, weight_decay=v),
    "sgd lr": lambda v: optax.sgd(v),
    "sgd momentum": lambda v: optax.sgd(1e-2, momentum=v),
    "sgd nesterov": lambda v: optax.sgd(1e-2, momentum=v, nesterov=True),
    "rmsprop lr": lambda v: optax.rmsprop(v),
    "rmsprop decay": lambda v: optax.rmsprop(1e-2, decay=v),
    "rmsprop momentum": lambda v: optax.rmsprop(1e-2, momentum=v),
    "adagrad lr": lambda v: optax.adagrad(v),
    "lion lr": lambda v: optax.lion(v),
    "decayed weights": lambda v: optax.chain(optax.add_decayed_weights(v), optax.sgd(1e-2)),
    "clip by value": lambda v: optax.chain(optax.clip(v), optax.sgd(1e-2)),
    "clip by norm": lambda v: optax.chain(optax.clip_by_global_norm(v), optax.sgd(1e-2)),
    "noise eta": lambda v: optax.chain(optax.add_noise(v, 0.55, key=0), optax.sgd(1e-2)),
    "noise gamma": lambda v: optax.chain(optax.add_noise(0.1, v, key=0), optax.sgd(1e-2)),
    "cosine": lambda v: optax.sgd(optax.cosine_decay_schedule(v, 5)),
    "cosine alpha": lambda v: optax.sgd(optax.cosine_decay_schedule(0.1, 5, alpha=v)),
    "linear": lambda v: optax.sgd(optax.linear_schedule(0.0, v, 3)),
    "constant": lambda v: optax.sgd(optax.constant_schedule(v)),
    "warmup_cosine": lambda v: optax.adam(warmup_cosine(v, steps=5, warmup=2)),
}
VALUES = (0.05, 0.3, 0.9)
START = {"w": jnp.array([1.0, -2.0, 3.0]), "b": jnp.array(0.5)}


def trained(optimizer):
    """Parameters after four steps on a bent bowl."""
    params, state = START, optimizer.init(START)
    for _ in range(4):
        gradients = jax.grad(lambda p: jnp.sum(p["w"] ** 4) + jnp.sin(p["b"]))(params)
        updates, state = optimizer.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
    return params


@pytest.mark.parametrize("name", PARTS)
def test_a_traced_value_gives_the_same_numbers_in_one_program(name):
    traces = 0

    def run(value):
        nonlocal traces
        traces += 1
        return trained(PARTS[name](value))

    together = jax.jit(jax.vmap(run))(jnp.array(VALUES))
    jitted = jax.jit(run)
    singles = [jitted(value) for value in VALUES]
    assert traces == 2  # one of the vmap, one for all single values
    distinct = set()
    for index, value in enumerate(VALUES):
        concrete = trained(PARTS[name](value))
        distinct.add(np.asarray(concrete["w"]).tobytes())
        for traced in (jax.tree.map(lambda leaf, i=index: leaf[i], together), singles[index]):
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5), traced, concrete)
    assert len(distinct) == len(VALUES)  # the value matters
