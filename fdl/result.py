"""Results: one tidy table, a row for every run and evaluation."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import pandas as pd

from fdl import formats, joining
from fdl.cells import cell, column, identities, identity, listed, named, texts
from fdl.choosing import choosing
from fdl.inspection.record import Inspection, joined_inspections, of_arms, without_runs
from fdl.lineage import Lineages, check_one_config, without_one_config
from fdl.margins import mean_and_margin

Better = Literal["higher", "lower"]


class Selection(NamedTuple):
    """How the arms of a result were chosen by `Result.best`.

    Attributes:
      over: the fields whose values were chosen.
      by: the metrics that chose.
      seeds: the seeds whose runs chose.
      candidates: of how many arms each was chosen, by its name.
      fixed: whether the seeds that choose were named, so that more seeds change nothing of the choice.
    """

    over: tuple[str, ...]
    by: tuple[str, ...]
    seeds: frozenset[int]
    candidates: Mapping[str, int]
    fixed: bool = True


@dataclasses.dataclass(frozen=True)
class Result:
    """What runs measured.

    Attributes:
      frame: a row per run and evaluation. Columns: `arm` (its name), the config's fields, `seed`,
        `step` (updates done), metrics as `train/loss` or `test/accuracy`, and `status` of the run:
        `"finished"`, `"stopped"` (early, by itself or by a scheduler), `"failed"` (a required metric was not
        finite), or `"running"`; and `best`, whether this state is its run's result so far, where that may be
        another than the last. Fields hold the values themselves, None too, but functions by their short name
        and tuples as text; a field whose values are of several types has the dtype object.
      fields: the names of the columns that are config fields.
      failures: a row per failed run: `arm`, the fields, `seed`, `step`, `metric`.
      meta: what else a report tells: question, plan, cost, versions, config, source.
      selection: how the arms were chosen, if `best` chose them.
      log: where experiments have `log_every`, a row per run and so many steps: the columns of `frame` but
        those of evaluations, failed runs up to where they failed; else None.
      inspections: what `inspect` showed of some of the runs, also of those by which `best` chose an arm.
      stopped: by name the arms that a scheduler stopped, with the step where. Their curves are in `frame`,
        but they have no result: `last`, `table`, `best` and comparisons leave them out.
      lineages: by name the arms that a scheduler had go on with another config, or from another arm's state.
        Each row of `frame` has the fields that were in force; `runs` and `table` tell the first and the last;
        what takes an arm for runs of one config, as `best` and comparisons, refuses them.
    """

    frame: pd.DataFrame
    fields: tuple[str, ...]
    failures: pd.DataFrame
    meta: Mapping[str, Any]
    selection: Selection | None = None
    log: pd.DataFrame | None = None
    inspections: tuple[Inspection, ...] = ()
    stopped: Mapping[str, int] = dataclasses.field(default_factory=dict)
    lineages: Lineages = dataclasses.field(default_factory=dict)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metric columns, as `test/accuracy`."""
        return tuple(name for name in self.frame.columns if "/" in name)

    @property
    def varying(self) -> tuple[str, ...]:
        """The fields in which runs differ."""
        runs = self.runs()
        return tuple(name for name in self.fields if len(set(identities(runs[name]))) > 1)

    @property
    def same(self) -> dict[str, str]:
        """By name the arms that are the same program with the same inputs as another, trained for both."""
        there = set(self.runs()["arm"])
        return {arm: of for arm, of in self.meta.get("same", {}).items() if arm in there}

    def _tables(self) -> dict[str, pd.DataFrame]:
        """The tables with rows of runs, by attribute."""
        tables = {"frame": self.frame, "failures": self.failures}
        return tables if self.log is None else {**tables, "log": self.log}

    def where(self, **fields: Any) -> "Result":
        """The runs whose columns have these values; a tuple of values in a list means any of them.

        1 means 1.0 or True only where no run has 1 itself.

        Raises:
          ValueError: an unknown column, or a value that no run has.
        """
        kept = self._tables()
        if set(fields) & set(self.fields):
            check_one_config(self.frame["arm"].unique(), self.lineages, "where(...) by a field")
        for name, value in fields.items():
            if name not in (*self.fields, "arm", "seed", "status"):
                raise ValueError(f"no column {name!r}; there are: arm, seed, {', '.join(self.fields)}")
            there = [one for table in kept.values() if name in table for one in identities(table[name])]
            items = value if isinstance(value, list) else [value]
            wanted = {named(item, there) for item in items}
            if None in wanted or not wanted:
                missing = [cell(item) for item in items if named(item, there) is None]
                shown = repr(missing[0]) if missing else "[]"
                raise ValueError(f"no run has {name}={shown}; there are: {listed(there)}")
            for key, table in kept.items():
                if name in table:
                    kept[key] = table[
                        np.array([one in wanted for one in identities(table[name])], dtype=bool)
                    ]
        after = dataclasses.replace(self, **kept)
        shown = without_runs(self.inspections, self.runs(), after.runs())
        return dataclasses.replace(after, inspections=shown)

    def __add__(self, other: "Result") -> "Result":
        """The runs of both, as of sweeps that were made one after the other. An arm of the other that has a
        config of this one's goes by this one's name, and a run that both have counts once.

        Raises:
          ValueError: other fields or metrics, one name for two configs, runs of one config that different
            experiments trained, a run whose numbers differ, or arms that `best` chose: a join would not know
            of how many.
        """
        if not isinstance(other, Result):
            return NotImplemented
        joining.check_alike(self.fields, other.fields, "fields")
        tables, others = self._tables(), other._tables()
        if len(self.frame) and len(other.frame):  # runs that all failed at once tell no metrics
            joining.check_alike(self.metrics, other.metrics, "metrics")
            joining.check_alike(tuple(tables), tuple(others), "tables")
        if self.selection or other.selection:
            raise ValueError("arms chosen by `best` cannot be joined; join the results first, then choose")
        if any((self.stopped, other.stopped, self.lineages, other.lineages)):
            raise ValueError(
                "a result in which a scheduler stopped arms or changed them cannot be joined with another; "
                "sweep all trials at once, or train what is to be joined without the scheduler"
            )
        runs = self.runs()
        names = joining.joined_names(runs, other.runs(), self.fields)
        joining.check_programs(self.meta, other.meta, set(runs["arm"]), names)
        return dataclasses.replace(
            self,
            meta=joining.joined_meta(self.meta, other.meta, set(runs["arm"]), names),
            **joining.joined_tables(runs, tables, others, names, self.fields),
            inspections=joined_inspections(self.inspections, other.inspections, names),
        )

    def runs(self) -> pd.DataFrame:
        """A row per run, failed ones too: `arm`, the fields and `seed`, all of dtype object."""
        columns = ["arm", *self.fields, "seed"]
        both = pd.concat([self.frame[columns].astype(object), self.failures[columns].astype(object)])
        both = both.drop_duplicates(["arm", "seed"], ignore_index=True)
        return without_one_config(both, self.lineages, self.fields)

    def last(self) -> pd.DataFrame:
        """The evaluation that is each run's result, a row per run that did not fail and that no scheduler
        stopped: its last one, or that of its best state where the experiment keeps that (the column
        `best`)."""
        ended = ~self.frame["arm"].isin(list(self.stopped))
        alive = self.frame[(self.frame["status"] != "failed") & ended]
        if "best" in alive:
            alive = alive[alive["best"].astype(bool)]
        return alive.sort_values("step", kind="stable").groupby(["arm", "seed"], sort=False).tail(1)

    def best(
        self,
        over: str | Sequence[str],
        *,
        by: str,
        better: Better = "higher",
        seeds: int | Iterable[int] | None = None,
    ) -> "Result":
        """Keeps, for each setting of the other fields, the value of `over` that is best on average.

        The best of many is partly the luckiest, so those seeds that chose it must not judge it. Of n
        seeds that all arms have, the first n // 2 choose and are left out of what is kept, if 5 or
        more remain. Below 9 seeds all choose and stay, and `fdl.compare` comes to no conclusion then;
        nor does it between arms that were chosen of different numbers of candidates. Where there is
        only one value to a setting, nothing is chosen and all runs stay. An arm that a scheduler stopped
        is not chosen, but counts among the candidates.

        Args:
          over: the field to choose, as `"lr"`; or several, whose values are chosen together. Those
            with the fewest failed runs go first.
          by: the metric to choose by, on validation: as `"validation/accuracy"`.
          better: whether `"higher"` or `"lower"` is better.
          seeds: the seeds that choose: how many of those that all arms have, or which. If no others
            are left, these stay.

        Raises:
          ValueError: an unknown field, metric or side, or seeds that are not there.
        """
        check_metric(self, by)
        check_better(better)
        check_one_config(self.frame["arm"].unique(), self.lineages, "best")
        over = (over,) if isinstance(over, str) else tuple(over)
        if missing := [name for name in over if name not in self.fields]:
            raise ValueError(f"no field {missing[0]!r}; there are: {', '.join(self.fields)}")
        return _select(self, over, by, better, choosing(self.runs(), seeds), seeds is not None)

    def table(self) -> pd.DataFrame:
        """A row per arm: its fields that vary, runs, failures, and for each metric of the last
        evaluation the mean and the half-width of its 95 % t-interval over seeds (`<metric> ±`), and of how
        many runs (`<metric> n`): those in which it is not missing. Arms that a scheduler stopped are left
        out."""
        first = self.runs().drop_duplicates("arm")
        first = first[~first["arm"].isin(list(self.stopped))]
        arms = first["arm"].tolist()
        last = self.last()
        failed = self.failures["arm"].value_counts()
        told: dict[str, Any] = {"arm": arms}
        told |= {name: column(first[name].tolist()) for name in self.varying}
        runs = last["arm"].value_counts()
        told |= {"runs": [int(runs.get(arm, 0)) for arm in arms]}
        told |= {"failed": [int(failed.get(arm, 0)) for arm in arms]}
        for metric in self.metrics:
            each = dict(iter(last[metric].astype(float).groupby(last["arm"].to_numpy())))
            values = [np.asarray(each.get(arm, ()), float) for arm in arms]
            means = [mean_and_margin(one) for one in values]
            told[metric], told[f"{metric} ±"] = ([pair[i] for pair in means] for i in range(2))
            told[f"{metric} n"] = [int(np.sum(~np.isnan(one))) for one in values]
        return pd.DataFrame(told)

    def _repr_html_(self) -> str:
        """What a notebook shows: a row per arm, each metric of the last evaluation as mean ± margin."""
        table = self.table()
        shown = {name: texts(table[name]) for name in ("arm", *self.varying, "runs", "failed")}
        for metric in self.metrics:
            pairs = zip(table[metric], table[f"{metric} ±"], strict=True)
            shown[metric] = [formats.estimate(*pair) for pair in pairs]
        return pd.DataFrame(shown).to_html(index=False, border=0, escape=True)


