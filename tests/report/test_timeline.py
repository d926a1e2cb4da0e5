"""Who trained what, drawn where several workers did."""

import dataclasses

from fdl.report import figures, html
from fdl.report.figures import TIMELINE
from fdl.report.timeline import LABELLED, timeline
from tests.report.examples import single
from tests.report.page import Page


def unit(worker: str, began: float, ended: float, program: str = "a") -> dict:
    return {"worker": worker, "began": began, "ended": ended, "arms": ["lr=0.1"], "program": program}


UNITS = [unit("one 1", 100.0, 110.0), unit("two 2", 101.0, 105.0), unit("two 2", 105.5, 108.5, "b")]


def test_every_unit_is_a_bar_where_and_when_it_was_trained():
    found = timeline([*UNITS, {"arms": ["by an earlier fdl"]}])
    assert found
    figure, words = found
    (axis,) = figure.axes
    bars = [(bar.get_y() + 0.35, bar.get_x(), bar.get_width()) for bar in axis.patches]  # pyright: ignore
    assert [tuple(round(part, 6) for part in bar) for bar in bars] == [(0, 0, 10), (1, 1, 4), (1, 5.5, 3)]
    colours = [bar.get_facecolor() for bar in axis.patches]
    assert colours[0] == colours[1] != colours[2]
    assert "in 10.0 s: worker 1 (one 1) trained 1 unit in 10.0 s; worker 2 (two 2)" in words


def test_only_the_longest_of_many_are_labelled():
    found = timeline([unit(f"one {i % 3}", i, i + 1 + i / 100) for i in range(100)])
    assert found and len(found[0].axes[0].texts) == LABELLED


def test_one_worker_draws_nothing_and_two_stand_on_the_page():
    assert timeline(UNITS[1:]) is None and timeline([]) is None
    result = dataclasses.replace(single(), meta={**single().meta, "programs": UNITS})
    drawings = figures.draw(result)
    assert [one.kind for one in drawings].count(TIMELINE) == 1
    page = Page(html.render(result, None, drawings))
    assert "Who trained what" in page.texts
    assert any("worker 2 (two 2)" in attributes.get("alt", "") for _, attributes in page.elements)
