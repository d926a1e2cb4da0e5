"""A report of several claims shows each, with its statement, its own verdict and what is published."""

import pytest
from rich.console import Console

from fdl.report import figures, html, show, tables
from fdl.stats import Claim, judge_claims
from tests.report.examples import single, verdict

CLAIMS = (
    Claim("T1", "Skips <help>.", lambda _: verdict(), published="He 2016: 3 points"),
    Claim("T2", "Shuffled labels are learned.", lambda _: verdict(), control=lambda _: verdict()),
)


def told(kind: str) -> str:
    result = single()
    judged = judge_claims(result, CLAIMS)
    if kind == "page":
        return html.render(result, judged, figures.draw(result))
    console = Console(record=True, width=400)
    show(result, judged, console)
    return console.export_text()


@pytest.mark.parametrize("kind", ["page", "terminal"])
def test_each_claim_is_shown(kind: str):
    text = told(kind)
    statement = "Skips &lt;help&gt;." if kind == "page" else "Skips <help>."
    for part in (statement, "He 2016: 3 points", "Shuffled labels are learned.", "the control shows it too"):
        assert text.count(part) == 1, part
    assert text.count(f"Criterion: {verdict().criterion}") == 2
    assert text.index("SUPPORTED") < text.index("INCONCLUSIVE")  # the first claim, then the second


def test_a_comparison_has_the_id_of_its_claim():
    _, columns = tables.comparisons(judge_claims(single(), CLAIMS))
    assert {column.name: column.cells for column in columns}["claim"] == ("T1", "T2")
    assert "claim" not in [column.name for column in tables.comparisons(verdict())[1]]
