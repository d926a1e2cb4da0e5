"""Results select and choose by the values themselves, and the seeds that chose do not judge."""

import dataclasses
import xml.etree.ElementTree
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fdl import formats
from fdl.cells import cell, column, identities, text, texts
from fdl.choosing import JUDGES
from fdl.report import tables
from fdl.result import Result
from fdl.stats import compare, compare_rates
from fdl.stats.criterion import LEAST

METRIC, BY = "test/accuracy", "validation/accuracy"
MIXED = (None, 1, 1.0, True, "1", "None", 2)


def make(
    arms: Sequence[Mapping[str, Any]],
    values: np.ndarray,
    *,
    failed: Sequence[tuple[int, int]] = (),
    by: np.ndarray | None = None,
) -> Result:
    """A result of arms with these fields, `METRIC` `[arms, seeds]` and `BY` (the same if not given)."""
    runs = [(arm, seed) for arm in range(len(arms)) for seed in range(values.shape[1])]

    def rows(some: Sequence[tuple[int, int]]) -> dict[str, Any]:
        fields = {name: column([arms[arm][name] for arm, _ in some]) for name in arms[0]}
        return {"arm": [f"arm {arm}" for arm, _ in some], **fields, "seed": [seed for _, seed in some]}

    alive = [run for run in runs if run not in failed]
    measured = {METRIC: [values[run] for run in alive]}
    measured[BY] = [(values if by is None else by)[run] for run in alive]
    frame = pd.DataFrame({**rows(alive), "step": 10, **measured, "status": "finished"})
    lost = pd.DataFrame({**rows(failed), "step": 5, "metric": METRIC})
    return Result(frame, tuple(arms[0]), lost, {})


def levels(values: Sequence[Any], means: Sequence[float], seeds: int = 10) -> Result:
    """Arms that differ in `x` alone, each with its mean and the same noise of the seeds."""
    noise = 0.01 * np.random.default_rng(0).normal(size=(len(values), seeds))
    return make([{"x": value} for value in values], np.asarray(means)[:, None] + noise)


def held(result: Result, field: str = "x") -> list[Any]:
    return list(dict.fromkeys(identities(result.runs()[field])))


@pytest.mark.parametrize(("means", "best"), [((0.9, 0.7, 0.5), None), ((0.5, 0.9, 0.7), 1.0)])
def test_none_is_chosen_where_it_is_best(means, best):
    result = levels((None, 1.0, 5.0), means)
    assert held(result.best("x", by=BY)) == identities([best])
    assert held(result.best("x", by=BY, better="lower")) != identities([best])
    with pytest.raises(ValueError, match="better='max' is neither 'higher' nor 'lower'"):
        result.best("x", by=BY, better="max")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("place", range(len(MIXED)))
def test_values_of_several_types_are_arms_of_their_own(place):
    value, other = MIXED[place], MIXED[place - 1]
    result = levels(MIXED, range(len(MIXED)))
    assert held(result) == identities(MIXED) and len(set(identities(MIXED))) == len(MIXED)
    assert held(result.where(x=value)) == identities([value])
    both = result.where(x=[value, other])
    assert set(held(both)) == set(identities([value, other]))
    compared = compare(both, metric=METRIC, arms="x", baseline=value).comparisons[0]
    assert (compared.arm, compared.baseline) == (f"x={other}", f"x={value}")
    assert compared.baseline_mean == pytest.approx(place, abs=0.1)


def test_whole_numbers_beside_none_stay_whole():
    result = levels((None, 3), (0.1, 0.9))
    assert [value for _, value in held(result)] == [None, 3]
    assert result.table()["x"].tolist() == [None, 3]
    shown = {one.name: one.cells for one in tables.results(result)}
    assert shown["x"] == ("None", "3")
    assert compare(result, metric=METRIC, arms="x").comparisons[0].arm == "x=3"
    assert result.where(x=3.0).frame["arm"].unique().tolist() == ["arm 1"], "equal, and there is no 3.0"


