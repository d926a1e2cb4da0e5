"""What the cells of a table mean: numbers, dates, or nothing; and how each may be declared."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

Missing = Literal["refuse", "impute", "drop"]
"""What is done about missing cells."""

NA_VALUES = ("", "NA", "N/A", "NaN", "null", "None")
"""The texts, in any case, that mean that a cell is missing, where nothing else is declared."""

_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DAY = "|".join(
    (
        r"\d{4}([-/.])\d{1,2}(?:\1\d{1,2})?",
        r"\d{1,2}([-/.])\d{1,2}\2(?:\d{4}|\d{2})",
        r"\d{1,2}[-/]\d{4}",
        r"\d{4}-?w\d{2}|\d{4}[- ]?q[1-4]|q[1-4][-/ ]\d{4}",
        rf"\d{{1,2}}(?:st|nd|rd|th)?[-./ ]*{_MONTH}[-./, ]*\d{{2,4}}",
        rf"{_MONTH}[-./ ]*(?:\d{{1,2}}(?:st|nd|rd|th)?[-./, ]+)?\d{{2,4}}",
        rf"\d{{4}}[-./ ]{_MONTH}(?:[-./ ]\d{{1,2}})?",
    )
)
_CLOCK = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:\s?[ap]m)?(?:\s?(?:z|utc|[+-]\d{2}:?\d{2}))?"
_DATE = re.compile(
    rf"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,?\s+)?(?:{_DAY})(?:(?:t|,?\s)\s*{_CLOCK})?|{_CLOCK}"
)
_COMPACT_DATE = re.compile(r"(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])")
_MONEY = "$€£¥₹₽₩₺฿₫₴₦¢"
_QUANTITY = re.compile(
    rf"[-+−(<>~≤≥]*\s?(?:[A-Z]{{2,3}}\s?)?[{_MONEY}]?\s?[-+−]?"
    rf"(?:\d{{1,3}}(?:[.,'’_ \u00a0\u202f]\d{{2,3}})+(?:[.,]\d+)?|\d+(?:[.,]\d*)?|[.,]\d+)"
    rf"(?:[eEdD][-+]?\d+)?\s?([%‰{_MONEY}]|[A-Za-zµ°²³/]{{1,4}})?\)?"
)  # the last group is a unit


class Declared(NamedTuple):
    """How the columns of a table are to be read; see `fdl.data.table`."""

    categorical: Collection[str] = ()
    dates: Mapping[str, str] = {}
    converters: Mapping[str, Callable[[str], Any]] = {}
    missing: Missing | Mapping[str, Missing] = "refuse"
    na_values: frozenset[str] = frozenset(value.casefold() for value in NA_VALUES)
    decimal: str = "."
    thousands: str | None = None

    def about_missing(self, name: str) -> Missing:
        """What is done about missing cells of a column."""
        return self.missing if isinstance(self.missing, str) else self.missing.get(name, "refuse")


def missing(cells: np.ndarray, declared: Declared) -> np.ndarray:
    """Which cells of a column are missing, bool `[N]`."""
    if cells.dtype != object:
        return np.isnan(cells) if cells.dtype.kind == "f" else np.zeros(len(cells), bool)
    return np.array([cell.casefold() in declared.na_values for cell in cells], bool)


def numeric(cells: np.ndarray, declared: Declared) -> bool:
    """Whether a column is one of numbers: it has some, and at least half of what is not missing are."""
    if cells.dtype != object:
        return True
    present = cells[~missing(cells, declared)]
    found = sum(number(cell, declared) is not None for cell in present)
    return found > 0 and len(present) <= 2 * found


def number(cell: str, declared: Declared) -> float | None:
    """The number that a cell is, written as declared; None where it is none."""
    point = re.escape(declared.decimal)
    whole = r"\d+"
    if declared.thousands is not None:
        whole = rf"(?:\d{{1,3}}(?:{re.escape(declared.thousands)}\d{{3}})+|\d+)"
    if re.fullmatch(rf"[+-]?(?:{whole}(?:{point}\d*)?|{point}\d+)(?:[eE][+-]?\d+)?", cell):
        plain = cell if declared.thousands is None else cell.replace(declared.thousands, "")
        return float(plain.replace(declared.decimal, "."))
    return float(cell) if cell.casefold().lstrip("+-") in ("inf", "infinity") else None


def question(texts: Iterable[str], declared: Declared) -> str | None:
    """Why a column of texts, none of them missing, may be no categories, and how to declare what it is.

    It may be where half of its cells look like numbers in another notation or like dates, or where, of more
    than two texts, more than half are distinct, as names, keys and sentences are.
    """
    cells = list(texts)
    dated = [cell for cell in cells if _DATE.fullmatch(cell.casefold())]
    if cells and 2 * len(dated) >= len(cells):
        return (
            f"looks like dates ({dated[0]!r}); declare how they are written by `dates`, as "
            "{name: '%Y-%m-%d'}, or name it in `categorical` or `drop`"
        )
    found = [match for cell in cells if (match := _QUANTITY.fullmatch(cell))]
    units = {match[1] for match in found if match[1] and match[1] not in f"%‰{_MONEY}"}
    odd = next((m[0] for m in found if number(m[0], declared) is None), None)
    if odd is not None and 2 * len(found) >= len(cells) and len(units) <= 1:
        return f"looks like numbers ({odd!r}); {how_to_read(odd)}"
    if len(set(cells)) > max(2, len(cells) // 2):
        return (
            f"has {len(set(cells))} different texts in {len(cells)} cells, which are names or sentences "
            "and no categories; name it in `drop`, or in `categorical` if it is meant"
        )
    return None


def compact_dates(cells: np.ndarray) -> bool:
    """Whether all numbers of a column look like dates of eight digits, as 20261231."""
    if cells.dtype != object and cells.dtype.kind not in "iu":
        return False
    return len(cells) > 0 and all(_COMPACT_DATE.fullmatch(str(cell)) for cell in cells)


def how_to_read(cell: str) -> str:
    """How to declare a cell that is no number as it stands, but may be one."""
    other = "or name it in `categorical` or `drop`"
    if _DATE.fullmatch(cell.casefold()):
        return f"declare dates by `dates`, as {{name: '%Y-%m-%d'}}, {other}"
    if re.fullmatch(r"[-+]?\d[\d.,'’ \u00a0\u202f]*", cell) and not cell.isdigit():
        marks = sorted({mark for mark in cell if not mark.isdigit() and mark not in "+-"})
        return f"declare what {' and '.join(map(repr, marks))} mean by `decimal` and `thousands`, {other}"
    return (
        "if it means a missing value add it to `na_values`, if a number pass `converters`, as "
        "{name: a function from a cell to a float}, " + other
    )


def check_notation(decimal: str, thousands: str | None, na_values: Sequence[str]) -> None:
    """Raises `ValueError` for marks that cannot be told apart, or a text for several."""
    if decimal not in (".", ","):
        raise ValueError(f"decimal is {decimal!r}; expected '.' or ','")
    if thousands is not None and (len(thousands) != 1 or thousands.isalnum() or thousands in f"{decimal}+-"):
        raise ValueError(f"thousands is {thousands!r}; expected one mark other than decimal, {decimal!r}")
    if isinstance(na_values, str):
        raise ValueError(f"na_values is the text {na_values!r}; expected several texts, as ('', 'NA')")
