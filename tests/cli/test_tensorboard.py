"""`--tensorboard`: every row once, whatever was killed between; read back by TensorBoard's own reader."""

import dataclasses
import importlib.util
import json
import shutil

import numpy as np
import pytest

import fdl
from fdl.cli import main
from fdl.cli.tensorboard import EventFiles, check_tensorboard
from fdl.result import Result
from fdl.serialization import file_name
from tests.report.examples import METRICS, example

pytest.importorskip("tensorboard")
ARMS = {"a/b": {"lr": 0.1}, "c": {"lr": 0.2}}


@pytest.fixture
def directory(tmp_path):
    place = tmp_path / "runs" / "0123"
    place.mkdir(parents=True)
    return place


def events(place) -> dict[str, list[tuple[str, int, float]]]:
    """Every scalar of every run, as often as it is there."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = {}
    for folder in {path.parent for path in place.rglob("events.out.tfevents.*")}:
        reader = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
        found[folder.name] = sorted(
            (tag, one.step, one.value) for tag in reader.Tags()["scalars"] for one in reader.Scalars(tag)
        )
    return found


def until(result: Result, step: int) -> Result:
    return dataclasses.replace(result, frame=result.frame[result.frame["step"] <= step])


def test_every_row_is_there_once_after_kills(directory, tmp_path):
    result = example(ARMS, seeds=2)
    result.frame.loc[0, METRICS[0]] = np.nan
    tb = tmp_path / "tb"
    first = EventFiles(str(tb), directory)
    first.write(until(result, 10))
    first.write(until(result, 30))
    for path in tb.rglob("events.out.tfevents.*"):  # a kill in the midst of writing step 30
        path.write_bytes(path.read_bytes()[:-7])
    # What goes on has a checkpoint of step 20, and measures 30 once more.
    second = EventFiles(str(tb), directory)
    second.write(until(result, 20))
    second.write(until(result, 30))
    EventFiles(str(tb), directory).write(result)
    EventFiles(str(tb), directory).write(result)
    found = events(tb)
    assert len(found) == 4
    rows = result.frame.groupby(["arm", "seed"], sort=False)
    for (arm, seed), run in rows:
        expected = [
            (metric, row["step"], np.float32(row[metric]))
            for metric in METRICS
            for row in run.to_dict("records")
            if not np.isnan(row[metric])
        ]
        assert found[file_name(f"{arm} seed={seed}")] == sorted(expected)


def test_of_another_experiment_in_one_folder_nothing_is_mixed_up(directory, tmp_path):
    from fdl.train.folder import claim

    tb, result = tmp_path / "tb", example(ARMS, seeds=1)
    claim(directory, {"code": "one"})
    EventFiles(str(tb), directory).write(result)
    shutil.rmtree(directory)
    claim(directory, {"code": "other"})
    EventFiles(str(tb), directory).write(result)
    assert len(list(tb.iterdir())) == 2 and len(list(tb.rglob("events.out.tfevents.*"))) == 4


def test_what_cannot_be_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for place in ("", "gs://a/b", str(tmp_path / "file")):
        with pytest.raises(ValueError, match="expected a local folder"):
            check_tensorboard(place)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install fdl\[tensorboard\]"):
        check_tensorboard("tb")


@pytest.mark.medium
def test_a_sweep_has_its_runs_in_tensorboard_also_those_that_were_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = '"""Q?"""\nimport fdl\nfrom tests.toy import Config, experiment\n'
    (tmp_path / "file.py").write_text(text + "SWEEP = fdl.grid(Config(steps=20), lr=(0.0, 0.05), seeds=2)\n")
    words = ["sweep", "file.py", "--workdir", "here", "--json"]
    assert main([*words, "--tensorboard", "tb"]) == 0
    first = events(tmp_path / "tb")
    frame = fdl.load("here").frame
    assert len(first) == 4 and {len(each) for each in first.values()} == {
        2 * len(frame.filter(like="/").columns)
    }
    assert main([*words, "--tensorboard", "tb"]) == 0 and events(tmp_path / "tb") == first
    assert main([*words, "--tensorboard", "other"]) == 0 and events(tmp_path / "other") == first


LATER = '''"""Q?"""
import fdl
from tests.searched import experiment
from tests.toy import Config
SWEEP = fdl.grid(Config(steps=12), lr=(0.01, 0.05))


def second(curves, configs, key):
    if curves.steps[-1] < 8:
        return [fdl.Next(arm) for arm in curves.waiting]
    return [fdl.Next(0), fdl.Next(1, copy=0)]


SCHEDULER = fdl.Scheduler(metric="validation/loss", better="lower", rungs=(4, 8), decide=second)
'''


@pytest.mark.medium
def test_what_is_measured_is_reported_also_where_it_cannot_be_kept_elsewhere(tmp_path, monkeypatch, capsys):
    """Made-up curves do not show that the scheduler changes arms later."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.py").write_text(LATER)
    words = ["sweep", "file.py", "--workdir", "here", "--json"]
    assert main([*words, "--tensorboard", "tb"]) == 2
    out, error = capsys.readouterr()
    assert [arm["arm"] for arm in json.loads(out)["arms"]] == ["lr=0.01", "from lr=0.05"]
    assert (tmp_path / "here" / "report.html").exists()
    last = error.splitlines()[-1]
    assert last.startswith("error: ") and "kept and reported without them" in last