def test_the_first_arm_is_the_baseline_unless_one_is_given():
    result = levels((1.0, None), (0.5, 0.6))
    assert compare(result, metric=METRIC, arms="x").comparisons[0].baseline == "x=1.0"
    assert compare(result, metric=METRIC, arms="x", baseline=None).comparisons[0].baseline == "x=None"
    with pytest.raises(ValueError, match=r"no arm x=2 as baseline; there are: 1\.0, None"):
        compare(result, metric=METRIC, arms="x", baseline=2)


@pytest.mark.parametrize("wanted", [7, [None, 7], []])
def test_a_value_that_no_run_has_is_refused(wanted):
    with pytest.raises(ValueError, match=r"no run has x=.*there are: 1\.0, None"):
        levels((None, 1.0), (0.5, 0.6)).where(x=wanted)


def test_what_pandas_made_of_none_is_none():
    result = levels((None, 1.0), (0.9, 0.1))
    made = dataclasses.replace(result, frame=result.frame.assign(x=result.frame["x"].astype(float)))
    assert held(made) == identities([None, 1.0])
    assert held(made.where(x=None)) == held(made.best("x", by=BY)) == identities([None])


def test_an_arm_whose_runs_all_failed_varies_too():
    result = make([{"x": 1}, {"x": None}], np.ones((2, 2)), failed=[(1, 0), (1, 1)])
    assert result.varying == ("x",)
    assert result.table()["x"].tolist() == [1, None] and result.table()["failed"].tolist() == [0, 2]


def test_texts_of_different_values_differ():
    assert texts([0.1, 3e-5, 2, None, "a"]) == ["0.1", "3e-05", "2", "None", "a"]
    assert texts(MIXED) == ["None", "1", "1.0", "True", "'1'", "'None'", "2"]
    assert texts([0.1, 0.10000000001]) == ["0.1", "0.10000000001"]
    assert text(np.float64(0.25)) == "0.25" and cell((np.tanh, 1)) == "('tanh', 1)"


# Which seeds choose, and which judge.


def test_the_first_half_of_the_seeds_chooses_and_the_other_judges():
    validation, test = np.zeros((2, 10)), np.arange(20.0).reshape(2, 10)
    validation[0, :5], validation[1, 5:] = 1, 9  # by the later seeds the other would be chosen
    best = make([{"x": 1}, {"x": 2}], test, by=validation).best("x", by=BY)
    assert held(best) == identities([1]) and best.frame["seed"].tolist() == [5, 6, 7, 8, 9]
    assert best.table()[METRIC].tolist() == [7.0], "the mean of the seeds that judge"
    assert best.selection is not None
    assert (best.selection.seeds, best.selection.candidates) == (frozenset(range(5)), {"arm 0": 2})


@pytest.mark.parametrize(
    ("seeds", "given", "choosing", "left"),
    [
        (9, None, range(4), range(4, 9)),
        (8, None, range(8), range(8)),
        (8, 2, range(2), range(2, 8)),
        (8, [5, 6], [5, 6], [0, 1, 2, 3, 4, 7]),
        (8, 8, range(8), range(8)),
        (1, None, [0], [0]),
    ],
)
def test_seeds_that_choose(seeds, given, choosing, left):
    best = levels((1, 2), (0.1, 0.9), seeds).best("x", by=BY, seeds=given)
    assert best.selection is not None and best.selection.seeds == frozenset(choosing)
    assert best.frame["seed"].tolist() == list(left)
    assert JUDGES == LEAST


@pytest.mark.parametrize("given", [0, 9, [8], []])
def test_seeds_that_are_not_there_are_refused(given):
    with pytest.raises(ValueError, match="are to choose"):
        levels((1, 2), (0.1, 0.9), 8).best("x", by=BY, seeds=given)


@pytest.mark.parametrize("given", [2.0, True])
def test_seeds_of_another_kind_are_refused(given):
    with pytest.raises(ValueError, match="expected a whole number, or a list of seeds"):
        levels((1, 2), (0.1, 0.9), 8).best("x", by=BY, seeds=given)


