"""The front of a sweep's arms by the metrics of the file's FRONT, drawn."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from fdl.report import figures, html
from fdl.report.arms_front import arms_front
from fdl.report.figures import ARMS_FRONT
from fdl.result import Result
from tests.report.examples import example
from tests.report.page import Page

BETTER = {"test/accuracy": "higher", "test/bytes": "lower", "test/flops": "lower"}
# By bytes a and b are best; by flops b beats c and d, and a is beaten by none.
ARMS = {"a": (0.9, 400.0, 8.0), "b": (0.8, 100.0, 4.0), "c": (0.7, 200.0, 4.0), "d": (0.8, 400.0, 5.0)}


def judged(better: dict[str, str], arms: tuple[str, ...] = tuple(ARMS)) -> Result:
    """A result of arms with these means: two seeds, one above and one below."""
    result = example({arm: {"arm_": arm} for arm in arms}, seeds=2, evaluations=1, meta={"front": better})
    frame, metrics = result.frame, {}
    for place, metric in enumerate(BETTER):
        metrics[metric] = [
            ARMS[arm][place] * (1 + 0.01 * (2 * seed - 1))
            for arm, seed in zip(frame["arm"], frame["seed"], strict=True)
        ]
    return dataclasses.replace(result, frame=frame.assign(**metrics))


def test_each_panel_has_all_arms_and_the_front_of_its_two_metrics():
    found = arms_front(judged(BETTER))
    assert found
    figure, words = found
    labels = [axis.get_xlabel() for axis in figure.axes]
    assert labels == ["test/bytes\n1: b\n2: a", "test/flops\n1: b\n2: a"]
    for axis, front in zip(figure.axes, (["b", "a"], ["b", "a"]), strict=True):
        assert [text.get_text() for text in axis.texts] == ["1", "2"]
        containers: Any = axis.containers
        others, joined = (np.asarray(one.lines[0].get_xydata()) for one in containers)
        place = 1 if axis is figure.axes[0] else 2
        np.testing.assert_allclose(joined, [[ARMS[arm][place], ARMS[arm][0]] for arm in front])
        np.testing.assert_allclose(others, [[ARMS[arm][place], ARMS[arm][0]] for arm in "cd"])
    assert words.startswith("The front by test/accuracy and test/bytes: 2 of 4 arms. b: test/accuracy 0.80")


def test_the_page_has_it():
    result = judged(BETTER)
    drawings = figures.draw(result)
    assert [one.kind for one in drawings].count(ARMS_FRONT) == 1
    page = Page(html.render(result, None, drawings))
    assert any("2 of 4 arms" in attributes.get("alt", "") for _, attributes in page.elements)


@pytest.mark.parametrize(
    ("better", "arms"), [({}, ("a", "b")), (BETTER, ("a",)), (BETTER | {"test/x": "lower"}, ("a", "b"))]
)
def test_without_two_arms_that_have_the_metrics_there_is_none(better, arms):
    assert arms_front(judged(better, arms)) is None
