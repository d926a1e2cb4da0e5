"""What a restart costs: split, told in a line, kept with the run, and on its report."""

import pytest

from fdl.report.html import render
from fdl.sweeps import grid, sweep
from fdl.train import Progress, Saving
from fdl.train.restart import Restarts, lost_time, restarted
from tests.toy import Config, experiment

SAVING = Saving(steps=15)


def known(step: int, reached: int, variable: str | None = None) -> Restarts:
    environment = {} if variable is None else {"FDL_RESTART": variable}
    return restarted([], step, reached, compile_seconds=12.0, restore_seconds=3.0, environment=environment)


def test_a_restart_is_over_once_the_steps_before_it_are_done_again():
    going = known(100, 180, "create=310.0,set_up=95.5")
    assert going.passed(179, 8.0) == (going, "")
    over, told = going.passed(180, 9.0)
    assert over.under_way is None and over.passed(500, 60.0) == (over, "")
    assert over.over == [
        {"step": 100, "reached": 180, "create": 310.0, "set_up": 95.5, "compile": 12.0, "restore": 3.0,
         "replay": 9.0}
    ]  # fmt: skip
    assert told == (
        "went on from step 100: making the slice again 5 min 10 s, setting it up 95.5 s, compiling 12.0 s, "
        "restoring 3.0 s, repeating steps 9.0 s; steps 101 to 180, at least, were done before"
    )


def test_after_a_stop_that_saved_no_step_is_repeated():
    over, told = known(100, 90).passed(101, 4.0)
    assert over.over[0]["replay"] == 0.0 and over.over[0]["reached"] == 100
    assert told == "went on from step 100: compiling 12.0 s, restoring 3.0 s"


@pytest.mark.parametrize("variable", ["", "create=1", "create=1,set_up=x", "create=1,set_up=2,more=3"])
def test_a_variable_that_is_none_of_the_launchers_counts_for_nothing(variable):
    assert "create" not in (known(1, 0, variable).under_way or {})


def test_a_new_run_has_none():
    assert known(0, 0) == Restarts([]) and known(0, 10).under_way is not None


def test_the_time_lost():
    one = {"step": 1, "reached": 2, "create": 60.0, "compile": 10.0, "restore": 2.0, "replay": 0.0}
    assert lost_time([]) == ""
    assert (
        lost_time([one])
        == "72.0 s in 1 restart (making the slice again 60.0 s, compiling 10.0 s, restoring 2.0 s)"
    )
    assert lost_time([one, one]).startswith("2 min 24 s in 2 restarts (making the slice again 2 min 00 s, ")


def test_it_is_told_once_kept_and_on_the_report(tmp_path, monkeypatch):
    space = grid(Config(), lr=[0.05])
    monkeypatch.setenv("FDL_RESTART", "create=60.0,set_up=30.0")

    def crash(done: int, total: int, live: int) -> None:
        if done >= 30:
            raise RuntimeError("killed")

    lines: list[str] = []
    first = Progress(say=lines.append, step=crash)
    with pytest.raises(RuntimeError, match="killed"):
        sweep(experiment, space, workdir=tmp_path, saving=SAVING, progress=first)
    assert not [line for line in lines if "went on" in line]
    (rows,) = tmp_path.glob("units/*/metrics.jsonl")
    reached = len(rows.read_text().splitlines()) * 10
    saved = max(int(path.name) for path in tmp_path.glob("units/*/checkpoints/*") if path.name.isdigit())
    assert saved < reached
    result = sweep(experiment, space, workdir=tmp_path, saving=SAVING, progress=Progress(say=lines.append))
    (told,) = [line for line in lines if "went on" in line]
    assert told.startswith(
        f"went on from step {saved}: making the slice again 60.0 s, setting it up 30.0 s, "
    )
    assert told.endswith(f"; steps {saved + 1} to {reached}, at least, were done before")
    (program,) = result.meta["programs"]
    (restart,) = program["restarts"]
    assert (restart["step"], restart["reached"]) == (saved, reached)
    assert all(restart[part] > 0 for part in ("compile", "restore", "replay"))
    lines.clear()
    again = sweep(experiment, space, workdir=tmp_path, progress=Progress(say=lines.append))  # it is finished
    assert again.meta["programs"] == result.meta["programs"]
    assert not [line for line in lines if "went on" in line]
    assert f"at least {lost_time([restart])}" in render(result, None, [])
