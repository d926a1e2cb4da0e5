"""`fdl reproduce` on a folder of toy rows: run, stopped, gone on with, compared with other seeds, changed."""

import json
import subprocess
from pathlib import Path

import pytest

from fdl.cli import main
from fdl.cli.introduced import introduced

ROW = '''"""Does a larger step learn faster?

Nobody doubts it.

Against it: a step may be too large.
"""
import fdl
from tests.toy import Config, experiment
SWEEP = fdl.grid(Config(steps=40, noise=0.01), lr=(0.0, 0.05), seeds=8)
ACCEL = SWEEP.with_seeds(7)
LEAST = 0.0
def faster(result):
    return fdl.compare(result, metric="test/loss", arms="lr", better="lower", at_least=LEAST).verdict
def early(result):
    low = result.frame["seed"].max() < 100
    return fdl.Verdict("SUPPORTED" if low else "REFUTED", "The seeds | say so.", "seeds are low", ())
CLAIMS = (fdl.Claim("T.1", "It does.", faster), fdl.Claim("T.2", "Early.", early, published="1 of 1"))
'''
STOPPED = '''"""Is it stopped?"""
from pathlib import Path
import fdl
from tests import toy
from tests.toy import Config
SWEEP = fdl.grid(Config(steps=40, noise=0.02), lr=(0.0, 0.05), seeds=8)
def experiment(config):
    if Path("stop").exists():
        raise KeyboardInterrupt
    return toy.experiment(config)
def claim(result):
    return fdl.compare(result, metric="test/loss", arms="lr", better="lower").verdict
'''
PROGRAM = '''"""Is it a program?"""
import fdl
from tests.toy import Config, experiment
CLAIMS = (fdl.Claim("P", "It is.", lambda result: None),)
'''
WRONG = STOPPED.replace("KeyboardInterrupt", 'OSError("no space")').replace('"stop"', '"file.py"')


