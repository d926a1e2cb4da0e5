"""What a report tells of a scheduler."""

import dataclasses

import pytest
from rich.console import Console

from fdl import report
from fdl.report.html import render
from fdl.report.schedule import schedule
from tests.report.examples import many

RUNG = {"population": 0, "step": 10, "arms": 9, "going": 3, "ran_on": 1, "copied": 0}
SAVED = {
    "steps": 300,
    "steps_of_all": 1200,
    "seconds": 30.0,
    "seconds_of_all": 90.0,
    "seconds_at_first": 5.0,
    "compile_seconds": 2.0,
}
BEST = {"arm": "b", "value": 0.25, "chosen_value": 0.5, "step": 10, "rank": 4, "of": 9}
LOST = {"chosen": "a", "left": 8, "ran_on": 2, "better": 1, "rank": [2, 8], "best": BEST}
UNKNOWN = {"chosen": "a", "left": 8, "ran_on": 0, "better": 0}
TOLD = {
    "metric": "validation/loss",
    "better": "lower",
    "rungs": [RUNG, {**RUNG, "population": 1, "arms": 4, "going": 2}, {**RUNG, "step": 30, "arms": 5}],
    "saved": SAVED,
    "lost": LOST,
}


def test_rungs_of_all_populations_are_one_row():
    cells = {column.name: column.cells for column in schedule(TOLD).columns}
    assert cells == {
        "step": ("10", "30"),
        "arms": ("13", "5"),
        "went on": ("5", "3"),
        "ran on all the same": ("2", "1"),
    }


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "300 of the 1,200 steps of all runs were taken (25%). Training"),
        ({}, "Among itself and all that were to leave it has a place from 2 to 8"),
        ({}, "b, came to 0.250 against 0.500. At step 10, where it was to leave, it had"),
        ({"lost": {**LOST, "rank": [2, 2]}}, "all that were to leave it has place 2."),
        ({"lost": UNKNOWN}, "none ran on, so nothing says whether"),
        ({"lost": None}, "No arm that went on came to a value."),
        ({"saved": {**SAVED, "seconds_at_first": 0.5}}, "too little up to the first rung"),
    ],
)  # fmt: skip
def test_what_was_saved_and_lost_is_said(changed, words):
    assert words in " ".join(schedule({**TOLD, **changed}).sentences)


def test_the_page_and_the_terminal_tell_it():
    result = dataclasses.replace(many(), stopped={many().runs()["arm"][0]: 10})
    result = dataclasses.replace(result, meta={**result.meta, "schedule": TOLD})
    console = Console(record=True, width=200)
    report.show(result, None, console)
    for shown in (render(result, None, []), console.export_text()):
        assert "Who went on, by validation/loss" in shown and "300 of the 1,200 steps" in shown
        assert "without 1 arm that the scheduler stopped" in shown
