"""The tables of a report: made once, shown by the terminal and by the page."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fdl.report import formats
from fdl.result import Result, cell
from fdl.stats import Verdict

SPLITS = ("test", "validation", "train")
"""Splits, the one that tells most first."""


class Column(NamedTuple):
    """A column of a table.

    Attributes:
      name: its heading.
      cells: the text of every row.
      number: whether it holds numbers.
    """

    name: str
    cells: tuple[str, ...]
    number: bool = True


def results(result: Result) -> tuple[Column, ...]:
    """A row per arm: what sets it apart, its runs, and mean ± half-width of the 95 % interval of
    every metric at the last evaluation.

    The arms' names are left out where the columns of the fields say the same, the failures where
    there are none.
    """
    table = result.table()
    fields = [name for name in result.fields if name in table]
    columns = [] if _says_the_same(table, result.fields) else [_column("arm", table["arm"])]
    columns += [_column(name, table[name]) for name in fields]
    columns += [_column("runs", table["runs"])]
    columns += [_column("failed", table["failed"])] if table["failed"].any() else []
    for metric in ordered_metrics(result):
        pairs = zip(table[metric], table[f"{metric} ±"], strict=True)
        columns.append(Column(metric, tuple(formats.estimate(*pair) for pair in pairs)))
    return tuple(columns)


def comparisons(verdict: Verdict) -> tuple[str, tuple[Column, ...]]:
    """A heading, and a row per comparison with its numbers to the digits that the interval leaves.

    A metric or baseline that all rows share is in the heading instead of a column.
    """
    rows = verdict.comparisons
    spreads = [(row.high - row.low) / 2 for row in rows]

    def fixed(name: str, *, sign: bool = False) -> tuple[str, ...]:
        pairs = zip(rows, spreads, strict=True)
        return tuple(formats.fixed(getattr(row, name), spread, sign=sign) for row, spread in pairs)

    columns = [
        _column("arm", [row.arm for row in rows]),
        _column("baseline", [row.baseline for row in rows]),
        _column("metric", [row.metric for row in rows]),
        _column("pairs", [row.n for row in rows]),
        _column("dropped", [row.dropped for row in rows]),
        Column("arm mean", fixed("arm_mean")),
        Column("baseline mean", fixed("baseline_mean")),
        Column("difference", fixed("difference", sign=True)),
        Column("95 % interval", tuple(formats.interval(row.low, row.high) for row in rows)),
        Column("90 % interval", tuple(formats.interval(row.equivalence_low, row.equivalence_high) for row in rows)),
        Column("p", tuple(formats.p_value(row.p) for row in rows)),
        Column("p (Holm)", tuple(formats.p_value(row.p_holm) for row in rows)),
        Column("effect size", tuple(formats.number(row.effect_size, digits=3) for row in rows)),
        Column("detectable", tuple(formats.number(row.smallest_detectable, digits=2) for row in rows)),
        _column("seeds needed", [row.seeds_needed for row in rows]),
    ]
    shared = {name: values.pop() for name in ("metric", "baseline") if len(values := {getattr(row, name) for row in rows}) == 1}
    ...
