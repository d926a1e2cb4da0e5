"""Main effects and interactions of a factorial design, by analysis of variance."""

import importlib.util
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fdl.arguments import Count, checked
from fdl.cells import identities
from fdl.result import Result, check_metric
from fdl.stats.inference import holm
from fdl.text import no_effects


class Effect(NamedTuple):
    """The effect of a field, or of several together.

    Attributes:
      name: of the fields, as `"skip:norm"`.
      estimate: of two-valued fields the mean difference that going from the first value to the second makes;
        of an interaction half the difference of these differences. NaN where a field has more values.
      low: lower end of its 95 % t-interval.
      high: upper end.
      freedom: degrees of freedom.
      f: the F statistic.
      p: of no effect, by the F test.
      p_holm: `p` adjusted for all effects of the table.
      share: of the sum of squares between arms and around them, seeds left out (partial eta squared).
      confounded: the effects that this design cannot tell from it: what is told is of all together.
    """

    name: str
    estimate: float
    low: float
    high: float
    freedom: int
    f: float
    p: float
    p_holm: float
    share: float
    confounded: tuple[str, ...]


class Effects(NamedTuple):
    """The effects of a design.

    Attributes:
      metric: of what.
      effects: main effects first.
      residual: the standard deviation that is left around the model.
      freedom: its degrees of freedom.
    """

    metric: str
    effects: tuple[Effect, ...]
    residual: float
    freedom: int

    def table(self) -> pd.DataFrame:
        """A row per effect, a column per field of `Effect`."""
        return pd.DataFrame(self.effects)


@checked
def factorial_effects(
    result: Result, *, metric: str, fields: Sequence[str] | None = None, order: Count = 2
) -> Effects:
    """Main effects and interactions of fields on the last value of a metric.

    A linear model with a term for each field, for each set of up to `order` of them, and for each seed, which
    the arms share; each term is tested against the model without it (type III sums of squares; Montgomery
    2017, Design and Analysis of Experiments, ch. 5 and 8). The tests and intervals are those of normal errors
    of one variance; `fdl.compare` and `fdl.difference_in_differences` rest on less. In a fraction of a design
    (`fdl.fractional_factorial`) terms are confounded: such are one row, which names them all. Interactions of
    more than `order` fields are taken to be none.

    Args:
      result: the runs, as of `fdl.grid` or `fdl.fractional_factorial` with two seeds or more.
      metric: as `"test/accuracy"`.
      fields: those that vary, if not given.
      order: how many fields an interaction has at most.

    Raises:
      ValueError: an unknown metric or field, a run that failed, still runs or was stopped or chosen, an arm
        that had no effect (`Result.same`), terms that this design confounds in part, or too few runs to leave
        an error.

    Example:
      >>> import fdl, numpy as np, pandas as pd
      >>> noise = np.random.default_rng(4).normal(0, 0.01, 16)
      >>> rows = [(s, n, seed) for s in (0, 1) for n in (0, 1) for seed in range(4)]
      >>> frame = pd.DataFrame(rows, columns=["skip", "norm", "seed"]).assign(step=10, status="finished")
      >>> frame["arm"] = [f"skip={s} norm={n}" for s, n, _ in rows]
      >>> frame["test/accuracy"] = 0.7 + 0.1 * frame["skip"] + noise
      >>> failures = pd.DataFrame(columns=["arm", "skip", "norm", "seed", "step", "metric"])
      >>> result = fdl.Result(frame, ("skip", "norm"), failures, {})  # as fdl.sweep gives it
      >>> found = fdl.factorial_effects(result, metric="test/accuracy")
      >>> found.effects[0].low < 0.1 < found.effects[0].high
      True
      >>> [(one.name, one.p_holm < 0.05) for one in found.effects]
      [('skip', True), ('norm', False), ('skip:norm', False)]
    """
    if importlib.util.find_spec("statsmodels") is None:
        raise ValueError("factorial_effects needs the extra 'embedded': pip install fdl[embedded]")
    import statsmodels.api as sm

    last = _runs(result, metric)
    names = _fields(result, fields)
    seeds = _contrasts(last["seed"])
    terms = _terms({name: _contrasts(last[name]) for name in names}, order)
    kept, confounded = _told_apart(np.column_stack([np.ones(len(last)), seeds]), terms)
    design = np.column_stack([np.ones(len(last)), seeds, *(terms[name] for name in kept)])
    model = sm.OLS(last[metric].to_numpy(float), design).fit()
    if model.df_resid < 1:
        raise ValueError(
            f"{len(last)} runs leave no error to test {design.shape[1]} terms against; run more seeds, or "
            "give a lower order"
        )
    found, start = [], 1 + seeds.shape[1]
    for name in kept:
        found.append(_effect(model, name, slice(start, start + terms[name].shape[1]), confounded[name]))
        start += terms[name].shape[1]
    adjusted = holm([one.p for one in found])
    effects = tuple(one._replace(p_holm=p) for one, p in zip(found, adjusted, strict=True))
    return Effects(metric, effects, float(np.sqrt(model.mse_resid)), int(model.df_resid))


