"""What is exported says what the run says, to a program that knows nothing of fdl."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import export
from safetensors.numpy import load

import fdl
from fdl import data, models, tasks
from fdl.models.text_encoder import first_token
from fdl.pretrained.safetensors import parse_safetensors
from fdl.trained import TrainedRun, as_safetensors, as_stablehlo, write_artifact
from fdl.trained.standalone import weights

RNG = np.random.default_rng(0)


def images(side: int, channels: int) -> dict[str, np.ndarray]:
    x = RNG.integers(0, 256, (6, side, side, channels)).astype(np.uint8)
    return {"x": x, "y": np.arange(6, dtype=np.int32) % 3}


def texts(length: int = 8) -> dict[str, np.ndarray]:
    return {"x": RNG.integers(1, 20, (6, length)).astype(np.int32), "y": np.arange(6, dtype=np.int32) % 3}


def prepare(batch: Any) -> Any:
    return {"x": batch["x"] / 255.0 - 0.5, "y": batch["y"]}  # hands the targets on, which new rows lack


def run_of(experiment: fdl.Experiment) -> TrainedRun:
    """As if it had been trained: what is exported does not depend on it."""
    return TrainedRun("arm", 0, None, 0, "finished", experiment, experiment.learner.init(jax.random.key(1)))


def classifier(model: Any, part: dict[str, np.ndarray], prepare: Any = None) -> TrainedRun:
    splits = data.Splits(part, part, part, prepare=prepare)
    return run_of(tasks.classification(model, splits, optax.adam(1e-3), steps=1, batch_size=2))


def of_texts() -> TrainedRun:
    part = {"x": texts()["x"], "y": texts()["x"]}
    model = models.gpt2(20, length=8, width=16, layers=2, heads=2)
    splits = data.Splits(part, part, part)
    return run_of(tasks.language_modelling(model, splits, optax.adam(1e-3), steps=1, batch_size=2))


SMALL = models.bert(20, length=8, width=16, layers=1, heads=2)
RUNS = {
    "MLP": lambda: classifier(models.MLP((5,), 3), images(4, 1), prepare),
    "LeNet": lambda: classifier(models.lenet5(3), images(32, 1), prepare),
    "ResNet-20": lambda: classifier(models.cifar_resnet(20, 3), images(16, 3), prepare),
    "LSTM": lambda: classifier(models.RecurrentNet((8,), 3, vocabulary=20), texts()),
    "GPT": of_texts,
    "BERT": lambda: classifier(models.TextClassifier(SMALL, 3, first_token), texts()),
    "ViT": lambda: classifier(
        models.vision_transformer(3, size=8, patch=4, width=16, layers=1, heads=2), images(8, 3), prepare
    ),
}
COMPILED = [pytest.param(name, marks=() if name == "MLP" else pytest.mark.slow) for name in RUNS]


@pytest.mark.parametrize("name", COMPILED)
def test_the_program_says_what_the_run_says(name):
    run = RUNS[name]()
    artifact = as_stablehlo(run)
    assert list(artifact.told["inputs"]) == ["x"]  # no targets
    assert artifact.told["inputs"]["x"]["shape"][0] == "N"
    assert run.experiment.inputs is not None
    form = run.experiment.inputs.row["x"]
    x = np.asarray(RNG.integers(1, 20, (5, *form.shape)), form.dtype)  # another number of rows
    found = export.deserialize(bytearray(artifact.content)).call({"x": x})
    wanted = run.predict(x)
    assert {name: list(one.shape[1:]) for name, one in wanted.items()} == {
        name: one["shape"][1:] for name, one in artifact.told["outputs"].items()
    }
    np.testing.assert_array_equal(found["label"], wanted["label"])
    np.testing.assert_allclose(found["probability"], wanted["probability"], rtol=1e-4, atol=1e-7)


def test_a_folder_needs_no_fdl(tmp_path):
    run = RUNS["MLP"]()
    write_artifact(as_stablehlo(run), run, tmp_path / "folder")
    x = images(4, 1)["x"]
    np.savez(tmp_path / "in.npz", x=x)
    found = played(tmp_path / "folder" / "predict.py", tmp_path / "in.npz", tmp_path / "out.npz")
    assert not found.returncode, found.stderr
    with np.load(tmp_path / "out.npz") as outputs:
        np.testing.assert_array_equal(outputs["label"], run.predict(x)["label"])
    artifact = tmp_path / "folder" / "model.stablehlo"
    artifact.write_bytes(artifact.read_bytes()[:-1] + b"!")
    found = played(tmp_path / "folder" / "predict.py", tmp_path / "in.npz", tmp_path / "out.npz")
    assert found.returncode == 1 and "model.stablehlo is damaged" in found.stderr


def played(program: Path, *words: Path) -> subprocess.CompletedProcess[str]:
    """A program, with a `fdl` in its way that it must not touch."""
    (program.parent / "fdl.py").write_text("raise ImportError('there is no fdl here')")
    return subprocess.run([sys.executable, program, *words], capture_output=True, text=True, check=False)


def test_weights_are_read_by_others(tmp_path):
    run = classifier(models.cifar_resnet(8, 3), images(16, 3), prepare)
    files = write_artifact(as_safetensors(run), run, tmp_path)
    arrays, wanted = load((tmp_path / "model.safetensors").read_bytes()), named(run.variables)
    assert set(arrays) == set(wanted)
    for name, array in wanted.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], np.asarray(array), err_msg=name)
    told = json.loads((tmp_path / "model.json").read_text())
    assert set(told["arrays"]) == set(wanted) and [path.name for path in files][-1] == "model.json"


def test_of_half_precision_no_bit_is_lost(tmp_path):
    run = RUNS["MLP"]()
    half = jax.tree.map(lambda one: one.astype(jnp.bfloat16), run.state.params)
    run = dataclasses.replace(run, state=run.state._replace(params=half))
    write_artifact(as_safetensors(run), run, tmp_path)
    content = (tmp_path / "model.safetensors").read_bytes()
    read, parsed = weights.tensors_of(content), parse_safetensors(np.frombuffer(content, np.uint8), "model")
    for name, array in named(run.variables).items():
        np.testing.assert_array_equal(read[name], np.asarray(array, np.float32), err_msg=name)
        np.testing.assert_array_equal(parsed[name], np.asarray(array), err_msg=name)
    found = played(tmp_path / "weights.py")
    assert found.returncode == 0 and len(found.stdout.splitlines()) == len(read), found.stderr


def named(variables: Any) -> dict[str, jax.Array]:
    leaves = jax.tree_util.tree_leaves_with_path(variables)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def predicting(predict: Any) -> TrainedRun:
    run = RUNS["MLP"]()
    return run_of(run.experiment._replace(learner=run.experiment.learner._replace(predict=predict)))


def on_the_host(_: Any, batch: Any) -> Any:
    return {"label": jax.pure_callback(lambda x: x, jax.ShapeDtypeStruct((), jnp.float32), batch["x"].sum())}


REFUSED = {
    "predicts nothing": (lambda: predicting(None), "the experiment's learner predicts nothing"),
    "calls the host": (lambda: predicting(on_the_host), "the prediction cannot be exported: .*allback"),
    "needs the number of rows": (
        lambda: predicting(lambda _, batch: {"label": jnp.arange(2 if len(batch["x"]) > 4 else 1)}),
        "cannot be exported: .*with a fixed number of rows",
    ),
    "says nothing of rows": (
        lambda: run_of(RUNS["MLP"]().experiment._replace(inputs=None)),
        "does not say what its rows are",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_exported_is_one_line(name):
    made, message = REFUSED[name]
    with pytest.raises(ValueError, match=message) as refused:
        as_stablehlo(made())
    assert "\n" not in str(refused.value)


def test_a_fixed_number_of_rows():
    run = predicting(lambda _, batch: {"label": jnp.arange(2 if len(batch["x"]) > 4 else 1)})
    assert as_stablehlo(run, batch=8).told["outputs"]["label"]["shape"] == [8]
