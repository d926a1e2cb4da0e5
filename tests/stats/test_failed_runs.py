"""What runs that failed, or have no pair, count as in a comparison."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from fdl.stats import compare
from tests.stats.results import BASE, METRIC, NOISE, make, run


def test_seeds_without_a_pair_are_dropped_and_told() -> None:
    runs = [run(False, seed, BASE[seed]) for seed in range(7)]
    runs += [run(True, seed, BASE[seed] + 0.3 + NOISE[seed]) for seed in range(8)]
    runs[1] = run(False, 1, 0.9, status="failed")
    runs[9] = run(True, 2, math.nan)
    runs[10] = run(True, 3, 0.9, status="running")
    never_evaluated = {"arm": "skip-True", "skip": True, "lr": 0.1, "seed": 8, "step": 5, "metric": METRIC}
    compared = compare(make(runs, [never_evaluated]), metric=METRIC, arms="skip", failures="dropped")
    (comparison,) = compared.comparisons
    kept = [0, 4, 5, 6]
    assert (comparison.n, comparison.dropped) == (4, 5)
    assert comparison.difference == pytest.approx(0.3 + NOISE[kept].mean())
    assert (comparison.failed, comparison.baseline_failed) == (2, 1)
    assert "failed are left out: 2 of 8 of skip=True, 1 of 7 of skip=False." in compared.verdict.sentence
    assert "5 of 9 seeds make no pair" in compared.verdict.sentence


def diverged(arm: int, baseline: int, *, size: float = 0.3, n: int = 16) -> Any:
    """Arms that differ by `size` where both survive; the first so many runs of each failed."""
    random = np.random.default_rng(0)
    base, other = 0.5 + 0.01 * random.normal(size=n), 0.5 + size + 0.01 * random.normal(size=n)
    runs = [run(False, i, v, status="failed" if i < baseline else "finished") for i, v in enumerate(base)]
    runs += [run(True, i, v, status="failed" if i < arm else "finished") for i, v in enumerate(other)]
    return make(runs)


@pytest.mark.parametrize(
    ("arm", "baseline", "failures", "expected"),
    [
        (11, 0, "worst", "INCONCLUSIVE"),
        (16, 0, "worst", "REFUTED"),
        (1, 0, "worst", "SUPPORTED"),
        (0, 11, "worst", "SUPPORTED"),
        (8, 8, "worst", "SUPPORTED"),  # eight ties and eight wins
        (11, 0, "dropped", "SUPPORTED"),
        (0, 11, "dropped", "SUPPORTED"),
        (16, 0, "dropped", "INCONCLUSIVE"),
        (2, 0, 0.1, "INCONCLUSIVE"),
        (0, 2, 0.1, "INCONCLUSIVE"),
        (1, 1, 0.1, "SUPPORTED"),
    ],
)
def test_what_failed_runs_count_as(arm: int, baseline: int, failures: Any, expected: str) -> None:
    compared = compare(diverged(arm, baseline), metric=METRIC, arms="skip", failures=failures)
    (one,) = compared.comparisons
    assert compared.verdict.status == expected
    assert (one.failed, one.baseline_failed) == (arm, baseline)
    assert (f"{arm} of 16 of skip=True" in compared.verdict.sentence) == bool(arm)
    assert (f"{baseline} of 16 of skip=False" in compared.verdict.sentence) == bool(baseline)
    assert one.n == (16 if failures == "worst" else 16 - max(arm, baseline))


@pytest.mark.parametrize("better", ["higher", "lower"])
@pytest.mark.parametrize("size", [0.0, 0.1, 1.0, 100.0])
def test_no_arm_wins_by_failing(better: Any, size: float) -> None:
    """However good the survivors, half of the runs failing leaves the mean no better."""
    sign = 1 if better == "higher" else -1
    for failed in range(5, 17):
        result = diverged(failed, 0, size=sign * size)
        compared = compare(result, metric=METRIC, arms="skip", better=better)
        assert compared.verdict.status != "SUPPORTED"
        if failed >= 8:
            assert sign * compared.comparisons[0].difference < 0


def test_all_failed() -> None:
    verdict = compare(diverged(16, 16), metric=METRIC, arms="skip").verdict
    assert verdict.status == "INCONCLUSIVE"
    assert "no seed with a final value for both skip=True and skip=False" in verdict.sentence


@pytest.mark.parametrize("failures", ["worst", "dropped", 0.9])
@pytest.mark.parametrize(("arm", "without"), [(True, 3), (False, 1), (True, 16)])
def test_a_missing_value_is_no_failure_and_proves_nothing(failures: Any, arm: bool, without: int) -> None:
    """As of a metric that need not be finite: the run did not fail, and nobody knows what it would be."""
    whole = diverged(0, 0)
    frame = whole.frame.copy()
    rows = (frame["skip"] == arm) & (frame["seed"] < without) & (frame["step"] == 20)
    frame.loc[rows, METRIC] = math.nan
    assert compare(whole, metric=METRIC, arms="skip").verdict.status == "SUPPORTED"
    verdict = compare(
        dataclasses.replace(whole, frame=frame), metric=METRIC, arms="skip", failures=failures
    ).verdict
    assert verdict.status == "INCONCLUSIVE"
    assert f"{without} runs of skip={arm} did not fail, but ended without {METRIC}" in verdict.sentence
