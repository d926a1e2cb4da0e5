"""Conditional density: checks, metrics, and an inverse problem with two answers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl.data import Splits, sampled
from fdl.models.mixture_density import MixtureDensity, log_likelihood
from fdl.models.mlp import MLP
from fdl.tasks.density import conditional_density
from tests.tasks.test_supervised import batch_of, evaluated, trained

pytestmark = pytest.mark.slow  # minutes of compiling


def inverse(key):
    """x = t² plus noise: what t was has two answers."""
    draw, noise = jax.random.split(key)
    t = jax.random.uniform(draw, (1,), minval=-1)
    return {"x": t**2 + 0.02 * jax.random.normal(noise, (1,)), "y": t}


SPLITS = sampled(inverse, train=1000, validation=8, test=530)


def task(components, steps=300, splits=SPLITS, targets=1):
    model = MixtureDensity(MLP((16,), 16), targets=targets, components=components)
    return conditional_density(model, splits, optax.adam(1e-2), steps=steps)


def test_the_metric_is_the_mean_negative_log_likelihood():
    model = MixtureDensity(MLP((16,), 16), targets=1, components=3)
    experiment = task(3)
    state, batch = jax.jit(experiment.learner.init)(jax.random.key(0)), batch_of(experiment.train)
    _, metrics = jax.jit(experiment.learner.step)(state, batch, jax.random.key(1))
    made = model.apply({"params": state.params}, batch["x"])
    np.testing.assert_allclose(metrics["loss"].value, -jnp.mean(log_likelihood(made, batch["y"])), rtol=1e-5)  # pyright: ignore
    test = SPLITS.test
    whole = -np.mean(log_likelihood(model.apply({"params": state.params}, test["x"]), test["y"]))  # pyright: ignore
    np.testing.assert_allclose(evaluated(experiment, state, "test")["loss"], whole, rtol=1e-5)


def test_two_answers_need_two_components():
    losses = [evaluated(e, trained(e, 300), "test")["loss"] for e in (task(1), task(3))]
    assert losses[1] < losses[0] - 0.5  # nats; log 2 = 0.69 is what knowing of two answers is worth


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros((8, 1), np.int32), r"train targets are int32\[8, 1\]; expected floats \[N, T\]"),
    ],
)
def test_targets_that_do_not_fit_are_refused(y, message):
    part = {"x": np.zeros((8, 1), np.float32), "y": y}
    with pytest.raises(ValueError, match=message):
        task(1, splits=Splits(part, part, part))


def test_a_model_of_other_targets_is_refused():
    part = {"x": np.zeros((8, 1), np.float32), "y": np.zeros((8, 3), np.float32)}
    with pytest.raises(ValueError, match="let the model have as many targets as the data"):
        task(1, splits=Splits(part, part, part), targets=2)
