"""What an answer has cost: each number worked out by hand."""

import dataclasses
from typing import Any

import pytest

from fdl.report import html
from fdl.report.costs import DeviceTime, cost_of_answer, cost_table, costs
from tests.report.examples import COMPARISON, example, verdict

UNIT: dict[str, Any] = {
    "members": 4,
    "devices": 2,
    "program": "p",
    "train_seconds": 1800.0,
    "arms": ["a", "b"],
    "runs": [3, 1],
    "failed": [1, 0],
}


def result(*units: dict[str, Any], arms: str = "ab"):
    return example({arm: {"lr": 1} for arm in arms}, seeds=2, meta={"programs": units})


def test_runs_share_the_time_of_their_unit_and_of_their_program():
    second = {**UNIT, "arms": ["b"], "runs": [4], "failed": [0], "train_seconds": 900.0}
    first = {**UNIT, "compile_seconds": 80.0}
    found = costs(result(first, second))
    assert found is not None and not found.at_least
    # 2 devices of 4 runs: half a device a run; 160 device-seconds of making over 8 runs.
    assert found.arms == {
        "a": DeviceTime(train=3 * 900.0, compile=3 * 20.0, failed=900.0),
        "b": DeviceTime(train=900.0 + 4 * 450.0, compile=5 * 20.0),
    }
    assert found.whole.total == 2 * 1800.0 + 2 * 900.0 + 160.0


def test_runs_that_are_not_asked_for_cost_nothing_here():
    found = costs(result({**UNIT, "compile_seconds": 60.0}, arms="b"))
    assert found is not None and found.arms == {"b": DeviceTime(train=900.0, compile=30.0)}


def test_a_restart_costs_what_held_devices_and_its_compiling_counts_once():
    restart = {"step": 4, "reached": 9, "create": 999.0, "set_up": 10.0, "compile": 60.0, "restore": 5.0}
    unit = {**UNIT, "compile_seconds": 60.0, "restarts": [restart, {**restart, "replay": 25.0}]}
    found = costs(result(unit))
    assert found is not None and found.at_least
    assert found.whole == DeviceTime(train=3600.0, restarts=2 * (75.0 + 100.0), failed=900.0)


def test_of_runs_that_run_it_is_a_least():
    found = costs(result(UNIT, {"members": 4, "arms": ["a"], "runs": [4], "failed": [0]}))
    assert found is not None and found.at_least and found.whole.train == 3600.0
    assert costs(result({"members": 4, "arms": ["a"], "runs": [4], "failed": [0]})) is None
    assert costs(result()) is None


def test_the_answer_beside_its_price():
    measured = result({**UNIT, "compile_seconds": 600.0})
    one = (
        dataclasses.replace(measured),
        verdict()._replace(
            comparisons=(
                COMPARISON._replace(metric="test/accuracy", difference=0.0131, low=0.0091, high=0.0171),
            )
        ),
    )
    shown = "+0.0131 (95 % interval [0.0091, 0.0171]) in test/accuracy for 1.3 device-hours (compiling 25 %, "
    assert cost_of_answer(*one) == shown + "failed runs 19 %)"
    two = one[1]._replace(comparisons=one[1].comparisons * 2)
    assert str(cost_of_answer(measured, two)).startswith("2 comparisons for 1.3 device-hours (")
    assert cost_of_answer(result(), two) is None
    page = html.render(measured, one[1], [])
    assert f"Cost of the answer: {shown}" in page and "Device time by arm" in page


@pytest.mark.parametrize(("unit", "names"), [
    ({}, ["arm", "device time", "training", "compiling", "failed runs"]),
    ({"failed": [0, 0]}, ["arm", "device time", "training", "compiling"]),
])  # fmt: skip
def test_a_row_an_arm(unit, names):
    found = costs(result({**UNIT, "compile_seconds": 600.0, **unit}))
    assert found is not None
    columns = cost_table(found)
    assert [column.name for column in columns] == names
    assert columns[1].cells == ("1 h 00 min", "20 min 00 s") and columns[3].cells == ("25 %", "25 %")
