"""`fdl inspect` and `fdl predict`: a run of a file, used from its directory."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from jax import export

import fdl
from fdl.cli import main

FILE = '''"""Which fruit is it?"""

from pathlib import Path

import optax

import fdl
from fdl import data, models, tasks


@fdl.config
class Config:
    lr: float = 0.1


def experiment(config: Config) -> fdl.Experiment:
    splits = data.table(Path(__file__).parent / "fruit.csv", target="kind")
    return tasks.classification(models.MLP((), 2), splits, optax.sgd(config.lr), steps=20)
'''
ROWS = "".join(f"{100 + 10 * (i % 2) + i % 5},{'pear' if i % 2 else 'apple'}\n" for i in range(30))


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with an experiment's file, its data, and a run's directory `work`."""
    folder = tmp_path_factory.mktemp("used")
    (folder / "fruit.csv").write_text("grams,kind\n" + ROWS)
    (folder / "fruit.py").write_text(FILE)
    (folder / "new.csv").write_text("kind,grams\n?,101\n?,113\n?,102\n")
    assert main(["run", str(folder / "fruit.py"), "--workdir", str(folder / "work")]) == 0
    return folder


def test_predictions_are_written_by_the_names_of_the_classes(place, capsys):
    for ending in (".csv", ".parquet"):
        out = place / f"out{ending}"
        assert main(["predict", str(place / "work"), str(place / "new.csv"), "-o", str(out)]) == 0
        read = pd.read_csv if ending == ".csv" else pd.read_parquet
        table = read(out)
        assert table["label"].tolist() == ["apple", "pear", "apple"]
        names = ["row", "label", "probability", "probability_apple", "probability_pear"]
        assert list(table) == names
        np.testing.assert_allclose(table["probability"], table[names[3:]].max(axis=1))
    assert "3 inputs, by run seed 0 after 20 steps" in capsys.readouterr().out
    run = fdl.load(place / "work").run()
    inputs = run.experiment.inputs
    assert inputs is not None and inputs.read is not None
    said = run.predict(inputs.read(place / "new.csv"))
    np.testing.assert_allclose(said["probability"][:, 0], table["probability_apple"], rtol=1e-6)


def test_arrays_go_in_and_out_by_name(place):
    np.savez(place / "new.npz", x=np.zeros((2, 1), np.float32))
    words = [
        "predict",
        str(place / "work"),
        str(place / "new.npz"),
        "-o",
        str(place / "out.npz"),
        "--ensemble",
    ]
    assert main(words) == 0
    with np.load(place / "out.npz") as found:
        assert found["probability"].shape == (2, 2) and found["classes"].tolist() == ["apple", "pear"]
        assert np.isnan(found["probability_spread"]).all()  # of one run


def test_a_directory_is_shown_with_its_checkpoints_and_parameters(place, capsys):
    assert main(["inspect", str(place / "work")]) == 0
    shown = capsys.readouterr().out
    kernel = fdl.load(place / "work").variables()["params"]["Dense_0"]["kernel"]
    assert "run seed 0: finished at step 20" in shown and "undamaged" in shown
    assert f"kernel  float32[1, 2]  8.00 B  norm {np.linalg.norm(kernel):.4g}" in shown
    assert f"fdl.load({str(place / 'work')!r}).run(arm='run', seed=0)" in shown
    assert main(["inspect", str(place / "work"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["path"] for one in told["parameters"]] == ["params/Dense_0/bias", "params/Dense_0/kernel"]
    assert told["checkpoints"][0]["step"] == 20 and told["runs"][0]["status"] == "finished"


def test_a_file_that_changed_is_shown_and_what_was_stored_can_be_run(place, capsys):
    today = FILE.replace("models.MLP((), 2)", "models.MLP((), 2, skip=False)").replace("Which", "What")
    (place / "fruit.py").write_text(today)
    words = ["predict", str(place / "work"), str(place / "new.csv"), "-o", str(place / "again.csv")]
    try:
        assert main(words) == 0
        said = capsys.readouterr().err
        assert '-"""Which fruit is it?"""' in said and '+"""What fruit is it?"""' in said
        assert "warning: " in said and "was trained by another experiment: code.fruit.experiment" in said
        assert main(["inspect", str(place / "work")]) == 0
        assert '-"""Which fruit is it?"""' in capsys.readouterr().out
        # The stored source looks for its data beside itself, where there is none.
        assert main([*words, "--experiment", "stored"]) == 2
        assert (
            "error: the experiment cannot be made here, as its data is not there" in capsys.readouterr().err
        )
        (place / "fruit.py").rename(place / "moved.py")
        assert main(words) == 0
        said = capsys.readouterr().err
        assert "fruit.py, which is not here; give experiment=" in said
        assert "predicts by the program that was stored with the run" in said
    finally:
        (place / "moved.py").unlink(missing_ok=True)
        (place / "fruit.py").write_text(FILE)


def test_an_export_says_what_the_run_says(place, capsys):
    assert main(["export", str(place / "work"), "-o", str(place / "exported")]) == 0
    assert "model.stablehlo" in capsys.readouterr().out
    program = export.deserialize(bytearray((place / "exported" / "model.stablehlo").read_bytes()))
    rows = {"x": np.array([[101], [113]], np.float32)}
    np.testing.assert_array_equal(
        program.call(rows)["label"], fdl.load(place / "work").run().predict(rows)["label"]
    )


BAD = {
    "no directory": (["predict", "nowhere", "{new}"], "nowhere holds no runs"),
    "no input": (["predict", "{work}", "gone.csv"], "there is no gone.csv"),
    "no words": (["predict", "{work}"], "expected fdl predict DIRECTORY INPUT"),
    "an ending": (["predict", "{work}", "{new}", "-o", "out.txt"], "out.txt ends in '.txt'"),
    "no such seed": (["predict", "{work}", "{new}", "--seed", "5"], "no run has seed=5; there are: 0"),
    "a column": (["predict", "{work}", "{short}", "-o", "{new}"], "has no column 'grams'"),
    "a flag": (["inspect", "{work}", "--sed", "1"], "did you mean --seed?"),
    "export of nothing": (["export", "nowhere", "-o", "{gone}"], "nowhere holds no runs"),
    "export over something": (
        ["export", "{work}", "-o", "{work}"],
        "work holds something else; give a new folder",
    ),
    "a batch of weights": (
        ["export", "{work}", "-o", "{gone}", "--format", "safetensors", "--batch", "2"],
        "--batch is 2",
    ),
    "inspect nothing": (["inspect"], "expected fdl inspect DIRECTORY"),
    "a state": (["inspect", "{work}", "--state", "best"], "keeps no best state"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_code_2(place, case, capsys):
    words, why = BAD[case]
    (place / "short.csv").write_text("weight\n3\n")
    places = {
        "work": place / "work",
        "new": place / "new.csv",
        "short": place / "short.csv",
        "gone": place / "gone",
    }
    assert main([word.format(**places) for word in words]) == 2
    said = capsys.readouterr().err
    assert why.lower() in said.lower() and said.count("\n") == 1
