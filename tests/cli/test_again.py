"""The same command again, after a change: what is shown is of the program as it stands, or it is refused."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fdl.cli import main
from fdl.report.files import FILES

HELPER = '''"""Beside the experiment."""
FACTOR = 1.0


def scaled(config):
    return config.lr * FACTOR
'''

EXPERIMENT = '''"""Does a larger step learn faster?"""
import dataclasses
import fdl
from beside import scaled
from tests import toy

RATES = (0.0, 0.05)


@fdl.config
class Config:
    lr: float = 0.05
    steps: int = 10


def experiment(config):
    toys = toy.experiment(toy.Config(steps=config.steps)._replace(lr=scaled(config)))
    return toys._replace(log_every=5)


SWEEP = fdl.grid(Config(), lr=RATES, seeds=2)


def claim(result):
    return fdl.compare(result, metric="test/loss", arms="lr", better="lower").verdict
'''.replace("toy.Config(steps=config.steps)._replace(lr=scaled(config))",
            "dataclasses.replace(toy.Config(steps=config.steps), lr=scaled(config))")  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toys.py").write_text(EXPERIMENT)
    (tmp_path / "beside.py").write_text(HELPER)
    return tmp_path


def fdl(capsys: Any, *words: str, code: int = 0) -> tuple[dict[str, Any], str]:
    """The summary that a command prints, and what it says to people."""
    ended = main([words[0], "toys.py", *words[1:], "--json"])
    out, said = capsys.readouterr()
    assert ended == code, said
    return (json.loads(out) if code == 0 else {}), said


def table(summary: dict[str, Any]) -> pd.DataFrame:
    return pd.read_parquet(Path(summary["report"]).with_name("results.parquet"))


@pytest.mark.medium
def test_a_changed_helper_is_another_experiment_and_a_changed_comment_is_not(folder, capsys):
    first, _ = fdl(capsys, "sweep")
    (folder / "beside.py").write_text(HELPER.replace("FACTOR", "FACTOR  # times") + "\n\nOTHER = 3\n")
    (folder / "toys.py").write_text(EXPERIMENT.replace("SWEEP =", "SWEEP: fdl.Sweep ="))
    (folder / "beside.py").write_text("\n# a comment\n" + HELPER + "\n\nOTHER = 3\n")
    again, said = fdl(capsys, "sweep")
    assert again == first and "all of them are finished already" in said
    (folder / "beside.py").write_text(HELPER.replace("FACTOR = 1.0", "FACTOR = 2.0"))
    other, said = fdl(capsys, "sweep")
    assert "finished already" not in said and other["directory"] != first["directory"]
    assert other["arms"][1]["metrics"] != first["arms"][1]["metrics"]
    _, said = fdl(capsys, "sweep", "--workdir", first["directory"], code=2)
    assert "values.beside.FACTOR: 1.0 -> 2.0" in said


@pytest.mark.medium
def test_other_trials_never_replace_a_report(folder, capsys):
    own, _ = fdl(capsys, "sweep")
    before = {path: path.read_bytes() for path in Path(own["directory"]).glob("*.*")}
    assert own["verdict"] == "INCONCLUSIVE" and Path(own["report"]).parent == Path(own["directory"])
    more, said = fdl(capsys, "sweep", "--seeds", "3")
    assert "4 of them are finished already" in said and f"report: {more['report']}" in said
    assert more["runs"] == 6 and more["verdict"] is not None
    grid, _ = fdl(capsys, "sweep", "--grid.lr", "0.05", "0.1")
    fewer, _ = fdl(capsys, "report", "--seeds", "1")
    steps, _ = fdl(capsys, "sweep", "--steps", "5")
    assert [arm["arm"] for arm in steps["arms"]] == ["lr=0 steps=5", "lr=0.05 steps=5"]
    others = [more, grid, fewer, steps]
    assert [one["verdict"] for one in others[1:]] == [None] * 3
    assert {one["directory"] for one in others} == {own["directory"]}
    assert len({one["report"] for one in [own, *others]}) == 5
    for one in [own, *others]:
        assert table(one)["arm"].unique().tolist() == [arm["arm"] for arm in one["arms"]]
        assert len(table(one).groupby(["arm", "seed"])) == one["runs"]
    assert all(path.read_bytes() == content for path, content in before.items())
    assert fdl(capsys, "report")[0] == own


@pytest.mark.medium
def test_the_report_of_an_earlier_sweep_is_moved_not_replaced(folder, capsys):
    first, _ = fdl(capsys, "sweep")
    old = {path.name: path.read_bytes() for path in Path(first["directory"]).glob("*.[hp]*")}
    assert set(old) == {name for name in FILES if "." in name} - {"model_card.json"}
    (folder / "toys.py").write_text(EXPERIMENT.replace("0.05)\n", "0.05, 0.1)\n"))
    wider, said = fdl(capsys, "sweep")
    assert "4 of them are finished already" in said
    assert wider["report"] == first["report"] and len(wider["arms"]) == 3
    (moved,) = Path(first["directory"]).glob("reports/*/")
    assert {path.name: path.read_bytes() for path in moved.glob("*.[hp]*")} == old
    assert list(moved.glob("figures/*.svg"))


@pytest.mark.parametrize(("words", "expected"), [
    (["--lr", "0.5"], ["--lr 0.5", "SWEEP", "0.0, 0.05", "--grid.lr"]),
    (["--grid.lr", "0.1", "0.2", "--lr", "0.5"], ["--lr", "--grid.lr", "contradict"]),
])  # fmt: skip
def test_a_flag_that_contradicts_the_sweep_is_refused(folder, capsys, words, expected):
    for command in ("sweep", "plan", "report"):
        _, said = fdl(capsys, command, *words, code=2)
        assert "\n" not in said.strip() and all(word in said for word in expected), said
    assert not (folder / "runs").exists()
