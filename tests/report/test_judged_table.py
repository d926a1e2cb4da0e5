"""The table of what runs came to: the same claim says the same of it."""

import dataclasses

import pandas as pd
import pytest

import fdl
from fdl.cells import column, identities
from fdl.report.judged_table import judged_table, read_judged, table_csv

VALUES = (None, 1.0, 1, True, "1", "relu", "a, b", "NaN")
STEPS = (1, 2)


@pytest.fixture
def result() -> fdl.Result:
    """An arm for each kind of value, a curve of two evaluations a run; one run failed at once, one later."""
    rows = [
        (f"arm {place}", value, seed, step, "finished", place + seed / 3 + step, 0.1 * place, 0.0)
        for place, value in enumerate(VALUES)
        for seed in range(6)
        for step in STEPS
    ]
    names = ["arm", "value", "seed", "step", "status", "test/loss", "validation/loss", "train/loss"]
    frame = pd.DataFrame(rows, columns=names)
    frame["value"] = column([row[1] for row in rows])
    frame = frame[~((frame["arm"] == "arm 2") & (frame["seed"] == 3))]
    frame.loc[(frame["arm"] == "arm 5") & (frame["seed"] == 0), "status"] = "failed"
    failed = [("arm 2", 1, 3, 0, "train/loss"), ("arm 5", "relu", 0, 2, "test/loss")]
    failures = pd.DataFrame(failed, columns=["arm", "value", "seed", "step", "metric"], dtype=object)
    return fdl.Result(frame.reset_index(drop=True), ("value",), failures, {"same": {"arm 1": "arm 0"}})


def claim(result: fdl.Result) -> fdl.Verdict:
    best = result.best("value", by="validation/loss", better="lower", seeds=1)
    some = fdl.compare(result.where(value=[None, 1.0, "a, b"]), metric="test/loss", arms="arm").verdict
    return fdl.Verdict(some.status, f"{some.sentence} {best.runs()['arm'].tolist()}", "", some.comparisons)


@pytest.mark.parametrize("failed", [True, False])
def test_a_table_gives_back_the_result(result, failed):
    if not failed:
        result = dataclasses.replace(result, failures=result.failures[:0])
    again = read_judged(table_csv(result, result.metrics))
    assert again.same == result.same and again.fields == result.fields and again.metrics == result.metrics
    for mine, theirs in ((again.frame, result.frame), (again.last(), result.last())):
        assert identities(mine["value"]) == identities(theirs["value"])
        for name in ("arm", "seed", "step", "status", *result.metrics):
            assert mine[name].tolist() == theirs[name].tolist()
    each = ["arm", "seed", "step", "metric"]
    left, right = (one.failures[each].sort_values("arm").to_numpy().tolist() for one in (again, result))
    assert left == right
    assert table_csv(again, again.metrics) == table_csv(result, result.metrics)


def test_the_table_is_the_smallest_from_which_the_claim_comes_out(result):
    table = read_judged(judged_table(result, claim))
    assert table.metrics == ("test/loss", "validation/loss")
    assert set(table.frame["step"]) == {STEPS[-1]}
    assert claim(table).sentence == claim(result).sentence


def test_a_claim_about_curves_keeps_them(result):
    def fast(result: fdl.Result) -> fdl.Verdict:
        first = float(result.frame.loc[result.frame["step"] == STEPS[0], "test/loss"].sum())
        return fdl.Verdict("SUPPORTED", f"{first}", "", ())

    table = read_judged(judged_table(result, fast))
    assert table.metrics == ("test/loss",) and set(table.frame["step"]) == set(STEPS)


def test_what_no_table_tells_is_refused(result):
    def logged(result: fdl.Result) -> fdl.Verdict:
        return fdl.Verdict("SUPPORTED", f"{result.log is None}", "", ())

    with pytest.raises(ValueError, match="cannot be judged by the table of evaluations alone"):
        judged_table(dataclasses.replace(result, log=result.frame), logged)
    with pytest.raises(ValueError, match="no table of runs"):
        read_judged("a,b\n1,2\n")
