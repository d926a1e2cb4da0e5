"""The perceptron's rule and ADALINE's against scikit-learn, NumPy and the convergence theorem."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core.meta import unbox

from fdl.data import Splits
from fdl.models.neurons import Neuron
from fdl.tasks.perceptron import adaline, perceptron
from fdl.train import scan
from tests.tasks.test_supervised import evaluated

pytestmark = pytest.mark.slow  # minutes of compiling


def splits(x, y) -> Splits:
    part = {"x": np.asarray(x, np.float32), "y": np.asarray(y, np.float32)}
    return Splits(part, part, part)


def separable(seed, gap=0.3, rows=80):
    """Points beside a plane through the origin, and labels of their side; none is nearer than the gap."""
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=3)
    normal /= np.linalg.norm(normal)
    x = rng.normal(size=(rows, 3)).astype(np.float32)
    side = np.sign(x @ normal)
    return (x + gap * side[:, None] * normal).astype(np.float32), side.astype(np.float32)


def weights(state: Any) -> tuple[np.ndarray, np.ndarray]:
    layer = unbox(state.params)["Dense_0"]
    return np.asarray(layer["kernel"])[:, 0], np.asarray(layer["bias"])


def swept(experiment, batch, sweeps):
    """States after each sweep over the rows of a batch in their order."""
    learner = experiment.learner
    state = jax.jit(learner.init)(jax.random.key(0))
    run = jax.jit(lambda state, _: (learner.step(state, batch, jax.random.key(0))[0],) * 2)
    return jax.jit(lambda state: jax.lax.scan(run, state, None, length=sweeps))(state)


@pytest.mark.parametrize("weighed", [False, True])
def test_updates_are_scikit_learns_row_by_row(weighed):
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)).astype(np.float32), rng.choice([-1.0, 1.0], 40).astype(np.float32)
    weight = rng.choice([0.0, 0.5, 1.0, 3.0], 40).astype(np.float32) if weighed else np.ones(40, np.float32)
    experiment = perceptron(splits(x, y), steps=1, rate=0.5)
    reference = linear_model.Perceptron(eta0=0.5, shuffle=False, penalty=None)
    state, step = experiment.learner.init(jax.random.key(0)), jax.jit(experiment.learner.step)
    mistakes = 0
    for row in range(40):
        started = hasattr(reference, "coef_")
        score = x[row] @ reference.coef_[0] + reference.intercept_[0] if started else 0.0
        mistaken = y[row] * score <= 0
        mistaken &= weight[row] > 0  # a row that does not count moves nothing
        mistakes += mistaken
        one = slice(row, row + 1)
        if weight[row] > 0:  # it refuses a batch in which nothing counts
            reference.partial_fit(x[one], y[one], classes=[-1.0, 1.0], sample_weight=weight[one])
        batch = {"x": x[one], "y": y[one]} | ({"sample_weight": weight[one]} if weighed else {})
        state, metrics = step(state, batch, jax.random.key(0))
        w, b = weights(state)
        if hasattr(reference, "coef_"):
            np.testing.assert_allclose(w, reference.coef_[0], rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(b, reference.intercept_, rtol=1e-5, atol=1e-6)
        assert metrics["updates"] == mistaken and state.updates == mistakes
    assert 0 < mistakes < 40


def test_what_is_averaged_over_steps_is_the_share_of_mistaken_rows():
    x, y = separable(0)
    experiment = perceptron(splits(x, y), steps=6, batch_size=5, evaluate_every=3)
    state, rows = jax.jit(lambda key: scan(experiment, key))(jax.random.key(0))
    assert 0 < state.updates < 30
    np.testing.assert_allclose(np.sum(rows.metrics["train/updates"]) * 3 * 5, state.updates, rtol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_mistakes_are_bounded_by_the_margin(seed):
    svm = pytest.importorskip("sklearn.svm")
    x, y = separable(seed)
    last, states = swept(perceptron(splits(x, y), steps=1), {"x": x, "y": y}, 60)
    augmented = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    plane = svm.SVC(kernel="linear", C=1e6).fit(x, y)
    normal = np.append(plane.coef_[0], plane.intercept_[0])
    normal /= np.linalg.norm(normal)
    margin = (y * (augmented @ normal)).min()
    bound = (np.linalg.norm(augmented, axis=1).max() / margin) ** 2
    assert margin > 0
    assert 0 < last.updates <= bound
    assert states.updates[-1] == states.updates[-2]  # a whole sweep without a mistake
    w, b = weights(last)
    assert np.all(y * (x @ w + b) > 0)


def test_xor_is_never_learned():
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    y = np.array([-1, 1, 1, -1], np.float32)
    _, states = swept(perceptron(splits(x, y), steps=1), {"x": x, "y": y}, 50)
    assert np.all(np.diff(states.updates) > 0)
    seen = [tuple(np.concatenate([*weights(jax.tree.map(lambda s, i=i: s[i], states))])) for i in range(50)]
    assert len(set(seen)) < 10  # the weights go round in a cycle


def test_and_is_learned_within_an_experiment():
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    experiment = perceptron(splits(x, [-1, -1, -1, 1]), steps=60, batch_size=1)
    source, learner = experiment.train, experiment.learner
    state, step = learner.init(jax.random.key(0)), jax.jit(learner.step)
    for i in range(60):
        batch = source.batch(source.arrays, jnp.int32(i), jax.random.key(1))
        state, _ = step(state, batch, jax.random.key(i))
    metrics = evaluated(experiment, state, "test")
    assert metrics["accuracy"] == 1
    assert metrics["loss"] == 0
    np.testing.assert_array_equal(Neuron().apply({"params": state.params}, x)[:, 0], [0, 0, 0, 1])  # pyright: ignore


def test_adaline_ends_at_least_squares():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 3)).astype(np.float32)
    clean = (x @ np.array([1.0, -2.0, 0.5]) + 0.3).astype(np.float32)
    noisy = (clean + 0.5 * rng.normal(size=50)).astype(np.float32)
    for y, rate, tolerance in ((clean, 0.05, 1e-4), (noisy, 0.0005, 0.01)):
        # With noise the rule stays near the least squares, the nearer the smaller its rate.
        last, _ = swept(adaline(splits(x, y), steps=1, rate=rate), {"x": x, "y": y}, 1000)
        solution = np.linalg.lstsq(np.concatenate([x, np.ones((50, 1))], axis=1), y, rcond=None)[0]
        np.testing.assert_allclose(np.concatenate(weights(last)), solution, atol=tolerance)


def test_an_adaline_update_is_widrow_and_hoffs():
    x, y, rate = np.array([[1.0, 2.0], [0.5, -1.0]]), np.array([1.0, -1.0]), 0.1
    experiment = adaline(splits(x, y), steps=1, rate=rate)
    state = jax.jit(experiment.learner.init)(jax.random.key(0))
    batch = {"x": jnp.asarray(x, jnp.float32), "y": jnp.asarray(y, jnp.float32)}
    state, _ = experiment.learner.step(state, batch, jax.random.key(0))
    w, b = np.zeros(2), 0.0
    for row, target in zip(x, y, strict=True):
        error = target - w @ row - b
        w, b = w + rate * error * row, b + rate * error
    np.testing.assert_allclose(np.concatenate(weights(state)), [*w, b], rtol=1e-5)


def test_functions_vmap_over_rates_in_one_program():
    x, y = separable(0, rows=16)

    def run(rate):
        learner = adaline(splits(x, y), steps=1, rate=rate).learner
        return learner.step(learner.init(jax.random.key(0)), {"x": x, "y": y}, jax.random.key(0))[0].params

    together = jax.jit(jax.vmap(run))(jnp.array([0.01, 0.1]))
    alone = jax.jit(run)(0.1)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[1], b, rtol=1e-5), together, alone)


@pytest.mark.parametrize("task", [perceptron, adaline])
def test_labels_that_do_not_fit_are_refused(task):
    x = np.zeros((4, 2), np.float32)
    bad = {"x": x, "y": np.zeros(4, np.int32)}
    with pytest.raises(ValueError, match="targets are int32; expected floats"):
        task(Splits(bad, bad, bad), steps=1)
