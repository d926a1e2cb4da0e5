"""Multi-label classification against torch and scikit-learn."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl.data import Splits, digits
from fdl.models.mlp import MLP
from fdl.tasks.multilabel import label_cross_entropy, multilabel
from tests.tasks.test_supervised import batch_of, evaluated, trained

pytestmark = pytest.mark.slow  # minutes of compiling


def labelled(part: Any) -> dict[str, np.ndarray]:
    """Digits by four properties: even, prime, above four, a curve closed in it."""
    y = np.asarray(part["y"])
    properties = [y % 2 == 0, np.isin(y, (2, 3, 5, 7)), y > 4, np.isin(y, (0, 6, 8, 9))]
    return {"x": part["x"], "y": np.stack(properties, axis=-1).astype(np.float32)}


DIGITS = Splits(labelled(digits().train), labelled(digits().validation), labelled(digits().test))


def task(model, steps=200):
    return multilabel(model, DIGITS, optax.adam(1e-2), steps=steps)


def test_the_loss_and_its_gradient_are_torchs():
    torch = pytest.importorskip("torch", reason="the reference is PyTorch")
    logits = 5 * jax.random.normal(jax.random.key(0), (6, 4))
    labels = jax.random.bernoulli(jax.random.key(1), 0.5, (6, 4)).astype(jnp.float32)
    tensor = torch.tensor(np.array(logits), requires_grad=True)
    value = torch.nn.functional.binary_cross_entropy_with_logits(
        tensor, torch.tensor(np.array(labels)), reduction="none"
    ).mean(-1)
    value.sum().backward()
    np.testing.assert_allclose(label_cross_entropy(logits, labels), value.detach(), rtol=1e-5)
    assert tensor.grad is not None
    ours = jax.grad(lambda z: label_cross_entropy(z, labels).sum())(logits)
    np.testing.assert_allclose(ours, tensor.grad.numpy(), rtol=1e-5, atol=1e-7)


def test_metrics_are_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    model, test = MLP((8,), 4), DIGITS.test
    experiment = task(model)
    state = trained(experiment, 20)
    found = evaluated(experiment, state, "test")
    logits = np.asarray(model.apply({"params": state.params}, test["x"]), np.float64)
    decided, truth = logits > 0, np.asarray(test["y"]) > 0.5
    np.testing.assert_allclose(found["accuracy"], 1 - metrics.hamming_loss(truth, decided), rtol=1e-5)
    np.testing.assert_allclose(found["subset_accuracy"], metrics.accuracy_score(truth, decided), rtol=1e-5)
    each = [metrics.log_loss(truth[:, k], 1 / (1 + np.exp(-logits[:, k]))) for k in range(4)]
    np.testing.assert_allclose(found["loss"], np.mean(each), rtol=1e-5)
    step = jax.jit(experiment.learner.step)(state, batch_of(experiment.train), jax.random.key(0))[1]
    assert set(step) == {*found, "update_norm"}


def test_labels_are_learned():
    experiment = task(MLP((32,), 4))
    found = evaluated(experiment, trained(experiment, 200), "test")
    truth = np.asarray(DIGITS.test["y"])
    guess = np.maximum(truth.mean(0), 1 - truth.mean(0)).mean()
    assert found["subset_accuracy"] > 0.85
    assert found["accuracy"] > 0.95 > guess + 0.2


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.full((8, 4), 0.5, np.float32), "train labels go from 0.5 to 0.5; expected only 0 and 1"),
        (np.zeros((8, 3), np.float32), r"train targets have shape \[8, 3\]; expected \[N, 4\]"),
        (np.zeros((8, 4), np.int32), "train targets are int32; expected floats"),
    ],
)
def test_labels_that_do_not_fit_are_refused(y, message):
    part = {"x": np.zeros((8, 2), np.float32), "y": y}
    with pytest.raises(ValueError, match=message):
        multilabel(MLP((), 4), Splits(part, part, part), optax.sgd(0.1), steps=1)
