"""`fdl sweep --budget`: it stops in time, saved, and says what could be concluded and what not."""

import contextlib
import json
import signal

import pandas as pd
import pytest

from fdl.cli import budget, main
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
    assert "2 of 6 runs not finished: b (2 runs)" in budget.left_over({"b": 2}, 6)


@pytest.mark.medium
def test_a_sweep_ends_with_what_is_finished(tmp_path, monkeypatch, capsys):
    """The time is up at the first evaluation of the second unit."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.py").write_text(FILE)

    def up(progress, space, directory, *others, **flags):
        def evaluated(rows):
            if list((directory / "units").glob("*/done.json")):
                signal.raise_signal(signal.SIGALRM)

        return contextlib.nullcontext(progress._replace(evaluated=evaluated))

    monkeypatch.setattr("fdl.cli.commands.followed", up)
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
