"""Success rates against statsmodels, and verdicts on them."""

import math

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.proportion import proportion_confint

from fdl.result import Better
from fdl.stats import compare_rates, success_rate
from fdl.stats.rates import _rate
from tests.stats.results import METRIC, arms, make, run

SHARES = (0.02, 0.05, 0.3, 0.5, 0.9, 0.99)


@pytest.mark.parametrize(("successes", "trials"), [(0, 5), (5, 5), (1, 1), (13, 20), (199, 200)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_success_rate_is_wilsons(successes: int, trials: int, confidence: float) -> None:
    rate, *ends = success_rate(successes, trials, confidence=confidence)
    expected = proportion_confint(successes, trials, alpha=1 - confidence, method="wilson")
    assert rate == successes / trials
    np.testing.assert_allclose(ends, expected, atol=1e-12)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match=r"expected (0 ≤ successes ≤ trials|0 or more|at least 1)"):
        success_rate(successes, trials)


@pytest.mark.parametrize(
    ("solved", "at_least", "better", "status"),
    [
        ((20, 20), 0.8, "higher", "SUPPORTED"),
        ((20, 15), 0.8, "higher", "INCONCLUSIVE"),
        ((20, 5), 0.8, "higher", "REFUTED"),
        ((0, 0), 0.8, "lower", "SUPPORTED"),
    ],
)
def test_verdict_on_rates(solved: tuple[int, int], at_least: float, better: Better, status: str) -> None:
    values = {arm: [1.0] * k + [0.0] * (20 - k) for arm, k in zip("ab", solved, strict=True)}
    rates = compare_rates(
        arms(values), metric=METRIC, threshold=0.5, at_least=at_least, arms="skip", better=better
    )
    assert rates.verdict.status == status
    assert list(rates.table()["successes"]) == (
        [20 - k for k in solved] if better == "lower" else list(solved)
    )


def test_fewer_than_twenty_runs_are_inconclusive() -> None:
    rates = compare_rates(arms({"a": [1.0] * 19}), metric=METRIC, threshold=0.5, at_least=0.1)
    assert rates.verdict.status == "INCONCLUSIVE"
    assert "fewer than 20 runs" in rates.verdict.sentence


def test_failed_runs_are_failures_and_running_ones_do_not_count() -> None:
    runs = [run("a", seed, 1.0) for seed in range(20)]
    runs += [run("a", 20, 1.0, status="failed"), run("a", 21, 1.0, status="running")]
    lost = {"arm": "skip-a", "skip": "a", "lr": 0.1, "seed": 22, "step": 5, "metric": METRIC}
    (rate,) = compare_rates(make(runs, [lost]), metric=METRIC, threshold=0.5, at_least=0.5).rates
    assert (rate.successes, rate.trials) == (20, 22)


@pytest.mark.parametrize("at_least", [0.0, 1.0, -1.0, math.nan])
def test_a_share_out_of_range_is_refused(at_least: float) -> None:
    with pytest.raises(ValueError, match=r"at_least is .*; expected (above 0 and below 1|a number)"):
        compare_rates(arms({"a": [1.0]}), metric=METRIC, threshold=0.5, at_least=at_least)


def test_an_arm_without_a_run_that_ended_is_refused() -> None:
    result = make([run("a", 0, 1.0), run("b", 0, 1.0, status="running")])
    with pytest.raises(ValueError, match="no run of skip=b has ended"):
        compare_rates(result, metric=METRIC, threshold=0.5, at_least=0.5, arms="skip")


@pytest.mark.parametrize("trials", [20, 33, 100])
def test_at_most_five_percent_of_verdicts_are_wrong_at_the_share_claimed(trials: int) -> None:
    """By the binomial distribution itself. Wilson's interval is wrong in 7.5 % at 20 runs and 5 %."""
    reached = np.tri(trials + 1, trials, -1, dtype=bool)  # a row per number of successes
    statuses = [[_rate("a", row, share, 1).status for share in SHARES] for row in reached]
    for share, found in zip(SHARES, np.array(statuses).T, strict=True):
        chances = scipy.stats.binom.pmf(np.arange(trials + 1), trials, share)
        assert chances[found == "SUPPORTED"].sum() <= 0.025 + 1e-9
        assert chances[found == "REFUTED"].sum() <= 0.025 + 1e-9