def _runs(result: Result, metric: str) -> pd.DataFrame:
    """The last value of every run; raises `ValueError` where any is not there."""
    check_metric(result, metric)
    if result.selection or result.stopped or result.lineages:
        raise ValueError(
            "effects are of all arms of a design; give a result of which none were chosen, stopped or changed"
        )
    arms, of = set(result.runs()["arm"]), result.same
    if len({of.get(arm, arm) for arm in arms}) < len(arms):
        raise ValueError(
            f"{no_effects(of)[0]}: their runs are one, and would count twice; leave one value of that field "
            "by result.where(...)"
        )
    last = result.last()
    if len(result.failures):
        raise ValueError(
            f"{len(result.failures)} runs failed: a mean of the others is no effect; leave these values out "
            "by result.where(...), or compare by fdl.compare(failures=...)"
        )
    if (last["status"] == "running").any() or not np.isfinite(last[metric].astype(float)).all():
        raise ValueError(f"not every run has ended with a finite {metric}; wait, or leave those out")
    return last


def _fields(result: Result, fields: Sequence[str] | None) -> list[str]:
    names = list(result.varying if fields is None else fields)
    if unknown := [name for name in names if name not in result.fields]:
        raise ValueError(f"no field {unknown[0]!r}; there are: {', '.join(result.fields)}")
    if left := [name for name in result.varying if name not in names]:
        raise ValueError(
            f"{left[0]} varies too; name it among the fields, or choose one value by result.where"
        )
    if not names:
        raise ValueError("no field varies; effects are of fields with two values or more")
    return names


def _contrasts(column: pd.Series) -> np.ndarray:
    """Sum-to-zero contrasts `[n, values - 1]`: -1 for the first value; of two the second is 1."""
    there = identities(column)
    values = list(dict.fromkeys(there))
    places = np.array([values.index(one) for one in there])
    return np.eye(len(values))[places][:, 1:] - (places == 0)[:, None]


def _terms(contrasts: dict[str, np.ndarray], order: int) -> dict[str, np.ndarray]:
    """Columns of each term: products of the contrasts of its fields."""
    terms: dict[str, np.ndarray] = {}
    for size in range(1, order + 1):
        for names in itertools.combinations(contrasts, size):
            columns = contrasts[names[0]]
            for name in names[1:]:
                columns = (columns[:, :, None] * contrasts[name][:, None, :]).reshape(len(columns), -1)
            terms[":".join(names)] = columns
    return terms


def _told_apart(
    first: np.ndarray, terms: dict[str, np.ndarray]
) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """The terms that the design tells from those before them, and with which others each is confounded.

    Raises:
      ValueError: one is confounded in part, with several, or with the seeds or the mean.
    """
    design, kept, confounded = first, [], {}
    for name, columns in terms.items():
        rank = np.linalg.matrix_rank(np.column_stack([design, columns])) - design.shape[1]
        if rank == columns.shape[1]:
            design = np.column_stack([design, columns])
            kept.append(name)
            confounded[name] = ()
            continue
        same = [one for one in kept if _spans_the_same(terms[one], columns)]
        if rank or not same:
            raise ValueError(
                f"this design cannot tell {name} from others, and not as one; run all combinations "
                "(fdl.grid) or a regular fraction (fdl.fractional_factorial), all with the same seeds, or "
                "give order=1"
            )
        confounded[same[0]] += (name,)
    return kept, confounded


def _spans_the_same(one: np.ndarray, other: np.ndarray) -> bool:
    both = np.linalg.matrix_rank(np.column_stack([one, other]))
    return one.shape == other.shape and both == np.linalg.matrix_rank(one) == one.shape[1]


def _effect(model: Any, name: str, columns: slice, confounded: tuple[str, ...]) -> Effect:
    """One term of a fitted model. A coefficient of a two-valued term is half of what it changes."""
    rows = np.eye(len(model.params))[columns]
    test = model.f_test(rows)
    f, freedom = float(np.squeeze(test.fvalue)), len(rows)
    explained = f * freedom
    single = freedom == 1
    estimate = 2 * model.params[columns.start] if single else np.nan
    low, high = 2 * model.conf_int()[columns.start] if single else (np.nan, np.nan)
    return Effect(
        name=name,
        estimate=float(estimate),
        low=float(low),
        high=float(high),
        freedom=freedom,
        f=f,
        p=float(test.pvalue),
        p_holm=float(test.pvalue),
        share=explained / (explained + model.df_resid),
        confounded=confounded,
    )
