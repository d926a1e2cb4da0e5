"""Effects against statsmodels' analysis of variance, and what a fraction confounds."""

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest

import fdl
from fdl.result import Result
from fdl.stats import factorial_effects

pytest.importorskip("statsmodels")
METRIC = "test/accuracy"


def of(rows: list[dict], fields: tuple[str, ...]) -> Result:
    """A result of last rows; each has the fields, a seed and a value."""
    frame = pd.DataFrame(rows).assign(step=10, status="finished")
    frame["arm"] = [" ".join(f"{name}={row[name]}" for name in fields) for row in rows]
    return Result(frame, fields, pd.DataFrame(columns=["arm", *fields, "seed", "step", "metric"]), {})


def measured(values: dict[str, tuple], seeds: int, value, *, noise: float = 0.1) -> Result:
    """Every combination of the values, with `value(**fields)` and noise."""
    dice = np.random.default_rng(0)
    rows = [
        {**dict(zip(values, one, strict=True)), "seed": seed}
        for one in itertools.product(*values.values())
        for seed in range(seeds)
    ]
    for row in rows:
        row[METRIC] = value(**{name: row[name] for name in values}) + dice.normal(0, noise)
    return of(rows, tuple(values))


def test_effects_are_those_of_statsmodels_also_where_runs_are_missing():
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    values = {"skip": (False, True), "depth": (2, 4, 8), "norm": ("none", "batch")}
    result = measured(values, 4, lambda skip, depth, norm: 0.1 * skip * depth + 0.3 * (norm == "batch"))
    frame = result.frame.drop(index=[3, 11, 30])
    result = Result(frame, result.fields, result.failures, {})
    terms = " * ".join(f"C({name}, Sum)" for name in ("skip", "depth", "norm"))
    formula = f"y ~ C(seed, Sum) + ({terms}) - C(skip, Sum):C(depth, Sum):C(norm, Sum)"
    model = ols(formula, frame.assign(y=frame[METRIC])).fit()
    expected = anova_lm(model, typ=3)
    found = factorial_effects(result, metric=METRIC)
    names = ["skip", "depth", "norm", "skip:depth", "skip:norm", "depth:norm"]
    assert [one.name for one in found.effects] == names
    for one in found.effects:
        row = expected.loc[":".join(f"C({name}, Sum)" for name in one.name.split(":"))]
        assert one.freedom == row["df"]
        assert (one.f, one.p) == pytest.approx((row["F"], row["PR(>F)"]))
    assert found.residual == pytest.approx(np.sqrt(model.mse_resid)) and found.freedom == model.df_resid


def test_estimates_are_differences_of_means():
    result = measured({"a": (0, 1), "b": (0, 1)}, 5, lambda a, b: 2 * a + 3 * b + 4 * a * b)
    found = {one.name: one for one in factorial_effects(result, metric=METRIC).effects}
    mean = result.frame.groupby(["a", "b"])[METRIC].mean()
    first = (mean[1, 0] + mean[1, 1] - mean[0, 0] - mean[0, 1]) / 2
    both = ((mean[1, 1] - mean[0, 1]) - (mean[1, 0] - mean[0, 0])) / 2
    assert found["a"].estimate == pytest.approx(first) and found["a:b"].estimate == pytest.approx(both)
    assert found["a"].low < found["a"].estimate < found["a"].high
    assert found["a"].low < 4 < found["a"].high  # 2, and half of the interaction


def test_what_a_fraction_confounds_is_named():
    @fdl.config
    class Config:
        a: int = 0
        b: int = 0
        c: int = 0
        d: int = 0

    half = fdl.fractional_factorial(Config(), fraction=2, seeds=3, **dict.fromkeys("abcd", (0, 1)))
    rows = [{**{name: getattr(t.config, name) for name in "abcd"}, "seed": t.seed} for t in half.trials]
    dice = np.random.default_rng(1)
    for row in rows:
        row[METRIC] = 5 * row["a"] * row["b"] + dice.normal(0, 0.1)
    found = factorial_effects(of(rows, tuple("abcd")), metric=METRIC)
    assert [(one.name, one.confounded) for one in found.effects] == [
        *((name, ()) for name in "abcd"),
        ("a:b", ("c:d",)),
        ("a:c", ("b:d",)),
        ("a:d", ("b:c",)),
    ]
    assert {one.name for one in found.effects if one.p_holm < 0.05} == {"a", "b", "a:b"}


@pytest.mark.medium
def test_rates_of_errors_are_held_under_the_null():
    wrong = 0
    dice = np.random.default_rng(2)
    rows = [{"a": a, "b": b, "seed": seed} for a in (0, 1) for b in (0, 1) for seed in range(5)]
    for _ in range(300):
        shared = dice.normal(size=5)  # what a seed does to all arms
        made = [{**row, METRIC: shared[row["seed"]] + dice.normal()} for row in rows]
        found = factorial_effects(of(made, ("a", "b")), metric=METRIC)
        wrong += any(one.p_holm < 0.05 for one in found.effects)
    assert wrong <= 24  # of 300 at 5 %: 24 or more by chance in 2 %


def crossed() -> Result:
    return measured({"a": (0, 1), "b": (0, 1)}, 3, lambda a, b: a + b)


def without(result: Result, **changes) -> Result:
    return dataclasses.replace(result, **changes)


FAILED = pd.DataFrame([{"arm": "a=0 b=0", "a": 0, "b": 0, "seed": 0, "step": 3, "metric": "loss"}])
BAD = {
    "a failed run": (without(crossed(), failures=FAILED), {}, "1 runs failed"),
    "an unknown field": (crossed(), {"fields": ["x"]}, "no field 'x'"),
    "a field left out": (crossed(), {"fields": ["a"]}, "b varies too"),
    "one seed": (crossed().where(seed=0), {}, "4 runs leave no error to test 4 terms against"),
    "a corner that is missing": (
        without(crossed(), frame=crossed().frame.query("a == 0 or b == 0")),
        {},
        "cannot tell a:b from others",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_has_no_effects_is_refused(case):
    result, options, expected = BAD[case]
    with pytest.raises(ValueError, match=expected):
        factorial_effects(result, metric=METRIC, **options)
