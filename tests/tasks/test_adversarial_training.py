"""Adversarial training against the closed form of a linear model, whose worst row in a ball is known."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl import models, tasks
from tests.parallel.task_driver import LABELLED, MLP, X, Y, splits
from tests.train.test_run import same

EPSILON = 0.2
LINEAR = models.MLP((), 2)
SIDES = (Y > 0).astype(np.int32)
BATCH = {"x": X, "y": SIDES}
KEY = jax.random.key(0)


def trained(model: Any = LINEAR, part: Any = None, **options: Any):
    options = {"epsilon": EPSILON, "low": -10.0, "high": 10.0, "steps": 1, "batch_size": 8} | options
    return tasks.adversarial_training(model, part or splits(**BATCH), optax.sgd(1.0), **options)


def worst(params: Any) -> jax.Array:
    """Goodfellow et al. 2015, sec. 5: the margin falls by epsilon times the slope's norm of sums, `[B]`."""
    kernel, bias = params["Dense_0"]["kernel"], params["Dense_0"]["bias"]
    slope = kernel[:, 1] - kernel[:, 0]
    margin = (2 * SIDES - 1) * (X @ slope + bias[1] - bias[0])
    return jax.nn.softplus(EPSILON * jnp.sum(jnp.abs(slope)) - margin)


@pytest.mark.medium
def test_a_step_and_an_evaluation_are_those_of_the_closed_form():
    learner = trained().learner
    state = learner.init(KEY)
    after, metrics = jax.jit(learner.step)(state, BATCH, KEY)
    value, gradient = jax.value_and_grad(lambda params: jnp.mean(worst(params)))(state.params)
    expected = jax.tree.map(jnp.subtract, state.params, gradient)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), after.params, expected)
    np.testing.assert_allclose(metrics["loss"].value, value, rtol=1e-5)
    found = jax.jit(learner.evaluate)(state, {**BATCH, "weight": np.ones(8, np.float32)}, KEY)
    np.testing.assert_allclose(found["robust_loss"].value, value, rtol=1e-5)
    np.testing.assert_allclose(found["robust_accuracy"].value, np.mean(worst(state.params) < np.log(2)))
    assert found["loss"].value < value


@pytest.mark.medium
def test_no_distance_is_classification():
    model = MLP.clone(norm=models.layer_norm, dropout=0.3)
    ours = tasks.adversarial_training(model, LABELLED, optax.sgd(1.0), epsilon=0.0, steps=1).learner
    plain = tasks.classification(model, LABELLED, optax.sgd(1.0), steps=1).learner
    state, batch = plain.init(KEY), LABELLED.train
    same(*(jax.jit(one.step)(state, batch, KEY)[0].params for one in (ours, plain)))


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (X.astype(np.int32), "x is int32; expected one array of floats"),
        ({"left": X, "right": X}, "x is a dict; expected one array of floats"),
    ],
)
def test_what_cannot_be_moved_is_refused(x, said):
    class Joined(models.MLP):
        def __call__(self, x, train=False):
            return super().__call__(jax.tree.leaves(x)[0].astype(jnp.float32), train=train)

    with pytest.raises(ValueError, match=said):
        trained(Joined((), 3), splits(x=x, y=Y))
