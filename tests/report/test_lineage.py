"""What a report tells of arms that a scheduler changed."""

import dataclasses
from typing import Any

from rich.console import Console

from fdl import report
from fdl.lineage import Change
from fdl.report.figures import LINEAGE, draw
from fdl.report.html import render
from fdl.report.lineage import best_schedule
from fdl.result import Result
from tests.report.examples import example
from tests.report.test_schedule import TOLD, UNKNOWN


def changed() -> Result:
    """`a` takes the state of `b` after 20 of 40 steps, and goes on with another rate; `b` stays."""
    whole = example({"from a": {"lr": 0.1, "net": "x"}, "b": {"lr": 0.5, "net": "x"}}, seeds=2)
    turns = (
        Change(0, None, {"lr": 0.1, "net": "x"}),
        Change(20, "b", {"lr": 0.4, "net": "x"}),
    )
    told = {**TOLD, "metric": "test/loss", "lost": {**UNKNOWN, "chosen": "from a"}}
    return dataclasses.replace(whole, lineages={"from a": turns}, meta={"schedule": told})


def test_the_schedule_of_the_best_goes_back_through_what_it_copied():
    found = best_schedule(changed())
    assert found and "test/loss, from a, has gone through" in found[0]
    assert {column.name: column.cells for column in found[1]} == {
        "from step": ("0", "20"),
        "to step": ("20", "40"),
        "lr": ("0.5", "0.4"),
        "trained by": ("b", "from a"),
    }
    stayed = changed().meta["schedule"]
    other = {**stayed, "lost": {**UNKNOWN, "chosen": "b"}}
    assert best_schedule(dataclasses.replace(changed(), meta={"schedule": other})) is None


def test_a_line_is_an_arm_coloured_by_the_metric_and_an_arrow_is_a_copy():
    [drawing] = [one for one in draw(changed()) if one.kind == LINEAGE]
    axis = drawing.figure.axes[0]
    lines: Any = axis.collections[0]
    means = changed().frame.groupby(["arm", "step"])["test/loss"].mean()
    assert len(lines.get_segments()) == 8
    assert lines.get_array().tolist() == means.tolist()
    arrow: Any = axis.texts[0]
    assert len(axis.collections) == len(axis.texts) == 1
    assert (arrow.xy, arrow.xyann) == ((20, 0.4), (20, 0.5))
    assert "each time that one took another's state: 1" in drawing.alt


def test_the_page_and_the_terminal_tell_it():
    console = Console(record=True, width=220)
    report.show(changed(), None, console)
    page = render(changed(), None, draw(changed()))
    for shown in (page, console.export_text()):
        assert "has gone through" in shown and "0.1 → 0.4" in shown
        assert "1 arm changed by the scheduler, on these seeds" in shown
    assert "<h3>Lineage</h3>" in page


def test_what_an_arm_copied_is_known_where_that_arm_was_left_out():
    configs = {"from a": {"lr": "0.1 → 0.4", "net": "x"}, "b": {"lr": 0.5, "net": "x"}}
    whole = changed()
    few = dataclasses.replace(whole, meta={**whole.meta, "configs": configs}).where(arm="from a")
    [drawing] = [one for one in draw(few) if one.kind == LINEAGE]
    assert "lr of 1 arm by step" in drawing.alt and best_schedule(few) == best_schedule(whole)
    assert best_schedule(whole.where(arm="b")) is None
