"""What others see of a sweep while it runs: `results.parquet`, `fdl watch`, `fdl export-results`."""

import functools
import io
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fdl
from fdl import data, tasks
from fdl.cli import following, main
from fdl.result import Result
from fdl.sweeps.loading import so_far
from fdl.train import Progress
from fdl.train.folder import held, identity_in

ROWS = {"x": np.eye(4, dtype=np.float32), "y": np.array([1, -1, 1, -1], np.float32)}
SPLITS = data.Splits(ROWS, ROWS, ROWS)


@fdl.config
class Config:
    rate: float = fdl.traced(1.0, low=0.0)
    names: tuple[str, ...] = ("a",)


SPACE = fdl.grid(Config(), rate=(0.5, 1.0), seeds=4)


def experiment(config: Config) -> fdl.Experiment:
    return tasks.perceptron(SPLITS, steps=4, rate=config.rate, evaluate_every=2)


@pytest.fixture(scope="module")
def swept(tmp_path_factory) -> tuple[Result, str]:
    directory = str(tmp_path_factory.mktemp("swept") / "runs")
    return fdl.sweep(experiment, SPACE, workdir=directory, members=4), directory


def stopped(directory, tmp_path, *, rows: int):
    """A copy of a directory, as it was while its second unit ran and had measured so many rows."""
    copy = tmp_path / "copy"
    shutil.copytree(directory, copy)
    unit = sorted((copy / "units").glob("*/done.json"))[-1].parent
    (unit / "done.json").unlink()
    measured = (unit / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (unit / "metrics.jsonl").write_bytes(b"".join(measured[:rows]) + measured[rows][:9])
    return copy, unit


def reading(directory: Path) -> Callable[[], Result | None]:
    return functools.partial(so_far, directory, SPACE, {})


@pytest.mark.medium
def test_the_table_of_a_sweep_that_runs_is_that_of_its_end_as_far_as_it_is(swept, tmp_path):
    result, directory = swept
    copy, unit = stopped(directory, tmp_path, rows=4)
    finished = {}
    found = so_far(copy, SPACE, finished)
    assert found is not None and len(finished) == 1 and unit.name not in finished
    assert len(found.frame) == len(result.frame) - 4
    assert sorted(found.frame["status"]) == ["finished"] * 8 + ["running"] * 4
    columns = [name for name in result.frame.columns if name != "status"]
    same = result.frame[columns].merge(found.frame[columns], how="right", indicator=True)
    assert (same["_merge"] == "both").all() and list(found.frame.columns) == list(result.frame.columns)
    whole = so_far(Path(directory), SPACE, {})
    assert whole is not None
    pd.testing.assert_frame_equal(whole.frame, result.frame)


@pytest.mark.medium
def test_of_the_units_of_one_program_one_tells_what_it_took_to_make(swept):
    units = swept[0].meta["programs"]
    assert len(units) == 2 and len({unit["program"] for unit in units}) == 1
    assert sum("compile_seconds" in unit for unit in units) == 1


@pytest.mark.medium
def test_the_table_is_written_whenever_there_is_something_new(swept, tmp_path, monkeypatch):
    result, directory = swept
    copy, unit = stopped(directory, tmp_path, rows=4)
    monkeypatch.setattr(following, "SECONDS", 0.0)
    monkeypatch.setattr(following, "PAUSE", 0.0)
    seen, looked = [], threading.Semaphore(0)

    def shown(so_far: Result) -> None:
        seen.append(len(so_far.frame))
        looked.release()

    with following.followed(Progress(), reading(copy), lambda: tmp_path, shown) as progress:
        progress.evaluated([])
        assert looked.acquire(timeout=60)
        assert len(pd.read_parquet(tmp_path / "results.parquet")) == 12
        whole = (Path(directory) / "units" / unit.name / "metrics.jsonl").read_bytes()
        (unit / "metrics.jsonl").write_bytes(whole)
        progress.evaluated([])
        assert looked.acquire(timeout=60)
    assert len(pd.read_parquet(tmp_path / "results.parquet")) == len(result.frame) == seen[-1]


@pytest.mark.medium
def test_an_error_ends_no_run_and_an_interruption_writes_the_table_once_more(swept, tmp_path):
    _, directory = swept
    copy, _ = stopped(directory, tmp_path, rows=4)
    said, told = [], threading.Event()

    def say(line: str) -> None:
        said.append(line)
        told.set()

    def broken():
        raise OSError("no room")

    with following.followed(Progress(say=say), reading(copy), broken) as progress:
        progress.evaluated([])
        assert told.wait(60)
    assert said == ["what others see of the runs is not up to date: OSError: no room"]
    with (
        pytest.raises(KeyboardInterrupt),
        following.followed(Progress(), reading(copy), lambda: tmp_path) as progress,
    ):
        progress.evaluated([])
        raise KeyboardInterrupt
    assert len(pd.read_parquet(tmp_path / "results.parquet")) == 12


@pytest.mark.medium
def test_watch_and_export_read_the_directory(swept, tmp_path, capsysbinary):
    result, directory = swept
    copy, _ = stopped(directory, tmp_path, rows=4)
    assert main(["export-results", directory]) == 0
    shown = pd.read_csv(io.BytesIO(capsysbinary.readouterr().out))
    pd.testing.assert_frame_equal(shown, result.table(), check_exact=True)
    assert main(["export-results", directory, "--format", "latex", "-o", str(tmp_path / "t.tex")]) == 0
    assert (tmp_path / "t.tex").read_text().count("\\pm") == 2 * len(result.metrics)
    assert main(["watch", str(copy), "--once", "--metric", "test/accuracy"]) == 0
    out = capsysbinary.readouterr().out.decode()
    assert "8 runs: 4 finished, 4 running" in " ".join(out.split()) and "rank" in out
    assert f"No process holds {copy}: what is called running was stopped" in " ".join(out.split())
    with held(copy, identity_in(copy) or {}):
        assert main(["watch", str(copy / "units"), "--once"]) == 0
    assert main(["watch", directory, "--once"]) == 0
    assert "No process" not in capsysbinary.readouterr().out.decode()
    assert fdl.load(directory).frame.equals(result.frame)


BAD = {
    "no folder to watch": (["watch", "nowhere", "--once"], "nowhere is no folder"),
    "no runs to watch": (["watch", ".", "--once"], "holds no runs"),
    "no time between looks": (["watch", ".", "--every", "0"], "--every is 0.0"),
    "no metric": (["watch", "DIR", "--metric", "x"], "no metric 'x'; there are"),
    "no runs to export": (["export-results", "."], "holds no runs"),
    "no format": (["export-results", ".", "--format", "word"], "word"),
    "no folder for a file": (["export-results", "DIR", "-o", "no/t.csv"], "No such file"),
}


@pytest.mark.medium
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(case, swept, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words, complaint = BAD[case]
    code = main([swept[1] if word == "DIR" else word for word in words])
    out, error = capsys.readouterr()
    assert (code, out) == (1 if "-o" in words else 2, "")
    assert complaint in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
