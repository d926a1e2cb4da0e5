"""The tables of a report: made once, shown by the terminal and by the page."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fdl import formats
from fdl.cells import identity, text, texts
from fdl.report.importance import Importance
from fdl.report.layout import extremes
from fdl.result import Result
from fdl.stats import Comparison, Verdict
from fdl.stats.power import MOST
from fdl.text import counted, no_effects

ROWS = 48
"""Rows of a table: of more arms, those at both ends; of what is not ranked, the first."""
SPLITS = ("test", "validation", "train")
"""The splits, the one that tells most first."""


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

    @property
    def kind(self) -> str:
        """How the page lays it out: `number`, `long` where a text needs more than a line, or neither."""
        if self.number:
            return "number"
        return "long" if max(map(len, self.cells), default=0) > 28 else ""


def results(result: Result, *, whole: bool = False) -> tuple[Column, ...]:
    """A row per arm: what sets it apart, its runs, and for every metric at the last evaluation the
    mean and the half-width of its 95 % interval over seeds.

    The arms' names are left out where the fields' columns say the same, failures where there are none.
    Of more than 48 arms, those that `shown_arms` names, from the highest mean; all if the `whole` table is
    asked for.
    """
    table = result.table()
    if len(table) > ROWS and not whole:
        table = table.set_index("arm", drop=False).loc[shown_arms(result)].reset_index(drop=True)
    fields = result.varying
    columns = [] if _says_the_same(table, fields) else [column_of("arm", table["arm"])]
    columns += [column_of(name, table[name]) for name in fields]
    if same := result.same:
        columns += [column_of("same as", [same.get(arm, "") for arm in table["arm"]])]
    columns += [column_of("runs", table["runs"])]
    columns += [column_of("failed", table["failed"])] if table["failed"].any() else []
    for metric in ordered_metrics(result):
        shown = map(formats.estimate, table[metric], table[f"{metric} ±"])
        missing = table["runs"] - table[f"{metric} n"]
        notes = (f" ({lost} missing)" if lost else "" for lost in missing)
        columns.append(Column(metric, tuple(cell + note for cell, note in zip(shown, notes, strict=True))))
    return tuple(columns)


def caption(result: Result, *, whole: bool = False) -> str:
    """What the numbers in `results` are."""
    last = result.last()
    stopped = counted(len(result.stopped), "arm")
    if last.empty:
        none = f"No arm has come to its end: the scheduler stopped {stopped}"
        return none if result.stopped else "No run came to an evaluation without failing"
    best = result.meta.get("best")
    which = f"Evaluation of each run's best state by {best}" if best else "Last evaluation"
    if best and "test/" in best:
        which += ", which flatters what is measured on test"
    if "search" in result.meta:
        which += ", from seeds that chose nothing"
    if result.stopped:
        which += f", without {stopped} that the scheduler stopped"
    if changed := set(result.lineages) & set(last["arm"]):
        which += f", {counted(len(changed), 'arm')} changed by the scheduler, on these seeds"
    if running := int((last["status"] == "running").sum()):
        which += f", so far: {counted(running, 'run')} of {len(last)} still running"
    several = ": mean ± half-width of the 95 % interval over seeds"
    which += several if last.duplicated("arm").any() else "; one run an arm leaves no interval"
    count = result.runs()["arm"].nunique()
    if count > ROWS and not whole:
        ends = f"{len(shown_arms(result))} of {count} arms, from both ends by {main_metrics(result)[0]}"
        which += f". {ends}: results.parquet has all"
    return ". ".join([which, *no_effects(result.same)])


def shown_arms(result: Result) -> list[str]:
    """The arms that have a row in a table: all or, of more than 48, the 24 with the highest and the 24 with
    the lowest mean of the first main metric."""
    arms, metrics = result.runs()["arm"].drop_duplicates().tolist(), main_metrics(result)
    if len(arms) <= ROWS:
        return arms
    return (extremes(result, metrics[0], ROWS) if metrics else []) or arms[:ROWS]


def first(heading: str, columns: tuple[Column, ...]) -> tuple[str, tuple[Column, ...]]:
    """A table's first rows, of which its heading tells."""
    count = len(columns[0].cells) if columns else 0
    if count <= ROWS:
        return heading, columns
    return f"{heading}: the first {ROWS} of {count}", tuple(c._replace(cells=c.cells[:ROWS]) for c in columns)


