"""Runs that are loaded: each is the one that was trained, and says what its own parameters say."""

import dataclasses
import re
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest

import fdl
from fdl import data, models, tasks
from fdl.trained import predicting

CLASSES = 3
RNG = np.random.default_rng(0)


@fdl.config
class Config:
    lr: float = fdl.traced(0.1, low=0.0)


def rows(count: int) -> dict[str, np.ndarray]:
    x = RNG.integers(0, 256, (count, 4)).astype(np.uint8)
    return {"x": x, "y": (x.astype(int).sum(axis=1) % CLASSES).astype(np.int32)}


def prepare(batch: Any) -> Any:
    return {"x": batch["x"] / 255.0, "y": batch["y"]}  # hands the targets on, which new rows lack


SPLITS = data.Splits(rows(24), rows(13), rows(11), prepare=prepare)
STEPS = 6
BEST = fdl.Best("validation/loss", "higher")  # the worst, so that it is not the last


def experiment(config: Config) -> fdl.Experiment:
    model = models.MLP((5,), CLASSES)
    made = tasks.classification(model, SPLITS, optax.adam(config.lr), steps=STEPS, batch_size=8, best=BEST)
    return made._replace(evaluate_every=2)


SPACE = fdl.grid(Config(), lr=(0.01, 0.3), seeds=2)


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("trained")
    fdl.sweep(experiment, SPACE, workdir=place, members=4, mesh={"population": 2})
    return place


@pytest.fixture(scope="module")
def loaded(directory) -> Any:
    return fdl.load(directory)


def by_hand(variables: Any, x: np.ndarray) -> np.ndarray:
    """The probabilities `[N, C]` of a perceptron of one hidden layer, in NumPy."""
    params = variables["params"]
    hidden, last = params["Layer_0"]["Dense_0"], params["Dense_0"]
    middle = np.maximum(x / 255.0 @ hidden["kernel"] + hidden["bias"], 0)
    logits = middle @ last["kernel"] + last["bias"]
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("arm", ["lr=0.01", "lr=0.3"])
@pytest.mark.parametrize("state", ["result", "last", "best"])
def test_a_run_measures_what_its_training_measured_and_predicts_by_its_parameters(loaded, arm, state):
    for seed in (0, 1):
        run = loaded.run(arm, seed, state=state, experiment=experiment)
        frame = loaded.frame[(loaded.frame["arm"] == arm) & (loaded.frame["seed"] == seed)]
        own = frame[frame["best"]].iloc[-1] if state != "last" else frame.iloc[-1]
        assert (run.step, run.config.lr) == (own["step"], own["lr"])
        for split in ("validation", "test"):
            for name, value in run.evaluate(split).items():
                np.testing.assert_allclose(value, own[f"{split}/{name}"], rtol=1e-6)
        said = run.predict(SPLITS.test["x"])
        np.testing.assert_allclose(said["probability"], by_hand(run.variables, SPLITS.test["x"]), atol=1e-6)
        np.testing.assert_array_equal(said["label"], said["probability"].argmax(axis=1))
        assert not run.changed
    assert (loaded.last()["step"] < STEPS).any()  # so that the best and the last differ


def test_variables_need_no_experiment_and_are_numpy_arrays(loaded):
    alone, used = loaded.variables("lr=0.3", 1), loaded.run("lr=0.3", 1, experiment=experiment).variables
    jax.tree.map(np.testing.assert_array_equal, alone, jax.device_get(dict(used)))
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(alone))


def test_rows_in_any_number_of_batches_get_the_same_outputs(loaded, monkeypatch):
    run = loaded.run("lr=0.3", 0, experiment=experiment)
    whole = run.predict(SPLITS.train)
    monkeypatch.setattr(predicting, "BATCH", 7)
    parts = run.predict(data.on_host({"x": SPLITS.train["x"]}))
    assert parts["probability"].shape == (24, CLASSES)
    for name in whole:
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-5)


