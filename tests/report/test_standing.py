"""How arms stand while they run: every number worked out by hand."""

import dataclasses

import pandas as pd
import pytest

from fdl.report.standing import curve, standing
from fdl.result import Result
from tests.report.examples import example

FIELDS = {"lr": 0.1}


def so_far() -> Result:
    """Arm a has ended with 20 steps, b and c run; c's second seed lags. Of d one seed failed."""
    told = {
        ("a", 0, "finished"): [(10, 0.5), (20, 0.9)],
        ("a", 1, "stopped"): [(10, 0.7)],
        ("b", 0, "running"): [(10, 0.4), (20, 0.6), (30, 0.65)],
        ("c", 0, "running"): [(10, 0.2), (20, 0.7)],
        ("c", 1, "running"): [(10, 0.0)],
        ("d", 0, "failed"): [(10, 9.0)],
    }
    rows = [
        {"arm": arm, **FIELDS, "seed": seed, "step": step, "test/accuracy": value, "status": status}
        for (arm, seed, status), points in told.items()
        for step, value in points
    ]
    lost = pd.DataFrame([{"arm": "d", **FIELDS, "seed": 0, "step": 12, "metric": "test/accuracy"}])
    return Result(pd.DataFrame(rows), ("lr",), lost, {})


def test_ranks_are_of_the_runs_that_have_come_to_one_step():
    heading, columns = standing(so_far())
    cells = {column.name: column.cells for column in columns}
    # At step 20: a (0.9 + 0.7) / 2, c 0.7 without the seed that lags, b 0.6.
    assert cells["arm"] == ("a", "c", "b", "d")
    assert cells["rank"] == ("1", "2", "3", "–")
    assert cells["ended"] == ("2 of 2", "0 of 2", "0 of 1", "0 of 0")
    assert cells["step"] == ("20", "20", "30", "–")
    assert cells["failed"] == ("0", "0", "0", "1")
    assert cells["test/accuracy"][2] == "0.6500"
    assert "6 runs: 3 running, 1 finished, 1 stopped, 1 failed" in heading
    assert "mean at step 20, highest first" in heading


@pytest.mark.parametrize(("metric", "better", "first"), [
    ("test/accuracy", None, "highest"), ("test/accuracy", "lower", "lowest"), ("test/loss", None, "lowest"),
    ("test/loss", "higher", "highest"),
])  # fmt: skip
def test_which_is_better_is_said(metric, better, first):
    result = example({"a": {"lr": 1}, "b": {"lr": 2}}, seeds=3)
    heading, columns = standing(result, metric, better)
    last = result.frame[result.frame["step"] == 40].groupby("arm")[metric].mean()
    assert columns[0].cells == tuple(last.sort_values(ascending=first == "lowest").index)
    assert f"{first} first" in heading


def test_a_curve_is_on_one_scale_with_its_place_by_step():
    frame = pd.DataFrame({"step": [12, 24, 48], "m": [0.0, 0.5, 1.0]})
    assert curve(frame, "m", (0.0, 1.0, 48)) == " " * 5 + "▁" * 6 + "▅" * 12 + "█"
    assert curve(frame.assign(m=float("nan")), "m", (0.0, 1.0, 48)) == ""


def test_where_all_failed_nothing_is_ranked():
    result = so_far()
    only = dataclasses.replace(result, frame=result.frame[result.frame["arm"] == "d"])
    _, columns = standing(only)
    assert {column.name: column.cells for column in columns}["rank"] == ("–",)


def test_arms_that_a_scheduler_stopped_come_last_with_the_place_where_they_left():
    """Of two that left at step 10, where others have 20: no rank; of one that left later, still one."""
    result, told = so_far(), {"step": 10, "rank": 2, "of": 5, "ran_on": False}
    rows = [
        {"arm": arm, **FIELDS, "seed": 0, "step": 10, "test/accuracy": value, "status": "stopped"}
        for arm, value in (("e", 0.99), ("f", 0.95))
    ]
    left = {"f": {**told, "rank": 1}, "e": told, "b": {**told, "rank": None, "ran_on": True}}
    result = dataclasses.replace(
        result,
        frame=pd.concat([result.frame, pd.DataFrame(rows)], ignore_index=True),
        stopped={"e": 10, "f": 10, "a": 20},
        meta={"schedule": {"left": left}},
    )
    cells = {column.name: column.cells for column in standing(result)[1]}
    assert cells["arm"] == ("a", "c", "b", "d", "f", "e")
    assert cells["rank"] == ("1", "2", "3", "–", "–", "–")
    assert cells["left"] == (
        "–", "–", "step 10, ran on", "–", "step 10, place 1 of 5", "step 10, place 2 of 5"
    )  # fmt: skip


def test_of_many_arms_the_first_are_shown():
    arms = {f"arm{i}": {"lr": i} for i in range(30)}
    heading, columns = standing(example(arms, seeds=1))
    assert len(columns[0].cells) == 24 and "the first 24 of 30 arms" in heading


def test_a_metric_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="no metric 'test/x'; there are"):
        standing(so_far(), "test/x")
