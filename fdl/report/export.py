"""A result's table in the formats of spreadsheets and papers: a row per arm, the numbers of `Result.table()`.

Nothing is bold: what is better, and by more than chance, a claim says and no table.
"""

import re
from collections.abc import Callable

from fdl import formats
from fdl.report import tables
from fdl.result import Result

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    formats.NONE: "--",
    "\N{MINUS SIGN}": "$-$",
    "±": r"$\pm$",
    **{character: f"\\{character}" for character in "{}$&#%_"},
}
"""What is written for the characters that mean something else to LaTeX."""


def as_csv(result: Result) -> str:
    """`Result.table()` as comma-separated values, to the last digit: for each metric its mean, the half-width
    of its 95 % interval as `<metric> ±`, and of how many runs as `<metric> n`."""
    return str(result.table().to_csv(index=False, lineterminator="\n"))


def as_markdown(result: Result) -> str:
    """The report's table of results as a table of GitHub's Markdown, under a line that says what it shows."""
    columns = tables.results(result, whole=True)
    escaped = lambda text: re.sub(r"([\\`*_{}\[\]<>|])", r"\\\1", " ".join(text.split()))  # noqa: E731
    rules = ["---:" if column.number else "---" for column in columns]
    lines = [[escaped(column.name) for column in columns], rules, *_rows(columns, escaped, escaped)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{escaped(tables.caption(result, whole=True))}.\n\n{table}\n"


def as_latex(result: Result) -> str:
    """The report's table of results as a `tabular` of LaTeX with the rules of the package `booktabs`; above
    it, as comments, the package and what the numbers are."""
    columns = tables.results(result, whole=True)
    heads = " & ".join(latex_text(column.name) for column in columns)
    body = [f"{' & '.join(row)} \\\\" for row in _rows(columns, latex_text, _latex_number)]
    lines = [
        f"% {tables.caption(result, whole=True)}.",
        r"% \usepackage{booktabs}",
        rf"\begin{{tabular}}{{{''.join('r' if column.number else 'l' for column in columns)}}}",
        r"\toprule",
        rf"{heads} \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def latex_text(text: str) -> str:
    """A text as LaTeX shows it, on one line."""
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))


def _latex_number(cell: str) -> str:
    """A number, or a mean and its margin, as a formula; what stands in brackets after it is text."""
    number, space, note = cell.partition(" (")
    if not re.match(r"[-−]?[\d.]", number):
        return latex_text(cell)
    formula = number.replace("\N{MINUS SIGN}", "-").replace("±", r"\pm")
    formula = re.sub(r"e\+?(-?)0*(\d+)", r" \\times 10^{\1\2}", formula)
    return f"${formula}$" + latex_text(space + note)


def _rows(
    columns: tuple[tables.Column, ...], text: Callable[[str], str], number: Callable[[str], str]
) -> list[list[str]]:
    shown = [[(number if column.number else text)(cell) for cell in column.cells] for column in columns]
    return [list(row) for row in zip(*shown, strict=True)]
