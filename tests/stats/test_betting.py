"""Tests that are valid at any stopping time: bets against an independent computation, exact values, and how
often they are wrong when one looks after every four seeds."""

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from fdl.result import Result
from fdl.stats import Verdict, all_of, compare, confidence_sequence
from fdl.stats.betting import capital
from tests.stats.results import BASE, METRIC, NOISE, arms, make, run
from tests.stats.simulation import HELD, Family, decided

SHARES = [Fraction(1, 2**k) for k in range(4)]


def by_hand(rows: list[Fraction], mean: Fraction, lowest: Fraction | None) -> Fraction:
    """The capital in exact arithmetic, one gambler after another, one bet after another."""
    together = Fraction(0)
    for share in SHARES:
        own = Fraction(1, 4)
        for i, x in enumerate(rows):
            if lowest is not None:
                room = mean - lowest
            elif i < 3:
                continue
            else:
                room = (1 + Fraction(8, i)) * (sum(rows[:i], Fraction(0)) / i - min(rows[:i]))
            if room > 0:
                own = max(own * (1 + share * (x - mean) / room), Fraction(0))
        together += own
    return together


@pytest.mark.parametrize("lowest", [None, Fraction(-1)])
@pytest.mark.parametrize("mean", [Fraction(0), Fraction(1, 8), Fraction(-1, 4)])
def test_the_capital_is_that_of_an_independent_computation(mean: Fraction, lowest: Fraction | None) -> None:
    """In exact arithmetic, written otherwise; the package `expectation` (0.6.1) bets within bounds alone."""
    rows = [Fraction(int(x), 64) for x in np.random.default_rng(0).integers(-30, 50, size=12)]
    bounds = None if lowest is None else (-1.0, 1.0)
    found = capital(np.array([float(x) for x in rows]), float(mean), bounds=bounds)
    expected = [float(by_hand(rows[: n + 1], mean, lowest)) for n in range(len(rows))]
    assert found == pytest.approx(expected, rel=1e-12)


def test_bets_within_bounds_are_those_of_expectation() -> None:
    """Each share by itself is its e-process of the sequential e-values (x - lowest) / (mean - lowest)."""
    martingales = pytest.importorskip(
        "expectation.modules.martingales", reason="a reference that needs Python 3.12 or later"
    )
    rows, mean = np.random.default_rng(5).uniform(-0.5, 0.8, size=20), 0.05
    e_values = ((rows + 1) / (mean + 1)).tolist()
    together = np.zeros(20)
    for share in SHARES:
        bets = martingales.ConservativeCombiner(float(share))
        logs = [
            bets.compute_log_increment(e, bets.compute_lambda(e_values[:t], t + 1))
            for t, e in enumerate(e_values)
        ]
        together += np.exp(np.cumsum(logs)) / len(SHARES)
    assert capital(rows, mean, bounds=(-1.0, 1.0)) == pytest.approx(together, rel=1e-12)


@pytest.mark.parametrize(("low", "chance"), [(-1, 0.5), (-0.25, 0.2), (-1, 0.1)])
def test_no_bet_within_bounds_pays_on_average(low: float, chance: float) -> None:
    """Over all sequences of two values with mean 0: the capital expected is 1; Ville's inequality holds."""
    n, high = 10, -low * chance / (1 - chance)
    falls = np.array(list(itertools.product([0, 1], repeat=n)))
    weight = np.prod(np.where(falls, chance, 1 - chance), axis=1)
    rows = np.where(falls, low, high)
    held = capital(rows, 0.0, bounds=(-1.0, 1.0))
    assert weight @ held == pytest.approx(np.ones(n))
    for most in (1.05, 1.2, 2.0):
        assert weight @ (held.max(axis=1) >= most) <= 1 / most


def test_the_sequence_holds_what_the_capital_cannot_exclude() -> None:
    rows = np.random.default_rng(1).normal(0.4, 0.2, size=30).clip(-1, 1)
    for bounds in (None, (-1.0, 1.0)):
        low, high = confidence_sequence(rows, bounds=bounds)
        for end, sign in ((low, 1), (-high, -1)):
            assert capital(sign * rows, end - 1e-6, bounds=bounds)[-1] >= 40
            assert capital(sign * rows, end + 1e-6, bounds=bounds)[-1] < 40
        wider = confidence_sequence(rows, level=0.99, bounds=bounds)
        assert wider[0] < low < high < wider[1]


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_without_bounds_the_unit_does_not_matter(scale: float) -> None:
    rows = np.random.default_rng(2).normal(1, 1, size=20)
    expected = scale * np.array(confidence_sequence(rows))
    assert confidence_sequence(scale * rows) == pytest.approx(tuple(expected))


def test_where_nothing_shows_the_spread_no_bet_is_made() -> None:
    alike = np.full(70, 0.1)
    assert np.isnan(confidence_sequence(alike)).all()
    assert np.isnan(confidence_sequence(np.array([0.1, 0.5, 0.2]))).all()
    assert np.isnan(confidence_sequence(alike + 1e-9 * np.arange(70) % 2, rounding=1e-7)).all()
    assert confidence_sequence(alike, bounds=(-1.0, 1.0))[0] > 0


@pytest.mark.parametrize("family", HELD, ids=lambda family: family.name)
@pytest.mark.parametrize("side", [1, -1])
def test_peeking_after_every_population_at_most_five_percent_are_wrong(family: Family, side: int) -> None:
    """2,000 nulls at the criterion's edge, up to 64 seeds; two standard errors would be 1 % more."""
    rows = side * family.draw(np.random.default_rng(3), (2_000, 64))
    assert (decided(rows) > 0).mean() <= 0.05


