"""A net in ONNX says what the run says, to a program that knows nothing of fdl."""

import json
import subprocess
import sys

import numpy as np
import pytest

import fdl
from fdl.cli import main
from fdl.trained import converting, onnx

FILE = '''"""Which of three?"""

import numpy as np
import optax

import fdl
from fdl import data, models, tasks


@fdl.config
class Config:
    lr: float = 1e-3


def prepare(batch):
    return {"x": batch["x"] / 255.0, "y": batch["y"]}


def experiment(config: Config) -> fdl.Experiment:
    x = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3)).astype(np.uint8)
    part = {"x": x, "y": np.arange(6, dtype=np.int32) % 3}
    splits = data.Splits(part, part, part, prepare=prepare)
    return tasks.classification(models.cifar_resnet(8, 3), splits, optax.adam(config.lr), steps=3)
'''


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx")
    (folder / "three.py").write_text(FILE)
    assert main(["run", str(folder / "three.py"), "--workdir", str(folder / "work")]) == 0
    return folder


@pytest.mark.slow
def test_a_convolutional_net_with_its_preparation(place, capfd):
    code = main(["export", str(place / "work"), "-o", str(place / "out"), "--format", "onnx"])
    said = capfd.readouterr().err
    if "cannot be converted" in said and "Failed to" in said:
        pytest.skip(f"the converter cannot be installed here: {said}")
    assert code == 0, said
    told = json.loads((place / "out" / "model.json").read_text())
    assert told["inputs"] == {"x": {"shape": ["N", 8, 8, 3], "dtype": "uint8"}}
    x = np.random.default_rng(1).integers(0, 256, (5, 8, 8, 3)).astype(np.uint8)
    np.savez(place / "in.npz", x=x)
    command = ["uv", "run", "--quiet", "--no-project", "--isolated", "--python", sys.executable]
    command += ["--with", "onnxruntime", "python", str(place / "out" / "predict.py")]
    subprocess.run([*command, str(place / "in.npz"), str(place / "said.npz")], check=True)
    wanted = fdl.load(place / "work").run().predict(x)
    with np.load(place / "said.npz") as found:
        np.testing.assert_array_equal(found["label"], wanted["label"])
        np.testing.assert_allclose(found["probability"], wanted["probability"], rtol=1e-4)


def other(folder):
    (folder / "model.onnx").write_bytes(b"")
    np.savez(folder / "said.npz", label=np.zeros(4, np.int32), probability=np.full((4, 3), 0.4, np.float32))


@pytest.mark.parametrize(
    ("converter", "kwargs", "message"),
    [
        (other, {}, "the converted net says another"),
        (None, {}, "there is no uv; pip install uv"),
        (None, {"experiment": "stored"}, "ONNX is converted from the experiment's file"),
    ],
    ids=["another net", "no uv", "no file"],
)
def test_what_is_not_the_run_is_not_written(place, monkeypatch, converter, kwargs, message):
    if converter:
        monkeypatch.setattr(onnx, "_convert", converter)
    monkeypatch.setattr(converting.shutil, "which", lambda _: None)
    with pytest.raises((ValueError, OSError), match=message):
        onnx.as_onnx(fdl.load(place / "work").run(**kwargs))
