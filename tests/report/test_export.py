"""Tables for spreadsheets and papers say what `Result.table()` does."""

import io
import re

import pandas as pd
import pytest

from fdl.report import export, tables
from tests.report.examples import crossed, example, many


def test_csv_gives_the_table_back():
    table = crossed().table()
    read = pd.read_csv(io.StringIO(export.as_csv(crossed())))
    pd.testing.assert_frame_equal(read, table, check_exact=True)


@pytest.mark.parametrize("result", [crossed(), many()], ids=["crossed", "many"])
def test_markdown_and_latex_have_the_reports_cells(result):
    shown = tables.results(result)
    rows = [list(row) for row in zip(*(column.cells for column in shown), strict=True)]
    lines = export.as_markdown(result).splitlines()
    assert lines[0] == f"{tables.caption(result)}."
    cells = [line.strip("| ").replace("\\", "").split(" | ") for line in lines[2:]]
    assert cells[0] == [column.name for column in shown] and cells[2:] == rows
    latex = export.as_latex(result)
    assert r"\bfseries" not in latex and r"\textbf" not in latex
    plain = re.sub(r"\$", "", latex.split("\\midrule\n")[1].split("\\bottomrule")[0])
    found = [line.removesuffix(r" \\").split(" & ") for line in plain.splitlines()]
    assert [
        [c.replace(r"\pm", "±").replace("\\", "").replace("--", "–") for c in row] for row in found
    ] == rows


def test_names_are_escaped():
    result = example({r"50% \ a_b|c & <d>": {"k": 1}, "e": {"k": "{x}^2~#$"}}, seeds=2)
    latex, markdown = export.as_latex(result), export.as_markdown(result)
    assert r"50\% \textbackslash{} a\_b\textbar{}c \& \textless{}d\textgreater{} & " in latex
    assert r"\{x\}\textasciicircum{}2\textasciitilde{}\#\$ & " in latex
    assert r"50% \\ a\_b\|c & \<d\> | 1 |" in markdown


def test_numbers_are_formulas():
    result = example({"a": {"lr": 1e-6}, "b": {"lr": -2.0}}, seeds=1)
    latex = export.as_latex(result)
    assert r"$1 \times 10^{-6}$" in latex and "$-2$" in latex and "e-" not in latex.split("midrule")[1]


def test_runs_that_still_run_are_said():
    result = example({"a": {"lr": 1}}, seeds=3)
    result.frame.loc[result.frame["seed"] == 2, "status"] = "running"
    assert "so far: 1 run of 3 still running" in export.as_markdown(result)
