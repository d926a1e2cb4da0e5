"""The options that every task shares, and that each task's learner is exported."""

import ast
import functools
import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fdl
from fdl import models, tasks, train
from fdl.data import gaussian_noise
from fdl.data.splits import prepared_row
from fdl.experiment import Experiment, Learner
from fdl.tasks.training import Training
from tests.parallel import task_driver
from tests.parallel.task_driver import (
    GROUPED,
    IMAGES,
    LABELLED,
    MLP,
    ROWS,
    SGD,
    SIGNS,
    TEXT,
    UNIT,
    X,
    Y,
    splits,
)

HEADED = models.WithHead(MLP, models.MLP((4,), 3))
COSINES = models.WithHead(MLP, models.CosineHead(3))
TOWERS = models.DualEncoder(MLP, models.MLP((4,), 3), width=3)
DENSITY = models.MixtureDensity(models.MLP((5,), 4), targets=2, components=2)
MANY = splits(x=np.tile(X, (8, 1)), y=np.tile(Y, 8))
LABELS = splits(x=X, y=np.eye(3, dtype=np.float32)[Y])
PAIRS = splits(x=X, y=X[:, :2])
TEACHER = models.MLP((4,), 3)
GIVEN = jax.eval_shape(TEACHER.init, jax.random.key(1), X[:1])
GIVEN = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), GIVEN)
VAE = models.VAE(MLP.clone(outputs=4), models.MLP((), 6))
VQVAE = models.VQVAE(MLP, models.VectorQuantiser(4, None), models.MLP((), 6), width=2)
DENOISER = models.DiffusionMLP((5,), classes=3)
ACOUSTIC = models.AcousticModel(3, channels=2, widths=(3,), cell=models.RNNCell, stride=1)
SOUND = splits(
    x=X.reshape(ROWS, 6, 1),
    length=np.full(ROWS, 6, np.int32),
    y=np.tile(np.array([1, 2], np.int32), (ROWS, 1)),
)
BOXES = splits(
    x=IMAGES, boxes=np.tile(np.array([[[0, 0, 2, 3]]], np.float32), (ROWS, 1, 1)), labels=Y[:, None]
)
PIXELS = splits(x=IMAGES, y=np.tile(Y[:, None, None], (1, 4, 4)))
GPT = models.gpt2(9, length=5, width=4, layers=1, heads=1)
BERT: Any = models.MaskedLanguageModel(models.bert(10, length=5, width=4, layers=1, heads=1, padding=None))
TEXTS = splits(x=TEXT, y=np.roll(TEXT, -1, axis=1))
HIDDEN = {"mask_token": 9, "vocabulary": 9}
MADE, JUDGE = models.MLPGenerator((5,), (6,)), models.MLPDiscriminator((5,))


class Case(NamedTuple):
    """A task, the learner that it must have, and what both are given."""

    task: Callable[..., Experiment]
    learner: Callable[..., Learner]
    given: tuple[Any, ...]
    options: Mapping[str, Any] = MappingProxyType({})
    more: Mapping[str, Any] = MappingProxyType({})  # what the task alone is given