def shares(found: Importance) -> tuple[str, tuple[Column, ...]]:
    """Which fields set the arms apart: a heading, and a row per field, the one that tells most first."""
    order = sorted(found.shares, key=lambda field: -found.shares[field])
    heading = f"Share of the variance of {found.metric} between {found.arms} arms that is each field's alone"
    heading += f" (the forest foretells {found.foretold:.0%} of it in arms that it has not seen)"
    told = [f"{found.shares[field]:.2f}" for field in order]
    return heading, (column_of("field", order), Column("share", tuple(told)))


def ordered_metrics(result: Result) -> tuple[str, ...]:
    """All metrics: those on the test split first, then validation, then training."""
    split = [name.partition("/")[0] for name in result.metrics]
    order = sorted(range(len(split)), key=lambda i: SPLITS.index(split[i]) if split[i] in SPLITS else 3)
    return tuple(result.metrics[i] for i in order)


def main_metrics(result: Result) -> tuple[str, ...]:
    """Each measure on one split: test where there is one, else validation, else what there is."""
    chosen: dict[str, str] = {}
    for metric in ordered_metrics(result):
        chosen.setdefault(metric.partition("/")[2], metric)
    held_out = tuple(metric for metric in chosen.values() if not metric.startswith("train/"))
    return held_out or tuple(chosen.values())


def logged_metrics(result: Result) -> tuple[str, ...]:
    """The metrics that are logged between evaluations."""
    return () if result.log is None else tuple(name for name in result.log.columns if "/" in name)


def curve_rows(result: Result, metric: str) -> pd.DataFrame:
    """The table that the curve of a metric is drawn from: the log where that has it, for it is the finer."""
    return result.log if result.log is not None and metric in result.log else result.frame


