"""A wrong row in files is one line and exit code 2, before training or when a batch would have it."""

import numpy as np
import pytest

from fdl.cli import main

EXPERIMENT = '''"""Are wrong rows found?"""

import numpy as np
import optax

import fdl
from fdl import data, models, tasks


@fdl.config
class Config:
    late: bool = False


def experiment(config: Config) -> fdl.Experiment:
    x, y = np.ones((6, 2), np.float32), np.arange(6, dtype=np.int32) % 3
    good = data.on_host({{"x": x, "y": y}})
    wrong = data.on_host({{"x": x, "y": np.load("{folder}/y.npy", mmap_mode="r")}})
    if config.late:  # as of a file that is larger than what is looked at before training
        wrong = wrong._replace(memory={{}})
    splits = data.Splits(good, good, wrong)
    return tasks.classification(models.MLP((), 3), splits, optax.sgd(0.1), steps=2, batch_size=3)
'''


@pytest.mark.medium
@pytest.mark.parametrize("late", ["--no-late", "--late"])
def test_labels_outside_memory(late, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("y.npy", np.array([1, 2, 3, 1, 2, 3]))  # from 1 on, as in MATLAB
    (tmp_path / "rows.py").write_text(EXPERIMENT.format(folder=tmp_path))
    assert main(["run", "rows.py", late]) == 2
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert lines == [
        "error: test labels go from 1 to 3; expected 0 to 2, as the model has 3 outputs (row 2 has 3): "
        "change the outputs or the labels"
    ]
    assert "Traceback" not in said.err and "test/loss" not in said.out