CASES = {
    "classification": Case(
        tasks.classification, tasks.classification_learner, (MLP, LABELLED, SGD), {"label_smoothing": 0.1}
    ),
    "private_classification": Case(
        tasks.private_classification,
        lambda *given, **more: tasks.private_classification_learner(*given, batch_size=8, **more),
        (MLP, MANY, SGD),
        {"noise_multiplier": 1.0, "clip": 0.5},
    ),
    "adversarial_training": Case(
        tasks.adversarial_training,
        tasks.adversarial_training_learner,
        (MLP, LABELLED, SGD),
        {"epsilon": 0.1, "attack_steps": 2, "low": -1.0},
    ),
    "group_dro": Case(
        tasks.group_dro, tasks.group_dro_learner, (MLP, GROUPED, SGD), {"groups": 2, "l2": 0.1}
    ),
    "invariant_risk": Case(
        tasks.invariant_risk,
        tasks.invariant_risk_learner,
        (MLP, GROUPED, SGD),
        {"groups": 2, "penalty": 3.0, "anneal": 1},
    ),
    "regression": Case(
        tasks.regression, tasks.regression_learner, (models.MLP((5,), 1), SIGNS, SGD), {"l2": 0.1}
    ),
    "multilabel": Case(tasks.multilabel, tasks.multilabel_learner, (MLP, LABELS, SGD), {"l1": 0.1}),
    "conditional_density": Case(tasks.conditional_density, tasks.density_learner, (DENSITY, PAIRS, SGD)),
    "metric_learning": Case(tasks.metric_learning, tasks.metric_learner, (MLP, LABELLED, SGD)),
    "arcface": Case(tasks.arcface, tasks.arcface_learner, (COSINES, LABELLED, SGD), {"margin": 0.2}),
    "clip": Case(tasks.clip, tasks.clip_learner, (TOWERS, splits(x=X, y=X[:, ::-1].copy()), SGD)),
    "contrastive": Case(
        tasks.contrastive,
        lambda model, splits, *rest, **more: tasks.contrastive_learner(
            model, prepared_row(splits)["x"], *rest, **more
        ),
        (HEADED, LABELLED, SGD),
        {"neighbours": 1},
        {"augment": gaussian_noise(scale=0.3)},
    ),
    "distillation": Case(
        tasks.distillation, tasks.distillation_learner, (MLP, TEACHER, GIVEN, LABELLED, SGD), {"share": 0.3}
    ),
    "reconstruction": Case(
        tasks.reconstruction, tasks.reconstruction_learner, (models.MLP((5,), 6), UNIT, SGD)
    ),
    "variational": Case(tasks.variational, tasks.variational_learner, (VAE, UNIT, SGD), {"beta": 2.0}),
    "vector_quantisation": Case(
        tasks.vector_quantisation, tasks.quantisation_learner, (VQVAE, LABELLED, SGD), {"commitment": 0.5}
    ),
    "diffusion": Case(tasks.diffusion, tasks.diffusion_learner, (DENOISER, LABELLED, SGD), {"times": 10}),
    "flow_matching": Case(
        tasks.flow_matching, tasks.flow_matching_learner, (DENOISER, LABELLED, SGD), {"label_dropout": 0.1}
    ),
    "adversarial": Case(
        tasks.adversarial,
        lambda made, judge, splits, *rest, **more: tasks.adversarial_learner(
            made, judge, prepared_row(splits)["x"].shape[1:], *rest, **more
        ),
        (MADE, JUDGE, LABELLED, SGD, SGD),
        {"latent": 2, "penalty": 1.0},
    ),
    "ctc": Case(tasks.ctc, tasks.ctc_learner, (ACOUSTIC, SOUND, SGD)),
    "detection": Case(
        tasks.detection, tasks.detection_learner, (models.Detector(3, (2,), layers=1), BOXES, SGD)
    ),
    "segmentation": Case(
        tasks.segmentation, tasks.segmentation_learner, (models.UNet(3, (2, 3)), PIXELS, SGD)
    ),
    "sequence_to_sequence": Case(
        tasks.sequence_to_sequence, tasks.sequence_learner, (models.Seq2Seq(9, 9, 4), TEXTS, SGD)
    ),
    "language_modelling": Case(
        tasks.language_modelling,
        lambda model, splits, *rest, **more: tasks.language_learner(model, *rest, **more),
        (GPT, TEXTS, SGD),
        {"label_smoothing": 0.1},
    ),
    "masked_language_modelling": Case(
        tasks.masked_language_modelling,
        lambda model, splits, *rest, **more: tasks.masked_language_learner(model, *rest, **more),
        (BERT, splits(x=TEXT), SGD),
        {**HIDDEN, "rate": 0.4},
    ),
    "perceptron": Case(tasks.perceptron, tasks.perceptron_learner, (SIGNS,), {"rate": 0.5}),
    "adaline": Case(tasks.adaline, tasks.adaline_learner, (SIGNS,), {"rate": 0.1}),
}
NOT_HERE = {
    "self_play": "needs the extra 'games'; below",
    "experiment_over": "is given a learner",
    "warm_start": "is given an experiment",
}


def returned(function: Any) -> Any:
    return inspect.signature(function).return_annotation if inspect.isfunction(function) else None


def test_every_task_is_in_the_list():
    made = {name for name in dir(tasks) if returned(getattr(tasks, name)) is Experiment}
    assert made == CASES.keys() | NOT_HERE.keys()
    learners = {name for name in dir(tasks) if name.endswith("_learner")} - {"gradient_learner"}
    assert len(learners) == len(CASES) + 1, "a learner without a task, or a task that shares one"


def program_of(learner: Learner, state: Any, batch: Any) -> tuple[str, list[Any]]:
    """A step as JAX traces it, and the arrays that it closes over."""
    traced = jax.make_jaxpr(learner.step)(state, batch, jax.random.key(0))
    return re.sub(r" at 0x[0-9a-f]+", "", str(traced)), [np.asarray(leaf) for leaf in traced.consts]