def test_only_seeds_that_all_arms_have_choose():
    result = levels((1, 2), (0.1, 0.9), 20)
    fewer = (result.frame["arm"] == "arm 0") & (result.frame["seed"] % 2 == 0)
    best = dataclasses.replace(result, frame=result.frame[~fewer]).best("x", by=BY)
    assert best.selection is not None and best.selection.seeds == frozenset((1, 3, 5, 7, 9))


def test_the_fewest_failures_go_first_and_a_setting_never_disappears():
    arms = [{"x": x, "opt": opt} for opt in ("a", "b") for x in (1, 2, 3)]
    values = np.tile([[1.0], [2.0], [3.0]], (2, 10))
    failed = [(1, 0), (2, 0), (2, 1), *((arm, seed) for arm in (3, 4, 5) for seed in range(10))]
    best = make(arms, values, failed=failed).best("x", by=BY)
    assert best.runs()["arm"].unique().tolist() == ["arm 0", "arm 3"]
    assert len(best.failures) == 5, "those of the seeds that judge"
    some = make(arms[:3], values[:3], failed=[(0, 0), (0, 1), (1, 0), (2, 0)]).best("x", by=BY)
    assert some.runs()["arm"].unique().tolist() == ["arm 2"], "one failure each: the mean decides"


def test_a_run_without_a_finite_metric_counts_as_lost():
    values = np.array([[0.1] * 10, [0.9] * 9 + [np.nan]])
    assert held(make([{"x": 1}, {"x": 2}], values).best("x", by=BY, seeds=10)) == identities([1])
    assert held(make([{"x": 1}, {"x": 2}], values).best("x", by=BY, seeds=5)) == identities([2])


def test_several_fields_are_chosen_together_and_nothing_where_there_is_one_value():
    arms = [{"x": x, "y": y, "z": 0} for x in (1, 2) for y in (None, 3)]
    result = make(arms, np.tile(np.array([[0.3], [0.1], [0.2], [0.9]]), 10))
    best = result.best(("x", "y"), by=BY)
    assert best.runs()["arm"].unique().tolist() == ["arm 3"]
    assert best.selection is not None and best.selection.candidates == {"arm 3": 4}
    assert result.best("z", by=BY) is result
    twice = result.best("x", by=BY).best("y", by=BY, seeds=2)
    assert twice.selection is not None and twice.selection.candidates == {"arm 3": 4}
    assert twice.selection.seeds == frozenset(range(7)) and twice.selection.over == ("x", "y")


# What a verdict makes of it.


def tuned(candidates: tuple[int, int], *, seeds: int, gain: float = 1.0) -> Result:
    """Two optimizers, the second better by `gain`, with so many learning rates each."""
    arms = [{"opt": opt, "lr": lr} for opt in (0, 1) for lr in range(candidates[opt])]
    noise = 0.01 * np.random.default_rng(1).normal(size=(len(arms), seeds))
    return make(arms, np.array([gain * arm["opt"] for arm in arms])[:, None] + noise)


