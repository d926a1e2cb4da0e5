"""What others see of a search while it runs: whole at any time, complete after a kill, nothing twice."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import fdl
from fdl.cli import main
from fdl.report.search_table import runs_of_trials
from fdl.sweeps import Sweep, Trial
from fdl.sweeps.led import joined_populations
from tests.report.examples import example
from tests.searched import experiment
from tests.toy import Config

ROOT = Path(__file__).parents[2]
FILE = """\
import fdl
from tests.searched import SEARCH, experiment
from tests.toy import Config
SEARCH = fdl.space(Config(steps=16), lr=SEARCH.fields["lr"])
"""
LED = 'SCHEDULER = fdl.asha(metric="validation/loss", better="lower", first=4, factor=2, population=4)\n'
WORDS = "search file.py --trials 8 --population 4 --seeds 2 --judges 2 --mesh population=1 --workdir work"
WORDS += " --metric validation/loss --better lower"
TABLE = Path("work/results.parquet")


def until_killed(child: "subprocess.Popen[bytes]") -> pd.DataFrame:
    """Reads the table over and over until trials of two populations are in it, and kills who writes it."""
    table = pd.DataFrame()
    while child.poll() is None:
        if TABLE.exists():
            table = pd.read_parquet(TABLE)  # never half of it
            if (table["status"] != "running").any() and table["trial"].max() >= 4:
                os.kill(child.pid, signal.SIGKILL)
                child.wait()
        time.sleep(0.01)
    return table


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["", LED], ids=["plain", "asha"])
def test_the_table_is_whole_while_it_is_written_and_complete_after_a_kill(
    scheduler, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path("file.py").write_text(FILE + scheduler)
    environment = {**os.environ, "FDL_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "fdl", *WORDS.split()]
    child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    seen = until_killed(child)
    assert child.returncode == -signal.SIGKILL
    code = main(["watch", "work", "--once"])
    told = " ".join("".join(capsys.readouterr()).split())
    if code:  # the population that had begun was not evaluated yet
        assert scheduler and "holds no evaluation yet" in told
    else:
        assert ("led last" in told) == bool(scheduler)
    assert main([*WORDS.split(), "--watch"]) == 0
    table = pd.read_parquet(TABLE)
    assert not table.duplicated(["trial", "seed", "step"]).any()
    assert set(table["trial"]) == set(range(8)) and set(table["status"]) <= {"finished", "stopped"}
    assert ("stopped" in set(table["status"])) == bool(scheduler)
    judged = table[~table["seed"].isin([0, 1])]
    assert judged["trial"].nunique() == 1 and set(judged["seed"]) == {2, 3}
    ended = seen[seen["status"] != "running"].drop(columns="status")
    pd.testing.assert_frame_equal(
        ended.merge(table, on=["trial", "seed", "step"], suffixes=("", " now"))[ended.columns].reset_index(
            drop=True
        ),
        ended.reset_index(drop=True),
    )
    assert main(["watch", "work", "--once"]) == 0
    assert ("judge what the search chose" in " ".join(capsys.readouterr().out.split())) == bool(scheduler)


@pytest.mark.medium
def test_the_sinks_have_each_run_once_and_a_report_of_a_sweep_is_left_alone(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    from tests.cli.test_tensorboard import events

    monkeypatch.chdir(tmp_path)
    Path("file.py").write_text(FILE + "SWEEP = fdl.grid(Config(steps=16), lr=(0.1,), seeds=2)\n")
    assert main(["sweep", "file.py", "--workdir", "work", "--mesh", "population=1"]) == 0
    swept = TABLE.read_bytes()
    words = [*WORDS.split(), "--tensorboard", "tb"]
    assert main(words) == main(words) == 0
    assert TABLE.read_bytes() == swept
    (path,) = [
        p for p in Path("work/reports").glob("*/results.parquet") if not (p.parent / "figures").exists()
    ]
    table = pd.read_parquet(path)
    runs = table[table["status"] != "failed"].drop_duplicates(["trial", "seed"])
    found = events(Path("tb"))
    assert len(found) == len(runs) == 18
    assert all(len(one) == len(set(one)) for one in found.values())
    assert sum(map(len, found.values())) == int(table.filter(like="/").notna().to_numpy().sum())
    with pytest.warns(UserWarning, match="is of a search"):
        loaded = fdl.load("work")
    assert len(loaded.runs()) == 2 + len(runs)


def test_bad_input_comes_before_the_question(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("file.py").write_text(FILE)
    assert main(["search", "file.py", "--metric", "test/loss", "--better", "lower"]) == 2
    out, error = capsys.readouterr()
    assert out == "" and "what chooses may not judge" in error and error.count("\n") == 1
    assert not Path("runs").exists()


def test_a_run_without_an_evaluation_has_a_row_too():
    arms = {"0: lr=0.1": {"lr": 0.1}, "10: lr=0.2": {"lr": 0.2}, "2: lr=0.3": {"lr": 0.3}}
    result = example(arms, seeds=1, failed=(("2: lr=0.3", 0),))
    result = dataclasses.replace(result, frame=result.frame[result.frame["arm"] != "2: lr=0.3"])
    result.frame["best"] = True
    asked = Sweep((Trial("10: lr=0.2", Config(lr=0.2), 0), Trial("11: lr=0.4", Config(lr=0.4), 0)))
    table = runs_of_trials(result, asked)
    runs = table.drop_duplicates(["trial", "seed"])
    assert runs["trial"].tolist() == [0, 2, 10, 11]
    assert runs["status"].tolist() == ["finished", "failed", "finished", "running"]
    assert runs["lr"].tolist() == [0.1, 0.3, 0.2, 0.4] and runs["step"].tolist() == [10, 23, 10, 0]
    assert len(table) == 4 + 1 + 4 + 1
    assert runs["best"].tolist() == [True, False, True, False]


@pytest.mark.medium
def test_populations_join_in_any_grouping():
    asha = fdl.asha(metric="validation/loss", better="lower", first=4, factor=2, population=2)
    one, two, three = (
        fdl.sweep(
            experiment,
            fdl.zip_(Config(steps=8), lr=(start, 2 * start), seeds=1),
            scheduler=asha,
            mesh={"population": 1},
        )
        for start in (0.01, 0.05, 0.3)
    )
    whole = joined_populations([one, two, three]).meta["schedule"]
    assert [rung["population"] for rung in whole["rungs"]] == [0, 1, 2]
    assert joined_populations([joined_populations([one, two]), three]).meta["schedule"] == whole
    assert joined_populations([one, joined_populations([two, three])]).meta["schedule"] == whole