def same_step(experiment: Experiment, learner: Learner) -> None:
    source, key = experiment.train, jax.random.key(0)
    batch = jax.eval_shape(source.batch, source.arrays, jnp.int32(0), key)
    state = jax.eval_shape(experiment.learner.init, key)
    (own, arrays), (other, others) = (
        program_of(each, state, batch) for each in (experiment.learner, learner)
    )
    assert own == other and len(own) > 1000
    assert all(map(np.array_equal, arrays, others)) and len(arrays) == len(others)
    assert jax.eval_shape(learner.init, key) == state and learner.required == experiment.learner.required


@pytest.mark.parametrize("name", CASES)
def test_a_task_s_step_is_that_of_its_learner(name):
    case = CASES[name]
    experiment = case.task(*case.given, steps=2, batch_size=ROWS, **case.options, **case.more)
    same_step(experiment, case.learner(*case.given, **case.options))


def test_self_play_s_step_is_that_of_its_learner():
    pytest.importorskip("pgx", reason="the games come from pgx: the extra 'games'")
    from fdl.tasks.games import tic_tac_toe, uniform

    given = tic_tac_toe(), models.PolicyValue(MLP, 9), tasks.ppo(), SGD, {"random": uniform}
    experiment = tasks.self_play(*given, steps=2, moves=3, games=2, passes=2)
    same_step(experiment, tasks.self_play_learner(*given, moves=3, games=2, passes=2))


@pytest.mark.parametrize("name", CASES)
def test_every_task_takes_the_options_of_all(name):
    case, stop = CASES[name], train.early_stopping("validation/loss", better="lower", patience=2)
    best = fdl.Best("validation/loss", "lower")
    given = functools.partial(case.task, *case.given, **case.options, **case.more)
    made = given(steps=20, batch_size=4, evaluate_every=5, stop=stop, best=best)
    assert (made.steps, made.evaluate_every, made.stop, made.best) == (20, 5, stop, best)
    assert jax.eval_shape(made.train.batch, made.train.arrays, jnp.int32(0), jax.random.key(0))
    plain = given(steps=40)
    assert (plain.evaluate_every, plain.stop, plain.best) == (4, None, None)
    parameters = inspect.signature(case.task).parameters
    assert Training.__annotations__.keys() | {"batch_size"} <= parameters.keys()
    assert parameters["steps"].default is inspect.Parameter.empty


def rows_of(experiment: Experiment) -> int:
    source = experiment.train
    batch = jax.eval_shape(source.batch, source.arrays, jnp.int32(0), jax.random.key(0))
    return len(jax.tree.leaves(batch)[0])


def test_a_batch_is_as_large_as_always_where_nothing_is_said():
    found = {}
    for name, case in CASES.items():
        parameter = inspect.signature(case.task).parameters["batch_size"]
        found[name] = parameter.default
    other = {"ctc": 32, "contrastive": 256, "clip": 256, "perceptron": 1, "adaline": 1}
    assert found == dict.fromkeys(CASES, 64) | other
    many = splits(x=np.zeros((200, 6), np.float32), y=np.ones(200, np.float32))
    assert rows_of(tasks.regression(models.MLP((), 1), many, SGD, steps=1)) == 64
    assert rows_of(tasks.perceptron(many, steps=1)) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "classification() lacks the option 'steps'; expected steps=..."),
        (
            {"steps": 3, "bach_size": 2},
            "classification() has no option 'bach_size': did you mean 'batch_size'?",
        ),
        ({"step": 3}, "classification() has no option 'step': did you mean 'steps'?"),
        ({"steps": 3, "evaluate": 2}, "has no option 'evaluate': did you mean 'evaluate_every'?"),
        (
            {"steps": 3, "xyzzy": 2},
            "has no option 'xyzzy': expected one of model, splits, optimizer,",
        ),
    ],
)
def test_a_wrong_option_is_said_in_one_line(options, said):
    with pytest.raises(TypeError, match=re.escape(said)) as caught:
        tasks.classification(MLP, LABELLED, SGD, **options)
    assert "\n" not in str(caught.value)


def test_every_task_is_run_on_several_devices():
    """By name in the list of `tests/parallel/task_driver.py`."""
    nodes = ast.walk(ast.parse(Path(task_driver.__file__).read_text()))
    named = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    assert CASES.keys() - named == set()
