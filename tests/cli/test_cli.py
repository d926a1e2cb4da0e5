"""The command line as a user meets it: processes, exit codes, files."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fdl.cli import main

ROOT = Path(__file__).parents[2]

Command = Callable[..., Any]

EXPERIMENT = '''"""Does a larger step learn faster?

A toy of the tests.
"""

import fdl
from tests.toy import Config, experiment

SWEEP = fdl.grid(Config(), lr=(0.0, 0.05), seeds=8)


def claim(result):
    return fdl.compare(result, metric="test/loss", arms="lr", better="lower").verdict
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "toys.py"
    path.write_text(EXPERIMENT)
    return path


def run(*words: object, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    command = [sys.executable, "-W", "error::DeprecationWarning", "-m", "fdl", *map(str, words)]
    out = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)
    assert out.returncode == code, out.stdout + out.stderr
    assert "Warning" not in out.stderr
    return out


@pytest.fixture
def here(file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """A command in this process, beside the file: what it printed, once its exit code was right."""

    def command(*words: object, code: int = 0) -> Any:
        monkeypatch.chdir(file.parent)
        monkeypatch.setenv("COLUMNS", "100")
        capsys.readouterr()
        try:
            ended = main(list(map(str, words)))
        except SystemExit as end:  # as help ends
            ended = end.code or 0
        printed = capsys.readouterr()
        assert ended == code, printed
        assert "Warning" not in printed.err
        return printed

    return command


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts}


@pytest.mark.medium
def test_run_and_again(file, here):
    first = run("run", file, "--lr", "0.02", "--seed", "1", "--json", cwd=file.parent)
    summary = json.loads(first.stdout.splitlines()[-1])
    assert summary["runs"] == 1 and summary["failed"] == 0
    directory = file.parent / summary["directory"]
    assert directory.parent == file.parent / "runs" / "toys"
    assert {"report.html", "results.parquet"} <= {path.name for path in directory.iterdir()}
    again = here("run", file, "--lr", "0.02", "--seed", "1", "--json")
    assert again.out == first.stdout and "finished already" in again.err
    other = here("run", file, "--lr", "0.02", "--seed", "2", "--json")
    assert json.loads(other.out)["directory"] != summary["directory"]


@pytest.mark.medium
def test_sweep_prints_plan_table_and_verdict(file, here):
    out = here("sweep", file).out
    for words in (
        "Does a larger step learn faster?",
        "plan: 16 runs",
        "1 program",
        "test/loss",
        "SUPPORTED",
        "report:",
    ):
        assert words in out
    assert out.index("plan:") < out.index("SUPPORTED")
    wider = here("sweep", file, "--seeds", "9").out
    assert "16 of them are finished already" in wider
    assert len(list((file.parent / "runs" / "toys").iterdir())) == 1
    report = here("report", file, "--json")
    assert json.loads(report.out.splitlines()[-1])["verdict"] == "SUPPORTED"


@pytest.mark.medium
def test_a_grid_on_the_command_line(file, here):
    words = ("--grid.lr", "0.01", "0.02", "0.03", "--grid.power", "1", "2", "--steps", "20", "--seeds", "2")
    out = here("sweep", file, *words, "--workdir", "here", "--members", "3", "--json")
    summary = json.loads(out.out.splitlines()[-1])
    assert len(summary["arms"]) == 6 and summary["runs"] == 12 and summary["directory"] == "here"
    units = [json.loads(path.read_text()) for path in (file.parent / "here").glob("units/*/unit.json")]
    assert max(len(unit["members"]) for unit in units) == 3
    assert {member["config"]["steps"] for unit in units for member in unit["members"]} == {20}


def test_plan_trains_nothing(file, here):
    out = here("plan", file, "--json")
    programs = json.loads(out.out.splitlines()[-1])["programs"]
    assert [program["trials"] for program in programs] == [16]
    assert not (file.parent / "runs").exists()


def test_list_names_questions_and_help_needs_no_jax(file):
    out = run("list", file.parent, cwd=file.parent).stdout
    assert out.split("  ")[1].strip() == "Does a larger step learn faster?" and "toys.py" in out
    code = "import sys; from fdl.cli import main; assert main({!r}) == 0; assert 'jax' not in sys.modules"
    for words in (["--help"], ["list", str(file.parent)], ["--version"]):
        subprocess.run([sys.executable, "-c", code.format(words)], check=True, capture_output=True, cwd=ROOT)


def test_help_of_a_command_shows_the_fields(file, here):
    out = here("sweep", file, "--help").out
    for words in (
        "--lr FLOAT",
        "step size",
        "--config.power INT",
        "--grid.lr",
        "--seeds",
        "--members",
        "--link",
    ):
        assert words in out


@pytest.mark.medium
def test_where_output_is_ascii_a_refusal_is_one_line_too(file, monkeypatch):
    out, error = (io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict") for _ in range(2))
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", error)
    assert main(["run", str(file), "--lrr", "0.1"]) == 2
    error.flush()
    assert error.buffer.getvalue() == b"error: Unrecognized options: --lrr, 0.1; did you mean --lr?\n"  # pyright: ignore


@pytest.mark.medium
def test_functions_are_flags(file, here):
    out = here("run", file, "--link", "jnp.sin", "--steps", "10", "--json")
    directory = file.parent / json.loads(out.out)["directory"]
    identity = json.loads((directory / "identity.json").read_text())
    assert identity["config"]["link"] == {"function": "jax.numpy.sin"}


BAD = {
    "no such command": (["rum", "FILE"], ["'rum'", "'run'"]),
    "no file": (["run"], ["file first"]),
    "missing file": (["run", "absent.py"], ["absent.py", "not a Python file"]),
    "not Python": (["run", "notes.txt"], ["notes.txt", "not a Python file"]),
    "syntax error": (["run", "broken.py"], ["broken.py line 2"]),
    "no config": (["run", "empty.py"], ["empty.py", "@fdl.config"]),
    "no experiment": (["run", "half.py"], ["half.py", "def experiment"]),
    "not UTF-8": (["run", "latin.py"], ["latin.py", "UTF-8"]),
    "unknown field": (["run", "FILE", "--lrr", "1"], ["--lrr", "--lr"]),
    "wrong type": (["run", "FILE", "--lr", "fast"], ["--lr", "'fast'", "float"]),
    "not whole": (["run", "FILE", "--steps", "2.5"], ["--steps", "'2.5'", "int"]),
    "not finite": (["run", "FILE", "--lr", "nan"], ["Config.lr", "nan", "finite"]),
    "out of range": (["run", "FILE", "--lr", "-1"], ["Config.lr", "-1.0", "at least 0"]),
    "steps below one": (["run", "FILE", "--steps", "0"], ["Config.steps", "0", "at least 1"]),
    "unknown function": (["run", "FILE", "--link", "nn.tanhh"], ["nn.tanhh", "no function"]),
    "missing value": (["run", "FILE", "--lr"], ["--lr"]),
    "stray word": (["run", "FILE", "fast"], ["fast"]),
    "bad seed": (["run", "FILE", "--seed", "-3"], ["seed", "-3"]),
    "best without better": (["run", "FILE", "--best", "test/loss"], ["--best and --better go together"]),
    "better without best": (["run", "FILE", "--better", "lower"], ["--best and --better go together"]),
    "chosen by test": (
        ["run", "FILE", "--best", "test/loss", "--better", "lower"],
        ["--best is test/loss", "validation/"],
    ),
    "given twice": (["run", "FILE", "--lr", "0.1", "--lr=0.2"], ["--lr is given 2 times"]),
    "an empty directory's name": (["run", "FILE", "--workdir", ""], ["--workdir is ''", "leave it out"]),
    "zero seeds": (["sweep", "FILE", "--seeds", "0"], ["seeds", "0"]),
    "zero members": (["sweep", "FILE", "--members", "0"], ["members", "0"]),
    "fewer than no arms": (
        ["sweep", "FILE", "--inspect", "-1"],
        ["inspect is -1; expected a number of arms"],
    ),
    "bad grid value": (["sweep", "FILE", "--grid.lr", "0.1", "x"], ["--grid.lr", "'x'"]),
    "bad grid field": (["sweep", "FILE", "--grid.rl", "0.1"], ["--grid.rl", "--grid.lr"]),
    "grid out of range": (["sweep", "FILE", "--grid.lr", "-1"], ["Config.lr", "-1.0", "at least 0"]),
    "a plan reads no directory": (["plan", "FILE", "--workdir", "here"], ["--workdir", "--power"]),
    "report does not restart": (["report", "FILE", "--restart"], ["--restart"]),
    "no sweep": (["sweep", "single.py"], ["SWEEP", "--grid"]),
    "unknown metric": (
        ["run", "FILE", "--best", "train/los", "--better", "lower"],
        ["train/los", "train/loss"],
    ),
    "checkpoint interval": (
        ["run", "FILE", "--checkpoint-steps", "0"],
        ["--checkpoint-steps is 0", "1 or more"],
    ),
    "no seconds": (["run", "FILE", "--checkpoint-seconds", "nan"], ["--checkpoint-seconds is nan", "finite"]),
    "no end": (["sweep", "FILE", "--checkpoint-seconds", "inf"], ["--checkpoint-seconds is inf", "finite"]),
    "nothing to report": (["report", "FILE"], ["no finished run"]),
    "no such folder": (["list", "absent"], ["absent", "not a folder"]),
    "traced control flow": (["run", "branch.py"], ["Config.lr", "fdl.static"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_writes_nothing(file, case, monkeypatch, capsys):
    words, expected = BAD[case]
    folder = file.parent
    (folder / "notes.txt").write_text("no")
    (folder / "broken.py").write_text('"""Q?"""\ndef experiment(:\n')
    (folder / "empty.py").write_text('"""Q?"""\n')
    (folder / "half.py").write_text("from tests.toy import Config\n")
    (folder / "latin.py").write_bytes(b'"""Caf\xe9?"""\n')
    (folder / "single.py").write_text("from tests.toy import Config, experiment\n")
    (folder / "branch.py").write_text(
        "from tests import toy\nfrom tests.toy import Config\n"
        "def experiment(config):\n    return toy.experiment(config, every=1 if config.lr > 1 else 2)\n"
    )
    before = files(folder)
    monkeypatch.chdir(folder)
    assert main([str(file) if word == "FILE" else word for word in words]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and "\n" not in error, error
    assert all(word in error for word in expected), error
    assert files(folder) == before


@pytest.mark.medium
def test_another_experiment_in_the_directory_is_refused_and_can_be_moved_aside(file, here):
    here("run", file, "--workdir", "here", "--steps", "10")
    out = here("run", file, "--workdir", "here", "--steps", "20", "--lr", "0.5", code=2)
    assert "config.steps: 10 -> 20" in out.err and "config.lr: 0.05 -> 0.5" in out.err
    here("run", file, "--workdir", "here", "--steps", "20", "--restart")
    assert (file.parent / "here.1" / "report.html").exists() and (
        file.parent / "here" / "report.html"
    ).exists()


@pytest.mark.medium
def test_a_failed_run_is_exit_code_three(file, here):
    words = ("run", file, "--link", "jnp.positive", "--lr", "1e30", "--json")
    out = here(*words, code=3)
    assert "train/loss is not finite after step" in out.err
    assert json.loads(out.out)["failed"] == 1
    again = here(*words, code=3)
    assert again.out == out.out


@pytest.mark.medium
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.usefixtures("heeded")
def test_an_interrupted_run_saves_and_goes_on(file, number):
    words = [sys.executable, "-m", "fdl", "run", str(file), "--steps", "20000000", "--workdir", "here"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        words, cwd=file.parent, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        folder = file.parent / "here" / "units"
        while not list(folder.glob("*/metrics.jsonl")):
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(number)
        _, error = process.communicate(timeout=300)
    assert process.returncode == 75
    assert "the same command goes on" in error and "Traceback" not in error
    assert [path for path in folder.glob("*/checkpoints/*") if path.name.isdigit()]
    assert set(pd.read_parquet(file.parent / "here" / "results.parquet")["status"]) == {"running"}


@pytest.mark.medium
def test_in_a_thread_commands_work_too(file, monkeypatch, capsys):
    monkeypatch.chdir(file.parent)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(main, ["run", str(file), "--json"]).result() == 0
        assert pool.submit(main, ["run", "nowhere.py"]).result() == 2
    out, error = capsys.readouterr()
    assert json.loads(out)["runs"] == 1 and "nowhere.py" in error


@pytest.mark.medium
def test_programs_from_the_cache_say_nothing(file, tmp_path):
    """A process whose stderr is a pipe that nobody reads would wait for ever once the pipe is full."""
    words = [sys.executable, "-m", "fdl", "run", str(file), "--json"]
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    environment |= {"PYTHONPATH": str(ROOT), "FDL_CACHE": str(tmp_path / "cache")}
    for directory in ("first", "again"):
        done = subprocess.run(
            [*words, "--workdir", directory],
            cwd=file.parent,
            env=environment,
            capture_output=True,
            check=True,
        )
        assert b"cpu_aot_loader" not in done.stderr and len(done.stderr) < 5000
