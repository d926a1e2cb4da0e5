"""`fdl sweep --budget`: it stops in time, saved, and says what could be concluded and what not."""

import contextlib
import io
import json
import signal

import pandas as pd
import pytest
from rich.console import Console

import fdl
from fdl.cli import budget, main
from fdl.cli import progress as cli_progress
from fdl.result import Result
from fdl.sweeps import grid
from tests.toy import Config

FILE = '''"""Q?"""
import fdl
from tests.toy import Config, experiment
SWEEP = fdl.grid(Config(), lr=(0.0, 0.05), seeds=8)
def claim(result):
    return fdl.compare(result, metric="test/loss", arms="lr", better="lower").verdict
'''


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("0.5h", 1800)])
def test_a_time(text, seconds):
    assert budget.seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "m", "30 m", "0s", "-5m", "1h-30m", "nan"])
def test_what_is_no_time(text):
    with pytest.raises(ValueError, match="expected a time, as 90s"):
        budget.seconds_of(text)


def test_a_time_that_is_up_interrupts_and_is_known_from_a_signal():
    before = signal.getsignal(signal.SIGALRM)
    heard = []
    old = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with budget.within(0.05) as spent:
            while not heard:
                signal.pause()
            assert spent()
        with budget.within(3600.0) as spent:
            signal.raise_signal(signal.SIGTERM)
            assert not spent()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with pytest.raises(ValueError, match="ignores"), budget.within(1.0):
            pass
    finally:
        signal.signal(signal.SIGTERM, old)
    assert signal.getsignal(signal.SIGALRM) == before and signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_what_is_left_is_counted_by_arm():
    space = grid(Config(), lr=(0.0, 0.05), seeds=3)
    runs = pd.DataFrame({"arm": ["lr=0"] * 3 + ["lr=0.05"], "lr": 0.0, "seed": [0, 1, 2, 1], "step": 1})
    lost = pd.DataFrame(columns=["arm", "lr", "seed", "step", "metric"])
    assert {arm.partition(".")[0] for arm in budget.unfinished(space, None)} == {"lr=0"}
    names = list(dict.fromkeys(trial.arm for trial in space.trials))
    runs["arm"] = runs["arm"].map({"lr=0": names[0], "lr=0.05": names[1]})
    assert budget.unfinished(space, Result(runs, ("lr",), lost, {})) == {names[1]: 2}
    assert "2 of 6 runs not finished: b (2 runs)" in budget.not_finished({"b": 2}, 6)


def up_once(directory, there):
    """A time that is up at the first evaluation after a file is there."""

    def followed(progress, *others, **flags):
        def evaluated(rows):
            if list(directory.glob(there)):
                signal.raise_signal(signal.SIGALRM)

        return contextlib.nullcontext(progress._replace(evaluated=evaluated))

    return followed