def test_an_ensemble_is_the_mean_of_its_runs_and_says_how_far_they_differ(loaded):
    x = SPLITS.test["x"]
    each = [loaded.run("lr=0.3", seed, experiment=experiment).predict(x) for seed in (0, 1)]
    together = loaded.ensemble("lr=0.3", experiment=experiment).predict(x)
    stacked = np.stack([one["probability"] for one in each])
    np.testing.assert_allclose(together["probability"], stacked.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(together["probability_spread"], stacked.std(axis=0, ddof=1), atol=1e-6)
    np.testing.assert_array_equal(together["label"], stacked.mean(axis=0).argmax(axis=1))
    agree = np.stack([one["label"] for one in each]) == together["label"]
    np.testing.assert_array_equal(together["label_agreement"], agree.mean(axis=0))
    assert list(together) == ["label", "label_agreement", "probability", "probability_spread"]


def test_what_is_chosen_or_joined_of_a_loaded_result_can_be_used(loaded, directory):
    best = loaded.best("lr", by="validation/loss", better="lower", seeds=1).run(experiment=experiment)
    assert best.seed == 1 and best.arm in ("lr=0.01", "lr=0.3")
    both = loaded.where(lr=0.3) + fdl.load(directory).where(lr=0.01)
    assert both.run("lr=0.01", 0, experiment=experiment).config.lr == 0.01


def other_width(config: Config) -> fdl.Experiment:
    return tasks.classification(models.MLP((6,), CLASSES), SPLITS, optax.adam(config.lr), steps=6, best=BEST)


def no_best(config: Config) -> fdl.Experiment:
    return experiment(config)._replace(learner=experiment(config).learner._replace(predict=None))


def no_data(config: Config) -> fdl.Experiment:
    del config
    return tasks.classification(
        models.MLP((5,), 3), data.table("gone.csv", target="y"), optax.sgd(0.1), steps=1
    )


X = np.zeros((2, 4), np.uint8)
REFUSED = {
    "several runs": (lambda loaded: loaded.run(), "4 runs are meant; give arm="),
    "several seeds": (lambda loaded: loaded.run("lr=0.3"), "2 runs are meant; give seed="),
    "no such arm": (lambda loaded: loaded.run("lr=3"), "no run has arm='lr=3'; there are: lr=0.01, lr=0.3"),
    "arms together": (lambda loaded: loaded.ensemble(), "an ensemble is of one arm"),
    "no file": (
        lambda loaded: loaded.run("lr=0.3", 0, experiment="stored"),
        "does not say which file trained it",
    ),
    "no class": (
        lambda loaded: loaded.run("lr=0.3", 0, experiment=lambda config: experiment(config)),
        "annotate its parameter",
    ),
    "no function": (lambda loaded: loaded.run("lr=0.3", 0, experiment=3), "experiment is 3; expected"),
    "no data": (lambda loaded: loaded.run("lr=0.3", 0, experiment=no_data), "its data is not there"),
    "no such state": (
        lambda loaded: loaded.run("lr=0.3", 0, state="first", experiment=experiment),
        "state is 'first'; expected 'result', 'last' or 'best'",
    ),
}
WRONG = {
    "a shape": (np.zeros((2, 5), np.uint8), r"input x is \['N', 5\]; expected \['N', 4\]"),
    "a dtype": (np.zeros((2, 4)), "input 'x' is float64; expected uint8"),
    "a name": ({"z": X}, "there is no input 'z'; expected one of x, y"),
    "no rows": (X[:0], "expected at least one"),
    "a number": (np.float32(3), "a single number"),
    "lengths": ({"x": X, "y": np.zeros(3, np.int32)}, "as many in each"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_loaded_is_refused_in_a_line(loaded, case):
    ask, why = REFUSED[case]
    with pytest.raises(ValueError, match=re.escape(why)) as refused:
        ask(loaded)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("case", WRONG)
def test_inputs_unlike_the_trainings_are_refused_in_a_line(loaded, case):
    given, why = WRONG[case]
    with pytest.raises(ValueError, match=why):
        loaded.run("lr=0.3", 0, experiment=experiment).predict(given)


def test_another_experiment_is_said_and_one_with_another_state_refused(loaded):
    with (
        pytest.warns(UserWarning, match="was trained by another experiment"),
        pytest.raises(ValueError, match=r"is of another experiment: params/.* expected float32\[4,.*6"),
    ):
        loaded.run("lr=0.3", 0, experiment=other_width)
    with pytest.warns(UserWarning, match="was trained by another experiment"):
        silent = loaded.run("lr=0.3", 0, experiment=no_best)
    with pytest.raises(ValueError, match="the experiment's learner predicts nothing"):
        silent.predict(X)


def test_a_preparation_that_reads_targets_cannot_prepare_new_rows(loaded):
    run = loaded.run("lr=0.3", 0, experiment=experiment)
    reads = run.experiment.inputs._replace(prepare=lambda batch: {"x": batch["x"] * batch["y"][:, None]})
    other = dataclasses.replace(run, experiment=run.experiment._replace(inputs=reads))
    with pytest.raises(ValueError, match="the prediction fails"):
        other.predict(X)


def test_a_damaged_checkpoint_is_refused_and_nothing_is_moved(directory, tmp_path):
    place = Path(shutil.copytree(directory, tmp_path / "copy"))
    loaded = fdl.load(place)
    file = max((place / "units").glob("*/checkpoints/*/state/**/d/*"), key=lambda path: path.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    before = sorted(place.rglob("*"))
    with pytest.raises(ValueError, match=r"damaged checkpoint .* does not agree with its checksum"):
        loaded.run("lr=0.3", 0, experiment=experiment)
    assert sorted(place.rglob("*")) == before
