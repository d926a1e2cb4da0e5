"""The report in the terminal."""

import io

import pytest
from rich.console import Console

from fdl.report import show, tables
from fdl.result import Result
from fdl.stats import Verdict
from tests.report.examples import COMPARISON, crossed, example, lost, many, single, verdict


def shown(result: Result, verdict: Verdict | None, *, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    show(result, verdict, console)
    return console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize(
    "result", [crossed(), many(), single(), lost()], ids=["crossed", "many", "single", "lost"]
)
def test_a_row_is_a_line_that_fits(result: Result, width: int):
    printed = shown(result, verdict(), width=width).splitlines()
    assert max(map(len, printed)) <= width
    columns = tables.results(result)
    for row in range(len(columns[0].cells)):
        first = " ".join(column.cells[row] for column in columns[:1])
        assert any(line.split()[: len(first.split())] == first.split() for line in printed)
    if len(result.last()):
        assert sum(columns[-1].name in line for line in printed) == 1  # in the table, or named below it


def test_the_main_metric_is_always_there():
    printed = shown(many(), None, width=60)
    for cell in {c.name: c.cells for c in tables.results(many())}["test/accuracy"]:
        assert cell in printed


def test_everything_is_said():
    printed = shown(crossed(), verdict(), width=200)
    assert printed.startswith("Do skip connections let deep plain networks train?")
    for text in ("✓ SUPPORTED", "Skip connections add 0.609.", "Criterion: at least 0.05 better", "+0.609"):
        assert text in printed
    for column in (*tables.results(crossed()), *tables.comparisons(verdict())[1]):
        assert column.name in printed
        assert all(cell in printed for cell in column.cells)
    assert "Too wide" not in printed


@pytest.mark.parametrize(("status", "mark"), [("SUPPORTED", "✓"), ("REFUTED", "✗"), ("INCONCLUSIVE", "?")])
def test_every_status_has_a_mark_and_a_word(status: str, mark: str):
    judged = verdict()._replace(status=status)  # pyright: ignore[reportArgumentType]
    assert f"{mark} {status}" in shown(single(), judged, width=80)


def test_a_verdict_without_comparisons():
    judged = Verdict("INCONCLUSIVE", "Too few runs.", "a rate of at least 0.9", ())
    assert "Too few runs." in shown(single(), judged, width=80)


def test_one_run_an_arm_has_no_interval():
    printed = shown(single(), None, width=80)
    assert "±" not in printed
    assert "no interval" in printed


def test_what_looks_like_markup_is_printed_as_it_is():
    result = example(
        {"[red]x[/red]": {"a": 1}, "[/]:smile:": {"a": 2}}, seeds=2, meta={"question": "[bold]?[/x]"}
    )
    judged = verdict(COMPARISON._replace(arm="[b]arm[/b]"))._replace(sentence="[i]so[/i] :smile:")
    printed = shown(result, judged, width=200)
    for text in ("[red]x[/red]", "[/]:smile:", "[bold]?[/x]", "[b]arm[/b]", "[i]so[/i] :smile:"):
        assert text in printed
