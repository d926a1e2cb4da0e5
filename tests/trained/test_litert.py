"""A net in LiteRT says what the run says, to a program without fdl; what it cannot hold is named."""

import json
import subprocess
import sys

import numpy as np
import pytest

import fdl
from fdl.cli import main
from fdl.trained import converting, litert

FILE = '''"""Which of three?"""

import numpy as np
import optax

import fdl
from fdl import data, models, tasks


@fdl.config
class Config:
    lr: float = 1e-3
    recurrent: bool = False


def prepare(batch):
    return {"x": batch["x"] / 255.0, "y": batch["y"]}


def as_signal(batch):
    return {"x": batch["x"].reshape(-1, 8, 24) / 255.0, "y": batch["y"]}


def experiment(config: Config) -> fdl.Experiment:
    x = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3)).astype(np.uint8)
    part = {"x": x, "y": np.arange(6, dtype=np.int32) % 3}
    model = models.RecurrentNet((4,), 3) if config.recurrent else models.conv_net((4,), (), 3)
    splits = data.Splits(part, part, part, prepare=as_signal if config.recurrent else prepare)
    return tasks.classification(model, splits, optax.adam(config.lr), steps=3)
'''


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a run of a convolutional net, `net`."""
    folder = tmp_path_factory.mktemp("litert")
    (folder / "three.py").write_text(FILE)
    assert main(["run", str(folder / "three.py"), "--workdir", str(folder / "net")]) == 0
    return folder


def exported(place, name, capfd, *words):
    """The exit code, and what was said."""
    capfd.readouterr()
    code = main(["export", str(place / name), "-o", str(place / f"{name}-out"), "--format", "litert", *words])
    said = capfd.readouterr().err
    if "cannot be converted" in said and "Failed to" in said:
        pytest.skip(f"the converter cannot be installed here: {said}")
    return code, said


@pytest.mark.slow
def test_a_convolutional_net_with_its_preparation(place, capfd):
    code, said = exported(place, "net", capfd, "--batch", "2")
    assert code == 0, said
    told = json.loads((place / "net-out" / "model.json").read_text())
    assert told["inputs"] == {"x": {"shape": [2, 8, 8, 3], "dtype": "uint8"}}
    x = np.random.default_rng(1).integers(0, 256, (5, 8, 8, 3)).astype(np.uint8)
    np.savez(place / "in.npz", x=x)
    command = ["uv", "run", "--quiet", "--no-project", "--isolated", "--python", sys.executable]
    command += ["--with", "ai-edge-litert", "python", str(place / "net-out" / "predict.py")]
    subprocess.run([*command, str(place / "in.npz"), str(place / "said.npz")], check=True)
    wanted = fdl.load(place / "net").run().predict(x)
    with np.load(place / "said.npz") as found:
        np.testing.assert_array_equal(found["label"], wanted["label"])
        np.testing.assert_allclose(found["probability"], wanted["probability"], rtol=1e-4)


@pytest.mark.slow
def test_a_loop_is_refused_by_its_name(place, capfd):
    run = ["run", str(place / "three.py"), "--recurrent", "--workdir", str(place / "loop")]
    assert main(run) == 0
    code, said = exported(place, "loop", capfd)
    assert code == 2 and said.strip().endswith("tfl.while, of a loop, cannot be written")
    assert said.count("\n") == 1 and not (place / "loop-out").exists()


def other(folder):
    (folder / "model.tflite").write_bytes(b"")
    np.savez(folder / "said.npz", label=np.zeros(1, np.int32), probability=np.full((1, 3), 0.4, np.float32))


def refused(folder):
    assert "stablehlo.convolution" in (folder / "model.mlir").read_text()
    assert json.loads((folder / "names.json").read_text())["outputs"] == ["label", "probability"]
    (folder / "refused.txt").write_text("tfl.while cannot be written")


@pytest.mark.medium
@pytest.mark.parametrize(
    ("converter", "message"),
    [
        (other, "the converted net says another"),
        (refused, "cannot be converted to LiteRT: tfl.while cannot be written"),
        (None, "LiteRT is converted in an environment that uv makes, and there is no uv; pip install uv"),
    ],
    ids=["another net", "refused", "no uv"],
)
def test_what_is_not_the_run_is_not_written(place, monkeypatch, converter, message):
    if converter:
        monkeypatch.setattr(litert, "_convert", converter)
    monkeypatch.setattr(converting.shutil, "which", lambda _: None)
    with pytest.raises((ValueError, OSError), match=message):
        litert.as_litert(fdl.load(place / "net").run())
