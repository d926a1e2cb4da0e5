"""What each task's learner predicts: which outputs, of each row alone, by formulas written out here."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fdl
from fdl import models, tasks
from fdl.data.tokens.sentences import END
from fdl.experiment import Experiment
from fdl.tasks.ctc import best_path
from fdl.tasks.gradient import variables
from fdl.train.prediction import says
from fdl.train.stored_prediction import prediction_of, store_prediction, stored_prediction
from fdl.tree import named_leaves
from tests.parallel.task_driver import ROWS, SGD, TEXT, splits
from tests.tasks.test_training import CASES

CLASSES = {"label", "probability"}
TEXTS = {*CLASSES, "log_probability", "perplexity"}
OUTPUTS: dict[str, set[str]] = {
    "classification": CLASSES,
    "private_classification": CLASSES,
    "adversarial_training": CLASSES,
    "group_dro": CLASSES,
    "invariant_risk": CLASSES,
    "regression": {"prediction"},
    "multilabel": CLASSES,
    "conditional_density": {"prediction", "deviation"},
    "metric_learning": {"embedding"},
    "arcface": {"label", "embedding"},
    "clip": {"cosine", "embedding_x", "embedding_y"},
    "contrastive": {"embedding"},
    "distillation": CLASSES,
    "reconstruction": {"reconstruction", "squared_error"},
    "variational": {"code", "reconstruction", "squared_error"},
    "vector_quantisation": {"code", "reconstruction", "squared_error"},
    "diffusion": set(),
    "flow_matching": set(),
    "adversarial": set(),
    "ctc": {"tokens", "log_probability"},
    "detection": {"label", "score", "boxes"},
    "segmentation": CLASSES,
    "sequence_to_sequence": {"tokens", "log_probability"},
    "language_modelling": TEXTS,
    "masked_language_modelling": CLASSES,
    "perceptron": {"label", "sum"},
    "adaline": {"prediction"},
}


def made(name: str) -> Experiment:
    case = CASES[name]
    return case.task(*case.given, steps=2, batch_size=ROWS, **case.options, **case.more)


def rows_of(name: str) -> dict[str, Any]:
    """The columns on which predictions depend."""
    case = CASES[name]
    train = next(one for one in case.given if hasattr(one, "train")).train
    targets = {"y": name != "clip", "boxes": True, "labels": True}
    return {column: rows for column, rows in train.items() if not targets.get(column)}


def test_the_list_is_of_all_tasks():
    assert OUTPUTS.keys() == CASES.keys()
    assert {name for name in CASES if made(name).learner.predict is None} == {
        name for name, outputs in OUTPUTS.items() if not outputs
    }


PREDICTING = [name for name, outputs in OUTPUTS.items() if outputs]


@pytest.mark.medium
@pytest.mark.parametrize("name", PREDICTING)
def test_a_row_is_predicted_by_itself_and_the_stored_program_says_the_same(name, tmp_path):
    experiment, rows = made(name), rows_of(name)
    state = experiment.learner.init(jax.random.key(0))
    program = jax.jit(says(experiment))
    found = program(state, rows)
    assert set(found) == OUTPUTS[name]
    order = np.random.default_rng(0).permutation(ROWS)
    moved = program(state, {column: values[order] for column, values in rows.items()})
    same = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)  # noqa: E731
    jax.tree.map(lambda a, b: same(a[order], b), found, moved)
    config = fdl.config(type("Config", (), {}))()
    store_prediction(tmp_path, lambda: prediction_of(lambda config: experiment, config, experiment))
    stored = stored_prediction(tmp_path).call
    alone = {column: values[:1] for column, values in rows.items()}
    said = jax.jit(lambda state, rows: stored({}, named_leaves(state), rows))(state, alone)
    jax.tree.map(lambda a, b: same(a[:1], b), found, said)


def test_a_mixture_s_deviation_is_that_of_what_is_drawn_of_it():
    rng = np.random.default_rng(0)
    logits, means, scales = rng.normal(size=(2, 3)), rng.normal(size=(2, 3, 2)), rng.normal(size=(2, 3, 2))
    mixture = models.mixture_density.Mixture(*map(jnp.float32, (logits, means, scales)))
    weight = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    component = np.array([rng.choice(3, 200_000, p=one) for one in weight])
    drawn = np.stack([means[b][component[b]] for b in range(2)])
    drawn += np.stack([np.exp(scales[b])[component[b]] for b in range(2)]) * rng.normal(size=drawn.shape)
    deviation = models.mixture_density.deviation(mixture)
    np.testing.assert_allclose(deviation, drawn.std(axis=1), rtol=0.01)


def test_a_text_s_perplexity_is_that_of_its_tokens_one_by_one():
    model = models.gpt2(9, length=5, width=4, layers=1, heads=1)
    texts = splits(x=TEXT[:, :-1], y=TEXT[:, 1:])
    experiment = tasks.language_modelling(model, texts, SGD, steps=1)
    state = experiment.learner.init(jax.random.key(0))
    x = TEXT[:, :-1]
    assert experiment.learner.predict is not None
    said = experiment.learner.predict(state, {"x": x})
    assert set(said) == TEXTS
    others = tasks.language_modelling(model, splits(x=x, y=x), SGD, steps=1).learner  # a text is no target
    assert others.predict is not None and set(others.predict(state, {"x": x})) == CLASSES
    chance = np.asarray(said["probability"])
    each = [[chance[row, t, x[row, t + 1]] for t in range(x.shape[1] - 1)] for row in range(len(x))]
    np.testing.assert_allclose(said["log_probability"], np.log(each).sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(said["perplexity"], np.exp(-np.log(each).mean(axis=1)), rtol=1e-5)


@pytest.mark.medium
def test_decoded_labels_have_the_chance_of_all_their_alignments():
    experiment = made("ctc")
    model, sound, _ = CASES["ctc"].given
    state = experiment.learner.init(jax.random.key(0))
    x, length = sound.train["x"], np.full(ROWS, 4, np.int32)
    assert experiment.learner.predict is not None
    said = experiment.learner.predict(state, {"x": x, "length": length})
    logits = model.apply(variables(state), x, train=False, mask=np.arange(6) < length[:, None])
    chance = np.asarray(jax.nn.softmax(logits, axis=-1))
    for row in range(2):
        paths = np.array([*itertools.product(range(chance.shape[2]), repeat=4), ()][:-1])
        fixed = np.zeros((len(paths), 6, chance.shape[2]), np.float32)
        fixed[np.arange(len(paths))[:, None], np.arange(4), paths] = 1.0
        stands_for = np.asarray(best_path(jnp.asarray(fixed), jnp.full(len(paths), 4)))
        mine = (stands_for == np.asarray(said["tokens"][row])).all(axis=1)
        total = chance[row, np.arange(4), paths[mine]].prod(axis=1).sum()
        np.testing.assert_allclose(said["log_probability"][row], np.log(total), rtol=1e-4)


@pytest.mark.slow
def test_translated_tokens_end_and_are_those_that_an_evaluation_finds():
    x = np.random.default_rng(0).integers(2, 6, (64, 2)).astype(np.int32)
    y = np.concatenate([x, np.full((64, 1), END, np.int32)], axis=1)
    pairs = splits(x=x, y=np.pad(y, ((0, 0), (0, 1))))
    experiment = tasks.sequence_to_sequence(
        models.Seq2Seq(6, 6, 16), pairs, optax.adam(0.02), steps=60, batch_size=64
    )
    state, rows = jax.jit(lambda key: fdl.train.scan(experiment, key))(jax.random.key(0))
    assert experiment.learner.predict is not None
    said = experiment.learner.predict(state, {"x": x})
    tokens = np.asarray(said["tokens"])
    right = (tokens == pairs.test["y"]).all(axis=1)
    np.testing.assert_allclose(right.mean(), rows.metrics["test/exact_match"][-1], atol=1e-6)
    assert right.mean() > 0.5
    before = np.concatenate([np.zeros((64, 1), np.int32), tokens[:, :-1]], axis=1)
    logits: Any = models.Seq2Seq(6, 6, 16).apply(variables(state), x, before, train=False)
    chance = np.asarray(jax.nn.softmax(logits))
    each = np.log(np.take_along_axis(chance, tokens[..., None], axis=-1)[..., 0])[:, :3].sum(axis=1)
    np.testing.assert_allclose(np.asarray(said["log_probability"])[right], each[right], rtol=1e-3, atol=1e-5)