@pytest.mark.parametrize(
    ("candidates", "seeds", "status", "words"),
    [
        ((5, 5), 16, "SUPPORTED", "lr was chosen by validation/accuracy on 8 other seeds, of 5 candidates"),
        ((5, 5), 8, "INCONCLUSIVE", "on 8 of the seeds that judge.*from 9 seeds on"),
        ((1, 20), 16, "INCONCLUSIVE", "of 20 candidates for opt=1 but of 1 for opt=0; give each arm as many"),
        ((20, 1), 16, "INCONCLUSIVE", "of 20 candidates for opt=0 but of 1 for opt=1"),
        ((1, 1), 8, "SUPPORTED", "pairs"),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_verdict_says_how_arms_were_chosen(candidates, seeds, status, words, sign):
    best = tuned(candidates, seeds=seeds, gain=sign).best("lr", by=BY)
    compared = compare(best, metric=METRIC, arms="opt", baseline=0)
    expected = "REFUTED" if status == "SUPPORTED" and sign < 0 else status
    assert compared.verdict.status == compared.comparisons[0].status == expected
    assert pd.Series([compared.verdict.sentence]).str.contains(words, regex=True).all()


@pytest.mark.parametrize(("choosing", "status"), [(5, "SUPPORTED"), (45, "INCONCLUSIVE")])
def test_rates_of_chosen_arms(choosing, status):
    best = tuned((1, 3), seeds=45).best("lr", by=BY, seeds=choosing).where(opt=1)
    rates = compare_rates(best, metric=METRIC, threshold=0.5, at_least=0.8, arms="opt")
    assert rates.verdict.status == rates.rates[0].status == status
    assert "lr was chosen by" in rates.verdict.sentence


@pytest.mark.slow
@pytest.mark.parametrize(("candidates", "hopeless"), [((5, 5), 0), ((20, 20), 19)])
def test_arms_that_are_alike_are_seldom_called_better(candidates, hopeless):
    """`hopeless` of the first arm's candidates are far off, so that it has fewer than it seems."""
    random, wrong, experiments = np.random.default_rng(0), 0, 200
    arms = [{"opt": opt, "lr": lr} for opt in (0, 1) for lr in range(candidates[opt])]
    far = np.array([-100.0 * (arm["opt"] == 0 and arm["lr"] < hopeless) for arm in arms])[:, None]
    for _ in range(experiments):
        noise, more = random.normal(size=(2, len(arms), 12))
        result = make(arms, noise + far, by=noise + far + 0.3 * more)
        best = result.best("lr", by=BY)
        verdict = compare(best, metric=METRIC, arms="opt", baseline=0).verdict
        wrong += verdict.status == "SUPPORTED"
    assert wrong <= 0.05 * experiments


def test_a_notebook_shows_a_row_per_arm():
    result = make([{"x": "<b>"}, {"x": "y"}], np.array([[0.5, 0.7], [0.000142, 0.6]]), failed=[(0, 1)])
    page = xml.etree.ElementTree.fromstring(result._repr_html_())
    rows = [[cell.text for cell in row] for row in page.iter("tr")]
    assert rows[0] == ["arm", "x", "runs", "failed", METRIC, BY]
    for shown, (_, row) in zip(rows[1:], result.table().iterrows(), strict=True):
        told = [formats.estimate(row[name], row[f"{name} ±"]) for name in (METRIC, BY)]
        assert shown == [row["arm"], row["x"], str(row["runs"]), str(row["failed"]), *told]


def test_a_table_is_that_of_each_arm_alone():
    values = np.random.default_rng(0).normal(size=(5, 4))
    values[2] = np.nan
    result = make([{"x": i} for i in range(5)], values, failed=[(1, 0), *((4, seed) for seed in range(4))])
    table = result.table()
    for arm in range(5):
        alone = result.where(x=arm).table()
        pd.testing.assert_frame_equal(
            table[table["x"] == arm].drop(columns="x").reset_index(drop=True), alone, check_dtype=False
        )


def test_results_join_and_count_a_run_once():
    both = levels((None, 1.0, 5.0), (0.9, 0.7, 0.5))
    first, second = both.where(x=[None, 1.0]), both.where(x=[1.0, 5.0])
    other = dataclasses.replace(
        second, frame=second.frame.replace({"arm": {"arm 1": "mine"}}), meta={"seconds": 2.0, "name": "b"}
    )
    joined = dataclasses.replace(first, meta={"seconds": 1.0, "name": "a"}) + other
    assert held(joined) == held(both) and set(joined.frame["arm"]) == {"arm 0", "arm 1", "arm 2"}
    pd.testing.assert_frame_equal(joined.frame, both.frame)
    assert joined.meta == {"seconds": 3.0, "name": "a; b"}
    pd.testing.assert_frame_equal(joined.table(), both.table())
    lost = make([{"x": 1}, {"x": 2}], np.ones((2, 3)), failed=[(0, 1), (1, 2)])
    parts = lost.where(x=1) + lost.where(x=2)
    pd.testing.assert_frame_equal(parts.failures, lost.failures)
    assert len(parts.runs()) == 6 and len((parts + lost).runs()) == 6


def told(result: Result, arms: Mapping[str, float], seconds: float = 1.0) -> Result:
    """The result with the facts of a sweep of these arms, and a program for each."""
    configs = {arm: {"x": x} for arm, x in arms.items()}
    programs = [{"arms": [arm], "train_seconds": x} for arm, x in arms.items()]
    return dataclasses.replace(
        result, meta={"configs": configs, "programs": programs, "seconds": seconds, "versions": {"jax": "1"}}
    )


def test_what_is_told_of_joined_results_is_of_their_arms_by_their_names():
    both = levels((0.25, 0.5, 1.0), (0.9, 0.7, 0.5))
    first = told(both.where(x=[0.25, 0.5]), {"arm 0": 0.25, "arm 1": 0.5})
    # The arms of the other: one that is "arm 1" here, one that has no runs and a name of another, a new one.
    other = both.where(x=[0.5, 1.0])
    frame = other.frame.replace({"arm": {"arm 1": "mine"}})
    second = told(dataclasses.replace(other, frame=frame), {"mine": 0.5, "arm 0": 4.0, "arm 2": 1.0}, 2.0)
    meta = (first + second).meta
    assert meta["configs"] == {"arm 0": {"x": 0.25}, "arm 1": {"x": 0.5}, "arm 2": {"x": 1.0}}
    shared, new = {"arms": ["arm 1"], "train_seconds": 0.5}, {"arms": ["arm 2"], "train_seconds": 1.0}
    assert meta["programs"].count(shared) == 1 and meta["programs"][-1] == new
    assert (meta["seconds"], meta["versions"]) == (3.0, {"jax": "1"})


def test_runs_that_all_failed_at_once_join_others():
    good, both = (
        make([{"x": 1}], np.ones((1, 2))),
        make([{"x": 1}, {"x": 2}], np.ones((2, 2)), failed=[(1, 0)]),
    )
    lost = both.where(x=2, seed=0)
    lost = dataclasses.replace(lost, frame=lost.frame[["arm", "x", "seed", "step", "status"]])
    assert not len(lost.frame) and lost.metrics == ()
    logged = dataclasses.replace(good, log=good.frame.drop(columns=BY))
    for one, other in ((logged, lost), (lost, logged)):
        joined = one + other
        assert len(joined.runs()) == 3 and joined.metrics == (METRIC, BY)
        pd.testing.assert_frame_equal(joined.frame, good.frame)
        pd.testing.assert_frame_equal(joined.failures, lost.failures.reset_index(drop=True))
        assert joined.log is not None and logged.log is not None
        pd.testing.assert_frame_equal(joined.log, logged.log)
        assert dict(zip(joined.table()["arm"], joined.table()["failed"], strict=True)) == {
            "arm 0": 0,
            "arm 1": 1,
        }
    with pytest.raises(ValueError, match="both results have arm 1 with seed 0, but other numbers"):
        _ = lost + make([{"x": 1}, {"x": 2}], np.ones((2, 1)))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (make([{"y": 1}], np.ones((1, 3))), "other fields: x; and y"),
        (make([{"x": 2}], np.ones((1, 3))), "both results have an arm 'arm 0', with other values"),
        (make([{"x": 1}], np.zeros((1, 3))), "both results have arm 0 with seed 0, but other numbers"),
        (make([{"x": 1}], np.ones((1, 3)), failed=[(0, 2)]), "both results have arm 0 with seed 2"),
    ],
)
def test_results_that_do_not_fit_are_not_joined(other, message):
    with pytest.raises(ValueError, match=message):
        _ = make([{"x": 1}], np.ones((1, 3))) + other
    chosen = levels((1, 2), (0.1, 0.9)).best("x", by=BY)
    with pytest.raises(ValueError, match="join the results first"):
        _ = levels((1, 2), (0.1, 0.9)) + chosen