@pytest.mark.medium
def test_a_sweep_ends_with_what_is_finished(tmp_path, monkeypatch, capsys):
    """The time is up at the first evaluation of the second unit."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.py").write_text(FILE)

    monkeypatch.setattr("fdl.cli.commands.followed", up_once(tmp_path / "here", "units/*/done.json"))
    words = ["sweep", "file.py", "--members", "8", "--json", "--workdir", "here"]
    assert main([*words, "--budget", "1h"]) == 75
    out, error = capsys.readouterr()
    told = json.loads(out)
    assert (told["runs"], told["verdict"], told["unfinished"]) == (8, None, {"lr=0.05": 8})
    assert "the budget is spent: 8 of 16 runs not finished: lr=0.05 (8 runs)" in error
    assert "the claim is not judged: no run is finished of lr=0.05" in error
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert main([*words, "--budget", "1h"]) == 0
    out, _ = capsys.readouterr()
    assert json.loads(out)["verdict"] == "SUPPORTED" and json.loads(out)["unfinished"] == {}


HALVED = '''"""Q?"""
import fdl
from tests.searched import experiment
from tests.toy import Config
SWEEP = fdl.grid(Config(steps=20), lr=(0.001, 0.3, 0.05, 0.1, 0.02, 0.03), seeds=2)
SCHEDULER = fdl.asha(
    metric="validation/loss", better="lower", first=4, factor=2, population=3, run_on=0.0
)
def claim(result):
    return fdl.compare(result, metric="test/loss", arms="lr", better="lower").verdict
'''


@pytest.mark.medium
def test_a_schedule_ends_with_what_could_be_concluded_and_goes_on(tmp_path, monkeypatch, capsys):
    """The time is up in the second population; of the first, some were stopped, some came to their end."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.py").write_text(HALVED)
    words = ["sweep", "file.py", "--mesh", "population=1", "--json", "--workdir", "here"]
    with monkeypatch.context() as patch:
        up = up_once(tmp_path / "here", "schedules/*/decisions/1-4.json")
        patch.setattr("fdl.cli.commands.followed", up)
        assert main([*words, "--budget", "1h"]) == 75
    out, error = capsys.readouterr()
    told, found = json.loads(out), fdl.load("here")
    ended = found.frame[found.frame["status"] != "running"]
    arms = set(ended["arm"])
    assert {"lr=0.001", "lr=0.3", "lr=0.05"} <= arms and len(arms) < 6, "the first population, not all"
    assert told["stopped"] == dict(found.stopped) and set(found.stopped) < arms
    every = [f"lr={lr}" for lr in (0.001, 0.3, 0.05, 0.1, 0.02, 0.03)]
    assert told["unfinished"] == {arm: 2 for arm in every if arm not in arms}
    assert "the budget is spent" in error and "It has not come to its end" in error
    assert set(pd.read_parquet("here/results.parquet")["arm"]) == arms
    assert main([*words, "--watch", "--tensorboard", "tb"]) == 0
    out, _ = capsys.readouterr()
    result = fdl.load("here")
    assert json.loads(out)["unfinished"] == {} and json.loads(out)["stopped"] == dict(result.stopped)
    assert result.frame["status"].isin(["finished", "stopped"]).all()
    pd.testing.assert_frame_equal(pd.read_parquet("here/results.parquet"), result.frame)
    # A run of TensorBoard is one of the sweep, stopped or not.
    assert len(list((tmp_path / "tb").glob("*/*"))) == len(result.runs()) == 12
    assert main(["watch", "here", "--once"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "stopped" in shown and "left" in shown and "place" in shown and "went on" in shown


CHANGED = '''"""Q?"""
import fdl
from tests.searched import experiment
from tests.toy import Config
SWEEP = fdl.grid(Config(steps=24), lr=(0.001, 0.3, 0.05, 0.1, 0.02, 0.03), seeds=2)
SCHEDULER = fdl.pbt(
    metric="validation/loss", better="lower", every=8, population=3, lr=fdl.log_uniform(0.01, 0.3)
)
'''


@pytest.mark.medium
def test_arms_that_change_end_with_what_is_finished_and_go_on(tmp_path, monkeypatch, capsys):
    """The time is up in the second population, when an arm of it has changed already."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.py").write_text(CHANGED)
    words = ["sweep", "file.py", "--mesh", "population=1", "--json", "--workdir", "here"]
    assert main([*words, "--tensorboard", "tb"]) == 2
    assert "a run for each config, and the scheduler changes arms" in capsys.readouterr().err
    assert not (tmp_path / "here").exists() and not (tmp_path / "tb").exists()
    with monkeypatch.context() as patch:
        patch.setattr(
            "fdl.cli.commands.followed", up_once(tmp_path / "here", "schedules/*/decisions/1-8.json")
        )
        assert main([*words, "--budget", "1h"]) == 75
    out, error = capsys.readouterr()
    first, second = ({"lr=0.001", "lr=0.3", "lr=0.05"}, {"lr=0.1", "lr=0.02", "lr=0.03"})
    assert json.loads(out)["unfinished"] == dict.fromkeys(second, 2)
    assert "It has not come to its end" in error and "from lr=" in error
    kept = pd.read_parquet("here/results.parquet")
    assert set(kept["arm"].str.removeprefix("from ")) == first and set(kept["status"]) == {"finished"}
    found = fdl.load("here")
    assert {arm.removeprefix("from ") for arm in found.lineages} & second
    assert main([*words, "--watch"]) == 0
    assert json.loads(capsys.readouterr().out)["unfinished"] == {}
    result = fdl.load("here")
    pd.testing.assert_frame_equal(pd.read_parquet("here/results.parquet"), result.frame)
    ended = result.frame[result.frame["arm"].isin(kept["arm"])]
    pd.testing.assert_frame_equal(ended.reset_index(drop=True), kept)


@pytest.mark.medium
def test_a_report_says_what_is_not_finished_and_judges_no_claim_without_an_arm(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = FILE.replace("Config(), lr=(0.0, 0.05), seeds=8", "Config(steps=20), lr=({}), seeds=2")
    (tmp_path / "file.py").write_text(text.format("0.1, 0.05"))
    assert main(["sweep", "file.py", "--workdir", "here"]) == 0
    capsys.readouterr()
    report = ["report", "file.py", "--workdir", "here", "--json"]
    assert main([*report, "--seeds", "3"]) == 0  # of which two are there
    out, error = capsys.readouterr()
    assert set(json.loads(out)["unfinished"].values()) == {1} and "2 of 6 runs not finished" in error
    (tmp_path / "file.py").write_text(text.format("0.1, 0.05, 0.02"))
    assert main(report) == 0
    out, error = capsys.readouterr()
    assert json.loads(out)["verdict"] is None and json.loads(out)["unfinished"] == {"lr=0.02": 2}
    assert "the claim is not judged: no run is finished of lr=0.02" in error


def test_steps_a_second_begin_anew_with_each_population(monkeypatch):
    monkeypatch.setattr(cli_progress, "LINE_SECONDS", -1.0)
    out = io.StringIO()
    with cli_progress.shown(Console(file=out)) as (progress, _):
        for done in (50, 90, 10, 20):
            progress.step(done, 100, 1)
    lines = out.getvalue().splitlines()
    assert [" 0 steps/s" in line for line in lines] == [True, False, True, False]
    assert not any("-" in line for line in lines)
