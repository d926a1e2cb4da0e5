"""What others wrote, in the terminal: shown as it is, whatever is in it."""

import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from fdl.cli import forecasts, main, reports
from fdl.cli.list_command import listing
from fdl.experiment_file import load_file
from fdl.parallel.plan import Plan
from fdl.sweeps import Forecast
from fdl.train import history

EXPERIMENT = '''"""Does [/b] or [bold red]x[/] matter? [link=a]"""

import fdl
from tests import toy
from tests.toy import Config


def experiment(config: Config) -> fdl.Experiment:
    return toy.experiment(config)


SWEEP = fdl.grid(Config(), lr=(0.01, 0.02), seeds=2)
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "markup.py"
    path.write_text(EXPERIMENT)
    return path


def test_loading_a_file_asks_modules_of_others_nothing(file, monkeypatch):
    """Some import more when they are asked, or warn."""
    module = types.ModuleType("others")
    asked: list[str] = []
    module.__getattr__ = asked.append  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "others", module)
    load_file(file)
    assert not asked


def test_a_plan_shows_names_as_they_are(file, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    arms = ["[/b]", "norm=[red]", "\\[x]"]
    program = Forecast(arms, 4, Plan(4, "vmap", "scan"), "", 4200, 0.5, 1.5, 1.25, 1.75)
    monkeypatch.setattr(forecasts, "forecast", lambda *args, **flags: [program])
    assert main(["plan", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "Does [/b] or [bold red]x[/] matter? [link=a]" in shown
    assert "1: [/b], norm=[red], \\[x]" in shown
    assert "4.10 KiB" in shown and "1.5 s (1.2 s to 1.8 s)" in shown


def test_a_plan_says_what_the_devices_cost(file, monkeypatch, capsys):
    program = Forecast(["a"], 4, Plan(4, "vmap", "scan", 2), "", 4200, 600.0, 1200.0, 300.0, 3000.0)
    monkeypatch.setattr(forecasts, "forecast", lambda *args, **flags: [program, program])
    assert main(["plan", str(file), "--price", "1.5", "--json"]) == 0
    out, error = capsys.readouterr()
    told = json.loads(out)
    assert told["device_hours"] == [2.0, 1.0, 4.0] and told["money"] == [3.0, 1.5, 6.0]
    assert "2.0 (1.0 to 4.0) device-hours, which cost 3.0 (1.5 to 6.0)" in error
    assert "about 1 h 00 min (30 min 00 s to 2 h 00 min)" in error
    assert main(["plan", str(file), "--price", "0"]) == 2
    assert "--price is 0.0" in capsys.readouterr().err


def test_every_file_of_a_folder_is_listed_or_said_to_be_unreadable(tmp_path, capsys):
    (tmp_path / "good.py").write_text(EXPERIMENT)
    (tmp_path / "given.py").write_text('"""Partly?"""\nexperiment = print\n')
    (tmp_path / "other.py").write_text("x = 1\n")
    (tmp_path / "nul.py").write_bytes(b"x = 1\0\n")
    (tmp_path / "latin.py").write_bytes(b'# -*- coding: latin-1 -*-\n"""\xe9?"""\nexperiment = 1\n')
    (tmp_path / "deep.py").write_text("x = " + "(" * 5000 + ")" * 5000 + "\n")
    (tmp_path / "dangling.py").symlink_to("absent.py")
    (tmp_path / "loop.py").symlink_to("loop.py")
    (tmp_path / "folder.py").mkdir()
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "\udcff.py").write_text(EXPERIMENT)
    assert listing([str(tmp_path)]) == 0
    lines = (line.split(".py ", 1) for line in capsys.readouterr().out.splitlines())
    told = {Path(path).name: text.strip() for path, text in lines}
    question = "Does [/b] or [bold red]x[/] matter? [link=a]"
    assert told.pop("good") == told.pop("\\udcff") == question
    assert told.pop("given") == "Partly?" and told.pop("latin") == "é?"
    assert told.keys() == {"nul", "deep", "dangling", "loop", "folder", "pipe"}
    assert all(text.startswith("(cannot be read: ") for text in told.values())


def test_a_list_that_nobody_reads(file):
    command = [sys.executable, "-m", "fdl", "list", str(file.parent)]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, cwd=Path(__file__).parents[2])
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_report_and_who_trained_are_told_their_command_and_commit(file):
    def git(*words: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(file.parent), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert "commit" not in reports.made(["run", str(file)])
    assert "commit" not in history.here()
    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "-m", "empty")
    made = reports.made(["run", str(file), "--name", "a b"])
    assert made["command"] == f"fdl run {file} --name 'a b'"
    assert made["commit"] == f"{git('rev-parse', 'HEAD')}, markup.py is not in it"
    git("add", "markup.py")
    git("commit", "--quiet", "-m", "all")
    commit = git("rev-parse", "HEAD")
    assert reports.made(["run", str(file)])["commit"] == commit
    part = {"from": 0, "to": 1, **history.here(load_file(file).experiment)}
    assert history.told([(1, [part])])["trained"].endswith(f", at commit {commit}")
    file.write_text("\n")
    assert reports.made(["run", str(file)])["commit"].endswith(", with changes that are not committed")
