"""A batch in micro-batches gives the step of the whole, also where its rows count unevenly."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest

from fdl import models, tasks, train
from fdl.data import Splits
from fdl.experiment import Experiment
from fdl.models.autoencoder import Autoencoder
from fdl.tasks.accumulation import micro_batches
from tests.parallel import task_driver as driver
from tests.parallel.task_driver import CASES, SGD, accumulated
from tests.tasks.test_supervised import batch_of, close, unbox


class Pixels(nn.Module):
    """Logits of each pixel by itself."""

    classes: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """`[B, H, W, I]` to `[B, H, W, C]`."""
        return nn.Dense(self.classes)(x)


L1 = functools.partial(tasks.l1_penalty, factor=0.3)


def codes() -> Experiment:
    return driver.coded(L1)


# Whatever divides by a number of rows, tokens or pixels, without batch norm, and without dropout, which draws
# other numbers in micro-batches.
EXACT: dict[str, Callable[[], Experiment]] = {
    "pixels": lambda: driver.segmentation(model=Pixels(driver.CLASSES)),
    "segmentation": lambda: driver.segmentation(None),
    "regression": CASES["regression"],
    "classification": lambda: driver.classified(label_smoothing=0.1, l1=0.1),
    "private": CASES["private"],
    "adversarial training": lambda: tasks.adversarial_training(
        driver.MLP, driver.LABELLED, SGD, epsilon=0.1, low=-3.0, high=3.0, **driver.ONE_STEP
    ),
    "multilabel": CASES["multilabel"],
    "density": CASES["density"],
    "reconstruction": codes,
    "variational": CASES["variational"],
    "quantisation": CASES["quantisation"],
    "diffusion": CASES["diffusion"],
    "adversarial": lambda: driver.game(conditional=True, norm=None, critic_steps=2),
    "arcface": CASES["arcface"],
    "ctc": lambda: driver.ctc(0.0),
    "detection": lambda: driver.detection(None),
    "sequence to sequence": lambda: driver.translation(0.0),
    "language": lambda: driver.experts(0.0),
    "masked language": CASES["masked language"],
    "distillation": CASES["distillation"],
}
FAST = {"pixels", "regression"}


@pytest.mark.medium
def test_a_batch_in_which_nothing_counts_has_no_loss():
    x = np.sin(np.arange(4 * 2 * 3, dtype=np.float32)).reshape(4, 2, 3, 1)
    y = np.full((4, 2, 3), -1)
    y[0] = [[0, 1, 2], [2, 1, 0]]
    splits = Splits({"x": x, "y": y}, {"x": x, "y": abs(y)}, {"x": x, "y": abs(y)})

    def losses(evaluate_every: int) -> np.ndarray:
        rules: Any = {"steps": 4, "batch_size": 1, "evaluate_every": evaluate_every}
        experiment = tasks.segmentation(Pixels(3), splits, optax.sgd(0.1), **rules)
        _, rows = jax.jit(lambda key: train.scan(experiment, key))(jax.random.key(0))
        assert np.all(rows.valid)
        assert np.all(np.isfinite(rows.metrics["train/update_norm"]))
        return np.asarray(rows.metrics["train/loss"])

    each, mean = losses(1), losses(4)
    assert np.isfinite(each).sum() == 1  # of the pass's four batches one has labels
    np.testing.assert_allclose(mean, np.nanmean(each), rtol=1e-6)


def stepped(experiment: Experiment, batch: Any) -> tuple[Any, Any]:
    learner = experiment.learner
    return jax.jit(learner.step)(jax.jit(learner.init)(jax.random.key(0)), batch, jax.random.key(1))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in FAST else pytest.mark.slow) for name in EXACT]
)
def test_four_micro_batches_make_the_step_of_the_whole(name):
    one, four = EXACT[name](), accumulated(EXACT[name])
    batch = batch_of(one.train)
    (whole, seen), (parts, also) = stepped(one, batch), stepped(four, batch)
    if name == "quantisation":  # a perplexity is of the codes of a micro-batch
        seen, also = ({k: v for k, v in dict(found).items() if k != "perplexity"} for found in (seen, also))
    for a, b in zip(jax.tree.leaves((parts, also)), jax.tree.leaves((whole, seen)), strict=True):
        np.testing.assert_allclose(
            a, b, rtol=0, atol=1e-6 * max(1, np.abs(b).max())
        )  # of the array's own size
    assert all(value > 1e-3 for metric, value in seen.items() if "update_norm" in metric)


def test_micro_batches_take_their_rows_from_all_over():
    parts = micro_batches({"x": np.arange(12), "y": np.arange(24).reshape(12, 2)}, 3)
    np.testing.assert_array_equal(parts["x"], [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]])
    np.testing.assert_array_equal(parts["y"][1], [[2, 3], [8, 9], [14, 15], [20, 21]])
    with pytest.raises(
        ValueError, match="a step got 12 rows, on one device; expected a multiple of accumulate = 5"
    ):
        micro_batches({"x": np.arange(12)}, 5)


def test_batch_norm_sees_micro_batches_and_moves_with_each():
    made = lambda: driver.classified(model=models.MLP((5,), 3, norm=models.batch_norm))  # noqa: E731
    experiment = accumulated(made)
    start, batch = jax.jit(experiment.learner.init)(jax.random.key(0)), batch_of(experiment.train)
    hidden = batch["x"] @ unbox(start.params)["Layer_0"]["Dense_0"]["kernel"]
    expected = np.zeros(5)
    for part in range(4):
        expected += 0.1 * (np.asarray(hidden)[part::4].mean(axis=0) - expected)
    after, _ = stepped(experiment, batch)
    (mean,) = [leaf for path, leaf in jax.tree.leaves_with_path(after.model_state) if "mean" in str(path)]
    close(mean, expected)


@pytest.mark.medium
def test_a_micro_batch_is_all_that_is_kept_in_memory():
    rows, width = 512, 256
    x = np.zeros((rows, width), np.float32)
    part = {"x": x, "y": np.zeros((rows, 1), np.float32)}
    model = models.MLP((width,) * 8, 1)

    def memory(accumulate: int) -> int:
        splits = Splits(part, part, part)
        experiment = tasks.regression(model, splits, SGD, steps=1, batch_size=rows, accumulate=accumulate)
        given = jax.eval_shape(experiment.learner.init, jax.random.key(0)), batch_of(experiment.train)
        compiled = jax.jit(experiment.learner.step).lower(*given, jax.random.key(0)).compile()
        found: Any = compiled.memory_analysis()
        return found.temp_size_in_bytes

    assert memory(16) < 0.6 * memory(1)


def refusals() -> dict[str, tuple[Callable[[], Any], str]]:
    model = Autoencoder(models.MLP((5,), 4), models.MLP((), driver.WIDTH), activation=jax.nn.sigmoid)
    steps: dict[str, Any] = {"steps": 1, "batch_size": 8}
    return {
        "divisor": (
            lambda: tasks.classification(driver.MLP, driver.LABELLED, SGD, accumulate=3, **steps),
            "accumulate is 3; expected a divisor of batch_size = 8",
        ),
        "zero": (
            lambda: tasks.classification(driver.MLP, driver.LABELLED, SGD, accumulate=0, **steps),
            "accumulate is 0; expected at least 1",
        ),
        "contrastive": (lambda: accumulated(CASES["contrastive"]), "each row is compared"),
        "clip": (lambda: accumulated(CASES["clip"]), "each row is compared"),
        "metric learning": (lambda: accumulated(CASES["metric learning"]), "each row is compared"),
        "penalty": (
            lambda: tasks.reconstruction(
                model, driver.UNIT, SGD, penalty=driver.RATE_PENALTY, accumulate=2, **steps
            ),
            "accumulate is 2; expected 1: the penalty is of all codes of a batch",
        ),
    }


@pytest.mark.parametrize("name", refusals())
def test_what_cannot_be_accumulated_is_refused(name):
    make, message = refusals()[name]
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


def test_an_optimizer_sees_one_gradient_a_step():
    experiment = accumulated(lambda: driver.classified(optax.adam(0.1)))
    state, _ = stepped(experiment, batch_of(experiment.train))
    assert state.optimizer[0].count == 1