def git(*words: str) -> str:
    own = ("-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    return subprocess.run(["git", *own, *words], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def rows(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "rows"
    place.mkdir()
    (place / "larger.py").write_text(ROW)
    return place


def reproduce(*words: str) -> int:
    return main(["reproduce", *words, "--folder", "rows"])


def recorded() -> dict:
    return json.loads(Path("rows/results.json").read_text())["rows"]


def trained() -> dict[str, int]:
    return {str(one): one.stat().st_mtime_ns for one in Path("runs").rglob("metrics.jsonl")}


@pytest.mark.medium
def test_a_folder_is_reproduced_stopped_compared_and_changed(rows, capsys):
    (rows / "stopped.py").write_text(STOPPED)
    (rows / "program.py").write_text(PROGRAM)
    git("init", "-q")
    git("add", "rows")
    git("commit", "-qm", "criteria")
    Path("stop").touch()
    assert reproduce() == 75 and not (rows / "results.json").exists()  # what is finished stays in runs/
    before = trained()
    assert len(before) == 1
    Path("stop").unlink()
    assert reproduce() == 0
    assert "program: not run: it has no SWEEP" in capsys.readouterr().out
    assert before.items() <= trained().items() and len(trained()) == 2
    row = recorded()["larger"]
    assert (row["id"], row["seeds"], row["changed"]) == ("T", list(range(8)), None)
    assert row["introduced"]["commit"] == git("rev-parse", "HEAD")
    assert {key: one["verdict"] for key, one in row["claims"].items()} == dict.fromkeys(
        ("T.1", "T.2"), "SUPPORTED"
    )
    tests = [one["claims"][key] for one, key in ((row, "T.1"), (recorded()["stopped"], "stopped"))]
    assert [one["p_table"] for one in tests] == [
        2 * one["p"] for one in tests
    ]  # two alike: Holm doubles both
    page = (rows / "README.md").read_text()
    assert "What is asked is older than the runs." in page and "The seeds | say so." in page
    assert "Against it: a step may be too large." in page and "*not run*" in page
    assert (rows / "figures/larger.svg").read_text().count("T.1: lr=0.05") == 1

    assert reproduce("stopped", "T", "--tier", "accel") == 0
    assert "stopped: not run: it has no ACCEL" in capsys.readouterr().out
    accel = json.loads((rows / "results.json").read_text())["accel"]
    assert list(accel) == ["larger"] and accel["larger"]["seeds"] == list(range(7))
    assert recorded()["larger"] == row and (rows / "results/larger-accel.csv").exists()

    assert reproduce("T", "--seed-offset", "1000") == 0
    assert "T.2 unstable: REFUTED for SUPPORTED" in capsys.readouterr().out
    other = recorded()["larger"]["other_seeds"]["1000"]
    assert other["seeds"][0] == 1000 and other["verdicts"] == {"T.1": "SUPPORTED", "T.2": "REFUTED"}
    assert "SUPPORTED (unstable)" in (rows / "README.md").read_text()

    (rows / "larger.py").write_text(ROW.replace("LEAST = 0.0", "LEAST = 0.001"))
    assert reproduce("larger", "--seed-offset", "1000") == 2  # asks something else than is recorded
    assert reproduce("larger") == 0
    row = recorded()["larger"]
    assert row["changed"].startswith("T.1 asked something else when it was run until")
    assert row["introduced"] is None and row["other_seeds"] == {} and len(row["earlier"]) == 1
    assert "What is asked was changed after data was seen: T.1" in (rows / "README.md").read_text()


def test_rows_that_fail_are_told_and_the_rest_goes_on(rows, capsys):
    Path("file.py").touch()
    (rows / "bad.py").write_text("import nothing_of_this_name\ndef experiment(config): ...\n")
    (rows / "wrong.py").write_text(WRONG)
    (rows / "larger.py").unlink()
    assert reproduce() == 2
    told = capsys.readouterr().out
    assert "bad: failed:" in told and "wrong: failed: OSError: no space" in told
    assert (
        recorded() == {}
        and "| [wrong.py](wrong.py) | Is it stopped? | *not run* |" in (rows / "README.md").read_text()
    )
    assert reproduce("wrong") == 1
    assert reproduce("wrong", "--seed-offset", "1") == 2  # nothing to compare with


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["reproduce", "--folder", "nowhere"], "nowhere is not a folder"),
        (["reproduce", "lager", "--folder", "rows"], "has no row 'lager'; did you mean 'larger'?"),
        (["reproduce", "--folder", "own"], "own/README.md was not written by fdl reproduce"),
        (["reproduce", "--folder", "damaged"], "damaged/results.json cannot be read"),
    ],
)
def test_bad_input_is_told_before_anything_is_written(rows, capsys, words, told):
    for name, file in (("own", "README.md"), ("damaged", "results.json")):
        Path(name).mkdir()
        Path(name, file).write_text("mine")
    assert main(words) == 2
    assert told in capsys.readouterr().err
    assert not Path("runs").exists() and not (rows / "README.md").exists()


def test_the_commit_that_introduced_what_is_asked(rows):
    file, found = rows / "larger.py", []
    assert introduced(file) is None  # no repository
    git("init", "-q")
    changes = (
        ROW,
        ROW.replace("LEAST = 0.0", "LEAST = 0.1"),
        ROW.replace("LEAST = 0.0", "LEAST = 0.1  # so").replace("steps=40", "steps=50"),
    )
    for text in changes:
        file.write_text(text)
        git("add", "rows")
        git("commit", "-qm", "one")
        found.append((introduced(file), git("rev-parse", "HEAD")))
    (first, one), (second, two), (third, _) = found
    assert first and second and third
    assert (first.commit, second.commit, third.commit) == (one, two, two)
    git("mv", "rows/larger.py", "rows/renamed.py")
    git("commit", "-qm", "moved")
    assert introduced(rows / "renamed.py") == third
    (rows / "renamed.py").write_text(ROW)
    assert introduced(rows / "renamed.py") is None  # what is asked now is not committed