def check_metric(result: Result, metric: str) -> None:
    """Raises `ValueError`, naming those that exist, if the result has no such metric."""
    if metric not in result.metrics:
        raise ValueError(f"no metric {metric!r}; there are: {', '.join(result.metrics)}")


def check_better(better: str) -> None:
    """Raises `ValueError` unless `better` is `"higher"` or `"lower"`."""
    if better not in get_args(Better):
        raise ValueError(f"better={better!r} is neither 'higher' nor 'lower'; give one of them")


def _ranking(
    result: Result, seeds: frozenset[int], by: str, better: Better
) -> Callable[[str], tuple[int, float]]:
    """A key that sorts arms, best first: by how many runs of these seeds failed or have no finite metric,
    then by the mean of the others."""
    last = result.last()
    last = last[last["seed"].isin(seeds) & (last["status"] != "running")]
    finite = np.isfinite(last[by].astype(float))
    means = last[finite].groupby("arm")[by].mean() * (-1.0 if better == "higher" else 1.0)
    failures = result.failures[result.failures["seed"].isin(seeds)]
    lost = pd.concat([failures["arm"], last.loc[~finite, "arm"]]).value_counts()
    return lambda arm: (int(lost.get(arm, 0)), float(means.get(arm, np.inf)))


def _select(
    result: Result, over: tuple[str, ...], by: str, better: Better, choosing: frozenset[int], fixed: bool
) -> Result:
    """The arms that the seeds `choosing` put first, with their runs of the other seeds if there are any."""
    before = result.selection or Selection((), (), frozenset(), {})
    over = (*before.over, *over)  # what was chosen before belongs to the arm and sets none apart
    runs = result.runs()
    settings: dict[Any, list[str]] = {}
    for run in runs.drop_duplicates("arm").to_dict("records"):
        setting = tuple(identity(run[name]) for name in result.fields if name not in over)
        settings.setdefault(setting, []).append(run["arm"])
    if all(len(arms) == 1 for arms in settings.values()):
        return result
    rank = _ranking(result, choosing, by, better)
    counts = {
        min(whole, key=rank): sum(before.candidates.get(arm, 1) for arm in arms)
        for arms in settings.values()
        if (whole := [arm for arm in arms if arm not in result.stopped])
    }
    left = frozenset(runs["seed"]) - choosing or choosing
    kept = {
        name: table[table["arm"].isin(list(counts)) & table["seed"].isin(left)]
        for name, table in result._tables().items()
    }
    selection = Selection(over, (*before.by, by), before.seeds | choosing, counts, before.fixed and fixed)
    shown = of_arms(result.inspections, counts)
    return dataclasses.replace(result, selection=selection, inspections=shown, **kept)