def test_peeking_with_the_fixed_test_would_be_wrong_more_often() -> None:
    """Student's t at 5 %, after every four seeds."""
    rows = np.random.default_rng(3).normal(size=(2_000, 64))
    ends = np.arange(8, 65, 4)
    t = np.stack([rows[:, :n].mean(1) / rows[:, :n].std(1, ddof=1) * math.sqrt(n) for n in ends])
    assert (t > 2).any(axis=0).mean() > 0.08


def anytime(result: Result, **more: Any) -> Verdict:
    return compare(result, metric=METRIC, arms="skip", anytime=True, **more).verdict


RANDOM = np.random.default_rng(4).normal(size=64)


@pytest.mark.parametrize(
    ("gap", "options", "status"),
    [
        (0.05, {}, "SUPPORTED"),
        (-0.05, {}, "REFUTED"),
        (-0.05, {"better": "lower"}, "SUPPORTED"),
        (0.05, {"at_least": 0.1}, "REFUTED"),
        (0.05, {"at_least": 0.05}, "INCONCLUSIVE"),
        (0.0, {"equivalent": 0.05}, "SUPPORTED"),
        (0.2, {"equivalent": 0.05}, "REFUTED"),
        (0.05, {"bounds": (0.0, 1.0)}, "INCONCLUSIVE"),
        (0.3, {"bounds": (0.0, 1.0)}, "SUPPORTED"),
    ],
)
def test_verdicts(gap: float, options: Any, status: str) -> None:
    base = np.tile(BASE, 4)
    verdict = anytime(arms({False: base, True: base + gap + 0.02 * RANDOM[:32]}), **options)
    assert verdict.status == status
    assert verdict.anytime and verdict.comparisons[0].anytime
    assert "confidence sequence" in verdict.sentence and "Valid whenever the sweep stops" in verdict.sentence


def test_a_fall_that_is_seen_counts() -> None:
    differences = 0.05 + 0.02 * RANDOM[:16]
    assert anytime(arms({False: np.zeros(16), True: differences})).status == "SUPPORTED"
    differences[-1] = -10.0
    assert anytime(arms({False: np.zeros(16), True: differences})).status == "INCONCLUSIVE"


def test_holm_allows_for_several_arms() -> None:
    values = {"a": np.zeros(16)} | {arm: 0.5 + RANDOM[i : i + 16] / 2 for i, arm in enumerate("bcd")}
    verdict = anytime(arms(values))
    p = sorted(one.p for one in verdict.comparisons)
    assert min(one.p_holm for one in verdict.comparisons) == pytest.approx(3 * p[0])
    assert [one.arms for one in verdict.comparisons] == [3, 3, 3]


def failing(**more: Any) -> Verdict:
    rows = [run(skip, seed, 0.5 + 0.3 * skip + 0.01 * RANDOM[seed]) for skip in (0, 1) for seed in range(24)]
    rows[-1] = run(1, 23, math.nan, status="failed")
    return anytime(make(rows, [{**rows[-1], "metric": METRIC}]), **more)


def test_what_a_failed_run_counts_as_is_known_beforehand() -> None:
    assert failing().status == "INCONCLUSIVE"
    assert "runs of skip=1 failed, and what they count as is not known beforehand" in failing().sentence
    assert failing(failures="dropped").status == "INCONCLUSIVE"  # all differences are equal
    bounded = failing(bounds=(0.0, 1.0))
    assert "count as 0, the worst" in bounded.sentence
    assert bounded.comparisons[0].difference == pytest.approx((23 * 0.3 - 0.5 - 0.01 * RANDOM[23]) / 24)


def test_a_value_outside_the_bounds_voids_the_test() -> None:
    verdict = anytime(arms({False: BASE, True: BASE + 2 + NOISE}), bounds=(0.0, 1.0))
    assert verdict.status == "INCONCLUSIVE" and "outside bounds=(0.0, 1.0)" in verdict.sentence


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"anytime": False, "bounds": (0.0, 1.0)}, "give anytime=True too"),
        ({"bounds": (1.0, 0.0)}, "the lower value first"),
        ({"bounds": (1.0, 1.0)}, "the least and the most"),
        ({"bounds": (0.0, math.inf)}, "expected a finite number"),
    ],
)
def test_bounds_that_are_none_are_refused(options: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        compare(arms({False: BASE, True: BASE}), metric=METRIC, arms="skip", **{"anytime": True, **options})


def test_seeds_that_choose_must_be_named() -> None:
    rows = [
        {
            **run(skip, seed, 0.5 + 0.3 * skip + 0.01 * RANDOM[seed * (1 + skip)]),
            "lr": lr,
            "arm": f"{skip}, {lr}",
        }
        for skip in (0, 1)
        for lr in (0.1, 0.2)
        for seed in range(24)
    ]
    with pytest.raises(ValueError, match="needs best"):
        anytime(make(rows).best("lr", by=METRIC))
    assert anytime(make(rows).best("lr", by=METRIC, seeds=4)).status == "SUPPORTED"


def test_all_are_valid_at_any_time_only_if_each_is() -> None:
    result = arms({False: BASE, True: BASE + NOISE})
    fixed = compare(result, metric=METRIC, arms="skip").verdict
    assert not fixed.anytime
    assert all_of(anytime(result), anytime(result)).anytime
    assert not all_of(anytime(result), fixed).anytime
