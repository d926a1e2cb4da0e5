"""Gradients accumulated over small batches make the step of their union."""

import jax
import numpy as np
import optax

from fdl import data, models, tasks


def test_four_quarters_make_the_step_of_the_whole():
    model, splits = models.MLP((16,), 10), data.digits()
    rows = {name: array[:64] for name, array in splits.train.items()}
    rows["x"] = rows["x"].astype(np.float32)

    def after(optimizer, parts):
        learner = tasks.classification(model, splits, optimizer, steps=1).learner
        state, step = learner.init(jax.random.key(0)), jax.jit(learner.step)
        for part in range(parts):
            batch = {name: np.split(array, parts)[part] for name, array in rows.items()}
            state, _ = step(state, batch, jax.random.key(part))
        return state.params

    momentum = optax.sgd(0.1, momentum=0.9)
    whole, quarters = after(momentum, 1), after(optax.MultiSteps(momentum, 4).gradient_transformation(), 4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), quarters, whole)
    start = after(momentum, 0)
    assert max(np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, (whole, start)), strict=True)) > 1e-3
