"""A report of a thousand arms: what it shows of them, and how large it gets."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection

from fdl.report import figures, html, parallel, tables
from fdl.report.importance import importance
from fdl.result import Result
from tests.report.page import Page

METRIC = "test/accuracy"


def many(columns: dict[str, np.ndarray], values: np.ndarray) -> Result:
    """A run of each arm, with these fields and this last value."""
    count = len(values)
    frame = pd.DataFrame({"arm": [f"arm {i}" for i in range(count)], **columns, "seed": 0, "step": 10})
    frame = frame.assign(**{METRIC: values}, status="finished")
    lost = pd.DataFrame(columns=["arm", *columns, "seed", "step", "metric"])
    configs = {
        arm: {name: column[i] for name, column in columns.items()} for i, arm in enumerate(frame["arm"])
    }
    return Result(frame, tuple(columns), lost, {"configs": configs})


def crossed(across: int) -> dict[str, np.ndarray]:
    """Two crossed fields, `a` and `b`, of so many values each."""
    a, b = np.meshgrid(np.arange(across, dtype=float), np.arange(across, dtype=float))
    return {"a": a.ravel(), "b": b.ravel()}


GRID = crossed(32)
LINEAR = many(GRID, 3 * GRID["a"] + GRID["b"])


@pytest.mark.medium
def test_a_page_of_a_thousand_arms_is_small_and_shows_both_ends():
    page = html.render(LINEAR, None, figures.draw(LINEAR))
    assert len(page.encode()) < 1_000_000
    text = Page(page).text
    assert "48 of 1024 arms, from both ends by test/accuracy" in text
    assert "arm 1023" in text and "arm 0" in text and "arm 512" not in text
    assert "Share of the variance of test/accuracy between 1024 arms" in text


def test_tables_have_the_arms_at_both_ends():
    arms = tables.results(LINEAR)[0].cells
    means = LINEAR.frame.set_index("arm")[METRIC]
    ranked = means.sort_values(ascending=False)
    assert len(arms) == tables.ROWS
    assert means[list(arms)].tolist() == [*ranked[:24], *ranked[-24:]]
    heading, rows = tables.first("Failures", (tables.Column("arm", tuple(map(str, range(100)))),))
    assert heading == "Failures: the first 48 of 100" and rows[0].cells[-1] == "47"


def test_parallel_coordinates_draw_so_many_lines_at_most():
    axis = parallel.parallel_coordinates(LINEAR, METRIC).axes[0]
    faint, lowest, highest = (c.get_segments() for c in axis.collections if isinstance(c, LineCollection))
    assert len(lowest) == len(highest) == 12
    assert 400 < len(faint) <= parallel.LINES
    ends = np.array([line[-1][1] for line in highest])
    assert ends.max() == 1.0 and (ends > 0.9).all()
    assert all(line[-1][1] < 0.1 for line in lowest)


def test_parallel_coordinates_draw_the_arms_that_have_the_metric():
    """Of arms of two tasks only some have a task's metric, as of `experiments/optimizers.py`."""
    few = LINEAR.frame["arm"].isin(LINEAR.frame["arm"].unique()[:7])
    result = dataclasses.replace(
        LINEAR, frame=LINEAR.frame.assign(**{METRIC: LINEAR.frame[METRIC].where(few)})
    )
    axis = parallel.parallel_coordinates(result, METRIC).axes[0]
    lines = [len(c.get_segments()) for c in axis.collections if isinstance(c, LineCollection)]
    assert lines == [1, 3, 3]


def test_shares_are_those_of_an_exact_analysis_of_variance():
    """On a whole grid: 3 a + b has 9 and 1 parts of the variance; the product of two centred fields none."""
    found = importance(LINEAR, METRIC)
    assert found is not None
    assert found.shares == pytest.approx({"a": 0.9, "b": 0.1}, abs=0.03)
    a, b = (column - column.mean() for column in GRID.values())
    both = importance(many(GRID, a * b + 5 * a), METRIC)
    assert both is not None
    parts = 25 * a.var(), (a * b).var()
    assert both.shares == pytest.approx({"a": parts[0] / sum(parts), "b": 0.0}, abs=0.05)


@pytest.mark.parametrize("what", ["noise", "together", "few"])
def test_what_the_arms_do_not_tell_is_not_told(what):
    columns = crossed(4 if what == "few" else 16)
    if what == "together":
        columns["b"] = columns["a"] * 2
    random = np.random.default_rng(0).normal(size=len(columns["a"]))
    values = random if what == "noise" else columns["a"] + columns["b"]
    assert importance(many(columns, values), METRIC) is None
