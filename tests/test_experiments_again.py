"""A row of the table of experiments that is run anew comes to the verdicts that are recorded."""

import json
import shutil

import pytest

from fdl.cli import main
from tests.test_experiments import FOLDER, RESULTS

AGAIN = ("backpropagation",)
"""The cheapest row; what it compares and counts is the same in every run."""


def verdicts(row: dict) -> dict[str, str]:
    return {key: claim["verdict"] for key, claim in row["claims"].items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", AGAIN)
def test_a_row_that_is_run_anew_comes_to_the_recorded_verdicts(name, tmp_path, monkeypatch):
    recorded, place = RESULTS["rows"][name], tmp_path / "rows"
    place.mkdir()
    shutil.copy(FOLDER / f"{name}.py", place)
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", "--folder", str(place)]) == 0
    again = json.loads((place / "results.json").read_text())["rows"][name]
    assert (again["seeds"], again["criteria"]) == (recorded["seeds"], recorded["criteria"])
    assert verdicts(again) == verdicts(recorded)
