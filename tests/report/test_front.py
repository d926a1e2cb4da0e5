"""The front of a search by several metrics, drawn."""

import dataclasses

import numpy as np
import pytest

from fdl.report import figures, html
from fdl.report.figures import FRONT
from fdl.report.front import front
from fdl.result import Result
from tests.report.examples import example, single
from tests.report.page import Page

TRIALS = [
    {"trial": 0, "lr": 0.1, "validation/accuracy": 0.5, "validation/size": 3.0},
    {"trial": 1, "lr": 0.2, "validation/accuracy": 0.7, "validation/size": 4.0},
    {"trial": 2, "lr": 0.3, "validation/accuracy": None, "validation/size": None},
    {"trial": 3, "lr": 0.4, "validation/accuracy": 0.4, "validation/size": 3.5},
]
ARMS = {"0: lr=0.1": {"lr": 0.1}, "1: lr=0.2": {"lr": 0.2}}


def searched(*others: str) -> Result:
    """A result of two configs on the front, of four trials."""
    better = {"validation/accuracy": "higher", "validation/size": "lower", **dict.fromkeys(others, "lower")}
    trials = [{**trial, **dict.fromkeys(others, 1.0)} for trial in TRIALS]
    told = {"better": better, "seeds": [0], "front": [1, 0], "trials": trials, "refused": 7}
    result = example(ARMS, seeds=3, meta={"search": told})
    frame = result.frame.assign(**dict.fromkeys(("validation/size", *others), result.frame["seed"] + 1.0))
    return dataclasses.replace(result, frame=frame)


def test_points_are_trials_and_squares_what_fresh_seeds_came_to():
    result = searched()
    found = front(result)
    assert found
    (axis,) = found[0].axes
    every, chosen, judged = (np.asarray(line.get_xydata()) for line in axis.lines[:3])
    np.testing.assert_array_equal(every[[0, 1, 3]], [[0.5, 3.0], [0.7, 4.0], [0.4, 3.5]])
    np.testing.assert_array_equal(chosen, [[0.7, 4.0], [0.5, 3.0]])
    table = result.table()
    # Accuracy is measured on test too, size on validation alone: seeds 0 to 2, each plus one.
    np.testing.assert_allclose(judged, np.column_stack([table["test/accuracy"], [2.0, 2.0]]))
    assert "fresh seeds: test/accuracy" in axis.get_xlabel() and axis.get_ylabel() == "validation/size"
    assert found[1].startswith("The front: 2 of 4 trials by validation/accuracy and validation/size")


def test_three_metrics_have_a_panel_a_pair():
    found = front(searched("validation/time"))
    assert found and [axis.get_ylabel() for axis in found[0].axes] == [
        *("validation/size", "validation/time", "validation/time")
    ]


def test_the_page_and_the_table_have_the_front():
    drawings = figures.draw(searched())
    assert [one.kind for one in drawings].count(FRONT) == 1
    page = Page(html.render(searched(), None, drawings))
    assert any("The front: 2 of 4" in attributes.get("alt", "") for _, attributes in page.elements)
    assert any(
        "1 trial had a run that failed. 7 more that were asked are not allowed" in t for t in page.texts
    )


@pytest.mark.parametrize("better", [{}, {"validation/accuracy": "higher"}])
def test_one_metric_draws_none(better):
    meta = {"search": {**searched().meta["search"], "better": better}} if better else {}
    assert front(dataclasses.replace(single(), meta=meta)) is None