def comparisons(verdict: Verdict) -> tuple[str, tuple[Column, ...]]:
    """A heading, and a row per comparison with its numbers to the digits that the interval leaves.

    A metric or a baseline that all rows share stands in the heading instead. Of more than 48 comparisons, the
    24 with the largest and the 24 with the smallest difference; each with its claim, where there are several.
    """
    claimed = [(one.claim.id, row) for one in verdict.claims for row in one.verdict.comparisons]
    claimed = claimed or [("", row) for row in verdict.comparisons]
    if len(claimed) > ROWS:
        ranked = sorted(claimed, key=lambda one: -one[1].difference if one[1].n else 0.0)
        claimed = [*ranked[: ROWS // 2], *ranked[-ROWS // 2 :]]
    rows = [row for _, row in claimed]
    needed = "seeds needed" if all(row.by == "seed" for row in rows) else "pairs needed"

    def each(show: Callable[[Comparison, float], str]) -> tuple[str, ...]:
        return tuple(show(row, (row.high - row.low) / 2) for row in rows)

    columns = [
        column_of("claim", [name for name, _ in claimed]),
        column_of("arm", [row.arm for row in rows]),
        column_of("baseline", [row.baseline for row in rows]),
        column_of("metric", [row.metric for row in rows]),
        column_of("says", list(map(_says, rows))),  # early: where a wide table is cut, not here
        column_of("pairs", [row.n for row in rows]),
        column_of("dropped", [row.dropped for row in rows]),
        column_of("failed", [row.failed for row in rows]),
        column_of("baseline failed", [row.baseline_failed for row in rows]),
        Column("arm mean", each(lambda row, spread: formats.fixed(row.arm_mean, spread))),
        Column("baseline mean", each(lambda row, spread: formats.fixed(row.baseline_mean, spread))),
        Column("difference", each(lambda row, spread: formats.fixed(row.difference, spread, sign=True))),
        Column("95 % interval", each(lambda row, spread: formats.interval(row.low, row.high, spread))),
        Column(
            "90 % interval", each(lambda r, s: formats.interval(r.equivalence_low, r.equivalence_high, s))
        ),
        Column("p", each(lambda row, _: formats.p_value(row.p))),
        Column("p (Holm)", each(lambda row, _: formats.p_value(row.p_holm))),
        Column("effect size", each(lambda row, _: formats.number(row.effect_size, digits=3))),
        Column("detectable", each(lambda row, _: formats.number(row.smallest_detectable, digits=2))),
        Column(needed, each(lambda row, _: f"{'≥ ' * (row.seeds_needed >= MOST)}{row.seeds_needed}")),
    ]
    shared = {c.name: c.cells[0] for c in columns[2:4] if len(set(c.cells)) == 1}
    left_out = {*shared, *(["says"] if len(rows) == 1 else []), *([] if verdict.claims else ["claim"])}
    counts = ("dropped", "failed", "baseline failed")
    if all(row.anytime for row in rows):
        left_out |= {"detectable", needed}  # of a number of pairs that is fixed before
    left_out |= {name for name in counts if not any(getattr(row, name.replace(" ", "_")) for row in rows)}
    against = f" against {shared['baseline']}" if "baseline" in shared else ""
    heading = f"Differences in {shared.get('metric', 'several metrics')}{against}"
    if len(rows) < len(verdict.comparisons):
        heading += f": {len(rows)} of {len(verdict.comparisons)}, from both ends"
    return heading, tuple(column for column in columns if column.name not in left_out)


def pairing(verdict: Verdict) -> str:
    """What the pairs in `comparisons` are, in sentences."""
    told = {
        "seed": "Runs are paired by seed.",
        None: "Runs that nothing pairs are put side by side in the order of their seeds.",
    }
    each = dict.fromkeys(one.by for one in verdict.comparisons)
    return " ".join(told.get(by, f"A pair is a value of {by}, of means over seeds.") for by in each)


def failures(result: Result) -> tuple[Column, ...]:
    """A row per failed run: which, when, and the metric that was not finite."""
    return tuple(column_of(name, result.failures[name]) for name in ("arm", "seed", "step", "metric"))


def programs(rows: Sequence[Mapping[str, Any]]) -> tuple[Column, ...]:
    """A row per compiled program: its arms, how it ran and what it cost."""

    def measured(key: str, show: Callable[[Any], str]) -> tuple[str, ...]:
        return tuple(formats.NONE if row.get(key) is None else show(row[key]) for row in rows)

    columns = (
        Column("arms", measured("arms", _few), number=False),
        Column("members", measured("members", text)),
        Column("steps", measured("steps", text)),
        Column("plan", measured("plan", text), number=False),
        Column("reason", measured("reason", text), number=False),
        Column("compile", measured("compile_seconds", formats.duration)),
        Column("train", measured("train_seconds", formats.duration)),
        Column("members/s", measured("members_per_second", lambda value: formats.number(value, digits=3))),
        Column("memory", measured("memory_bytes", formats.memory)),
    )
    return tuple(column for column in columns if set(column.cells) - {formats.NONE})


def shared_config(configs: Mapping[str, Mapping[str, Any]]) -> tuple[Column, ...]:
    """The fields in which all arms agree, and their values."""
    first, *rest = configs.values() or [{}]
    same = {
        name: value
        for name, value in first.items()
        if all(name in other and identity(other[name]) == identity(value) for other in rest)
    }
    return column_of("field", same), column_of("value", same.values(), number=False)


def arm_configs(configs: Mapping[str, Mapping[str, Any]], shown: Iterable[str]) -> tuple[Column, ...]:
    """A row per arm, of more than 48 for each of `shown`, with the fields in which arms differ; no column
    where they agree in all."""
    same = set(shared_config(configs)[0].cells)
    names = dict.fromkeys(name for config in configs.values() for name in config if name not in same)
    rows = configs if len(configs) <= ROWS else {arm: configs[arm] for arm in shown if arm in configs}
    columns = [column_of(name, [config.get(name) for config in rows.values()]) for name in names]
    return (column_of("arm", rows), *columns) if columns else ()


def _says(one: Comparison) -> str:
    return "no effect" if one.same else one.status.lower()


def column_of(name: str, values: Iterable[Any], *, number: bool | None = None) -> Column:
    """A column of values as texts; it holds numbers if all that is there are, unless `number` says so."""
    values = list(values)
    kinds = {isinstance(v, int | float | np.number) and not isinstance(v, bool) for v in values}
    return Column(name, tuple(texts(values)), number=kinds == {True} if number is None else number)


def _says_the_same(table: pd.DataFrame, fields: Sequence[str]) -> bool:
    """Whether the names of the arms are nothing but `field=value` of the fields shown."""
    if not fields:
        return False
    shown = zip(*(texts(table[field]) for field in fields), strict=True)
    for arm, values in zip(table["arm"], shown, strict=True):
        rest = str(arm)
        for field, value in zip(fields, values, strict=True):
            rest = rest.replace(f"{field}={value}", "", 1)
        if any(character.isalnum() for character in rest):
            return False
    return True


def _few(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} to {names[-1]} ({len(names)} arms)"
