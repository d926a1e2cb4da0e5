"""The report in the terminal: question, table, comparisons and verdict."""

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from fdl.report import tables
from fdl.report.costs import cost_of_answer
from fdl.report.lineage import best_schedule
from fdl.report.schedule import schedule
from fdl.report.search_table import trials
from fdl.report.tables import Column
from fdl.result import Result
from fdl.stats import Verdict
from fdl.text import counted

PLAIN: Any = {"markup": False, "highlight": False, "soft_wrap": True}
"""How text that is not ours is printed: as it is."""
ICONS = {"SUPPORTED": "✓", "REFUTED": "✗", "INCONCLUSIVE": "?"}
_COLOURS = {"SUPPORTED": "green", "REFUTED": "red", "INCONCLUSIVE": "yellow"}
_LONGEST = 34
"""Characters of a name before it goes on in the next line."""


def show(result: Result, verdict: Verdict | None, console: Console) -> None:
    """Prints what was asked, what came of it and the verdict; the same numbers as on the page.

    Columns that do not fit the console's width are left out, and named.
    """
    if "question" in result.meta:
        console.print(Text(str(result.meta["question"]), style="bold"))
        console.print()
    console.print(Text(tables.caption(result), style="dim"))
    columns = tables.results(result)
    metrics = tables.ordered_metrics(result)
    console.print(
        fitted_table(
            console,
            columns,
            [*_identity(columns, result), *metrics[:1], "same as", "runs", "failed", *metrics],
        )
    )
    if "search" in result.meta:
        heading, columns = trials(result.meta["search"])
        console.print(Text(f"\n{heading}", style="dim"))
        console.print(fitted_table(console, columns, [column.name for column in columns]))
    if "schedule" in result.meta:
        told = schedule(result.meta["schedule"])
        console.print(Text(f"\n{told.heading}", style="dim"))
        console.print(fitted_table(console, told.columns, [column.name for column in told.columns]))
        for sentence in told.sentences:
            console.print(Text(sentence), soft_wrap=True)
        if found := best_schedule(result):
            heading, columns = tables.first(*found)
            console.print(Text(f"\n{heading}", style="dim"))
            console.print(fitted_table(console, columns, [column.name for column in columns]))
    if verdict is None:
        return
    if verdict.comparisons:
        heading, columns = tables.comparisons(verdict)
        console.print(Text(f"\n{heading}", style="dim"))
        first = (
            "claim",
            "arm",
            "baseline",
            "metric",
            *(["says"] if any(row.same for row in verdict.comparisons) else []),
            "difference",
            "95 % interval",
            "p (Holm)",
            "pairs",
            "effect size",
        )
        console.print(fitted_table(console, columns, first))
    for one in verdict.claims:
        console.print(Text(f"\n{one.claim.id}  {one.claim.statement}", style="bold"))
        _print_verdict(console, one.verdict)
        if one.claim.published:
            console.print(Text(f"Published: {one.claim.published}", style="dim"))
    if verdict.claims:
        told = f"of {counted(len(verdict.claims), 'claim')}, all of which it asks for"
        console.print(_mark(verdict) + Text(f"  {told}", style="not bold default"))
    else:
        _print_verdict(console, verdict)
    if cost := cost_of_answer(result, verdict):
        console.print(Text(f"Cost of the answer: {cost}", style="dim"))


def _print_verdict(console: Console, verdict: Verdict) -> None:
    console.print(_mark(verdict) + Text(f"  {verdict.sentence}", style="not bold default"))
    console.print(Text(f"Criterion: {verdict.criterion}", style="dim"))


def _mark(verdict: Verdict) -> Text:
    return Text(f"\n{ICONS[verdict.status]} {verdict.status}", style=f"bold {_COLOURS[verdict.status]}")


def _identity(columns: Sequence[Column], result: Result) -> list[str]:
    """The columns that tell the arms apart: their names or, without these, all their fields."""
    names = [column.name for column in columns]
    return ["arm"] if "arm" in names else [name for name in names if name in result.fields]


def fitted_table(console: Console, columns: Sequence[Column], first: Sequence[str]) -> Group:
    """The columns that fit the width: those named `first`, then the others, in that order."""
    names = [column.name for column in columns]
    kept: set[str] = set()
    for name in dict.fromkeys([*(name for name in first if name in names), *names]):
        widened = [column for column in columns if column.name in {*kept, name}]
        if (
            not kept
            or console.measure(_table(widened), options=console.options.update(max_width=10_000)).maximum
            <= console.width
        ):
            kept.add(name)
    left_out = [name for name in names if name not in kept]
    more = [Text(f"Too wide to show: {', '.join(left_out)}", style="dim")] if left_out else []
    return Group(_table([column for column in columns if column.name in kept]), *more)


def _table(columns: Sequence[Column]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        if column.number:
            table.add_column(Text(column.name), justify="right", no_wrap=True)
        else:
            table.add_column(Text(column.name), max_width=_LONGEST, overflow="fold")
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(Text, row))
    return table
