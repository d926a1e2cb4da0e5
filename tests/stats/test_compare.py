"""Comparisons and verdicts of results made by hand."""

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from fdl import stats
from fdl.stats import Comparison, all_of, compare, interval
from fdl.stats.inference import mean_test
from tests.stats.results import BASE, METRIC, NOISE, arms, gap, make, run


def only(result: Any, **options: Any) -> Comparison:
    (comparison,) = compare(result, metric=METRIC, arms="skip", **options).comparisons
    return comparison


def status(result: Any, **options: Any) -> str:
    return compare(result, metric=METRIC, arms="skip", **options).verdict.status


@pytest.mark.parametrize(
    ("size", "at_least", "expected"),
    [  # the 95 % interval is size ± 0.0243
        (0.1, 0.05, "SUPPORTED"),
        (0.055, 0.05, "INCONCLUSIVE"),  # the interval excludes 0, but reaches below 0.05
        (0.045, 0.05, "INCONCLUSIVE"),
        (0.02, 0.05, "REFUTED"),
        (0.1, 0.0, "SUPPORTED"),
        (0.0, 0.0, "INCONCLUSIVE"),
        (0.0, 0.05, "REFUTED"),
        (-0.1, 0.0, "REFUTED"),
    ],
)
def test_status_of_a_difference(size: float, at_least: float, expected: str) -> None:
    assert status(gap(size), at_least=at_least) == expected
    assert status(gap(-size), at_least=at_least, better="lower") == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0.005, "SUPPORTED"),
        (-0.005, "SUPPORTED"),
        (0.02, "INCONCLUSIVE"),
        (0.1, "REFUTED"),
        (-0.1, "REFUTED"),
    ],
)
def test_status_of_equivalence(size: float, expected: str) -> None:
    assert status(gap(size), equivalent=0.03) == expected


@pytest.mark.parametrize("pairs", [1, 2, 3, 4])
@pytest.mark.parametrize("options", [{}, {"equivalent": 10.0}, {"at_least": 5.0}])
def test_fewer_than_five_pairs_are_inconclusive_and_say_why(pairs: int, options: Any) -> None:
    verdict = compare(gap(0.5, pairs), metric=METRIC, arms="skip", **options).verdict
    more = 5 - pairs
    assert verdict.status == "INCONCLUSIVE"
    assert f"fewer than 5 pairs are never conclusive; run {more} more seed" in verdict.sentence


def test_five_pairs_of_one_arm_are_judged_by_the_t_interval() -> None:
    verdict = compare(gap(0.5, 5), metric=METRIC, arms="skip").verdict
    assert verdict.status == "SUPPORTED"
    assert "5 pairs cannot bring p below 0.0625" in verdict.sentence


def test_five_pairs_of_several_arms_are_too_few() -> None:
    values = {"a": BASE[:5]} | {arm: BASE[:5] + d + NOISE[:5] for arm, d in {"b": 0.5, "c": 0.6}.items()}
    verdict = compare(arms(values), metric=METRIC, arms="skip").verdict
    assert verdict.status == "INCONCLUSIVE"
    assert [one.p_holm for one in verdict.comparisons] == [0.125, 0.125]
    assert [one.seeds_needed for one in verdict.comparisons] == [7, 7]
    assert "about 2 more seeds" in verdict.sentence


def test_ties_do_not_pass_for_an_effect() -> None:
    """The bootstrap takes five unequal pairs among fourteen for an effect; the exact test does not."""
    tied = np.array([0.1, 0.12, 0.11, 0.09, 0.1] + [0.0] * 9)
    values = {False: np.full(14, 0.5), True: 0.5 + tied}
    comparison = only(arms(values))
    assert comparison.low > 0
    assert comparison.p == pytest.approx(2 / 2**5)
    assert comparison.status == "INCONCLUSIVE"


def test_numbers_agree_with_scipy_and_statsmodels() -> None:
    rng = np.random.default_rng(0)
    base, other = rng.normal(0.7, 0.02, size=(2, 9)) + rng.normal(0, 0.05, size=9)
    comparison = only(arms({False: base, True: other}))
    test = scipy.stats.ttest_rel(other, base)
    assert comparison.difference == pytest.approx(other.mean() - base.mean())
    assert comparison[5:7] == pytest.approx((other.mean(), base.mean()))
    students = test.confidence_interval(0.95)
    assert comparison.low <= students.low and comparison.high >= students.high
    assert comparison[8:10] == pytest.approx([float(end) for end in interval(other - base)])
    assert comparison.effect_size == pytest.approx(test.statistic / math.sqrt(9))
    needed = TTestPower().solve_power(comparison.effect_size, power=0.8, alpha=0.05)
    assert comparison.seeds_needed > needed
    assert comparison.smallest_detectable > TTestPower().solve_power(None, 9, 0.05, 0.8) * np.std(
        other - base, ddof=1
    )


@pytest.mark.medium
@pytest.mark.parametrize("n", [6, 9, 20])
def test_equivalence_is_never_easier_than_two_one_sided_t_tests(n: int) -> None:
    rng = np.random.default_rng(n)
    agree = []
    for _ in range(16):
        base, other = rng.normal(size=(2, n))
        holds = status(arms({False: base, True: other}), equivalent=1.0) == "SUPPORTED"
        by_t = ttost_paired(other, base, -1.0, 1.0)[0] < 0.05
        assert by_t or not holds
        agree.append(by_t == holds)
    assert np.mean(agree) > 0.7


@pytest.mark.parametrize(("collapses", "n"), [(0, 5), (0, 8), (0, 30), (1, 8), (1, 10), (1, 30)])
def test_a_rare_collapse_is_no_equivalence(collapses: int, n: int) -> None:
    fell = np.where(np.arange(n) < collapses, 0.0, 1.0)
    verdict = compare(
        arms({False: np.ones(n), True: fell}), metric=METRIC, arms="skip", equivalent=0.05
    ).verdict
    assert verdict.status == "INCONCLUSIVE"
    if not collapses:
        assert f"all {n} differences are equal, and {n} seeds are too few" in verdict.sentence


def test_a_conclusion_says_what_so_many_seeds_can_miss() -> None:
    """1 - 0.05 ** (1 / 8) = 0.312."""
    told = "8 seeds can miss a collapse in up to 31 % of seeds"
    assert told in compare(gap(0.1), metric=METRIC, arms="skip").verdict.sentence
    assert told in compare(gap(0.0), metric=METRIC, arms="skip", equivalent=0.05).verdict.sentence
    assert told not in compare(gap(0.01), metric=METRIC, arms="skip").verdict.sentence


def test_holm_over_the_arms() -> None:
    rng = np.random.default_rng(0)
    result = arms({arm: rng.normal(size, size=12) for arm, size in zip("abcd", (0, 0.3, 1, 2), strict=True)})
    table = compare(result, metric=METRIC, arms="skip").table()
    assert list(table["arm"]) == ["skip=b", "skip=c", "skip=d"]
    np.testing.assert_allclose(table["p_holm"], multipletests(table["p"], method="holm")[1])
    assert tuple(table.columns) == Comparison._fields


@pytest.mark.parametrize(
    ("sizes", "expected", "told"),
    [
        ((0.1, 0.2), "SUPPORTED", "skip=b"),
        ((0.2, 0.005), "INCONCLUSIVE", "skip=c"),
        ((0.2, -0.2), "REFUTED", "skip=c"),
        ((0.005, -0.2), "REFUTED", "skip=c"),
    ],
)
def test_the_verdict_is_on_all_arms_and_told_by_the_decisive_one(
    sizes: tuple[float, float], expected: str, told: str
) -> None:
    values = {"a": BASE} | {arm: BASE + s + NOISE for arm, s in zip("bc", sizes, strict=True)}
    verdict = compare(arms(values), metric=METRIC, arms="skip").verdict
    assert verdict.status == expected
    assert verdict.sentence.startswith("2 arms (")
    assert f"{METRIC} of {told} is" in verdict.sentence


@pytest.mark.parametrize("value", [0.5, 0.0])
@pytest.mark.parametrize("n", [8, 58, 59])
def test_differences_that_do_not_vary(value: float, n: int) -> None:
    """0.95 ** 58 > 0.05 > 0.95 ** 59: so many seeds can miss what befalls 5 % of them."""
    base = 0.4 + 0.01 * np.arange(n)
    result = arms({False: base, True: base + value})
    comparison = only(result)
    assert np.isnan([comparison.low, comparison.high, comparison.smallest_detectable]).all()
    assert comparison.effect_size == (math.inf if value else 0)
    assert comparison.seeds_needed == (59 if value else 1_000_000)
    assert comparison.status == ("SUPPORTED" if value and n == 59 else "INCONCLUSIVE")
    assert status(result, equivalent=0.01) == (
        "INCONCLUSIVE" if n < 59 else "REFUTED" if value else "SUPPORTED"
    )


def test_rounding_is_no_difference() -> None:
    """0.95 - 0.9 is a little less than 0.05 in float64, and float32 metrics differ in the last digit."""
    result = arms({False: [0.9] * 59, True: [0.95] * 59})
    assert status(result, at_least=0.05) == "SUPPORTED"
    assert status(result, at_least=0.0501) == "REFUTED"
    base = np.full(59, 0.9, np.float32)
    other = base.copy()
    other[::2] = np.nextafter(base[::2], np.float32(1))
    assert only(arms({False: base, True: other})).tied
    assert status(arms({False: base, True: other})) == "INCONCLUSIVE"


@pytest.mark.parametrize("size", [0.06, 0.04])
def test_seeds_needed_for_a_margin(size: float) -> None:
    """The seeds that half a standard deviation asks for, to either side of the margin."""
    needed = only(gap(size), at_least=0.05).seeds_needed
    assert needed == 41  # 34 for a t-test
    sentence = compare(gap(size), metric=METRIC, arms="skip", at_least=0.05).verdict.sentence
    assert f"about {needed - 8} more seeds" in sentence


def test_pairs_are_made_by_seed_not_by_row() -> None:
    result = gap(0.02)
    shuffled = make(
        list(result.frame[result.frame["step"] == 20].sample(frac=1, random_state=1).T.to_dict().values())
    )
    assert only(shuffled, baseline=False) == only(result, baseline=False)


def test_the_same_result_gives_the_same_numbers() -> None:
    rng = np.random.default_rng(0)
    result = arms({arm: rng.normal(size=20) for arm in (False, True)})
    assert compare(result, metric=METRIC, arms="skip") == compare(result, metric=METRIC, arms="skip")


@pytest.mark.parametrize("options", [{}, {"at_least": 0.01}, {"equivalent": 0.02}], ids=str)
def test_an_arm_among_many_has_the_numbers_that_it_has_alone(options: Any) -> None:
    dice = np.random.default_rng(0)
    sizes = (1, 6, 12, 12, 12, 12, 25)  # pairs; some arms have as many
    values = {i: 0.7 + 0.01 * i + 0.02 * dice.standard_normal(n) for i, n in enumerate((25, *sizes))}
    result = arms(values)
    for one in compare(result, metric=METRIC, arms="skip", **options).comparisons:
        alone = only(result.where(skip=[0, int(one.arm.partition("=")[2])]), **options)
        same = ("n", "difference", "low", "high", "equivalence_low", "equivalence_high", "p", "spread")
        assert [repr(getattr(one, name)) for name in same] == [repr(getattr(alone, name)) for name in same]


def test_the_baseline_is_the_first_arm_unless_named() -> None:
    assert only(gap(0.1)).baseline == "skip=False"
    other = only(gap(0.1), baseline=True)
    assert (other.arm, other.baseline) == ("skip=False", "skip=True")
    assert other.difference == pytest.approx(-0.1)
    by_name = compare(gap(0.1), metric=METRIC, baseline="skip-True").comparisons
    assert [one.arm for one in by_name] == ["skip-False"]


def test_functions_and_none_are_arms() -> None:
    result = arms({"tanh": BASE, None: BASE + 0.1 + NOISE})
    comparison = only(result, baseline=np.tanh)
    assert (comparison.arm, comparison.baseline, comparison.n) == ("skip=None", "skip=tanh", 8)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"at_least": 0.05}, f"{METRIC} of skip=True exceeds skip=False by at least 0.05"),
        ({}, f"{METRIC} of skip=True exceeds skip=False"),
        ({"better": "lower", "at_least": 2}, f"{METRIC} of skip=True is below skip=False by at least 2"),
        ({"equivalent": 0.02}, f"{METRIC} of skip=True is within ±0.02 of skip=False"),
    ],
)
def test_the_criterion_in_words(options: Any, expected: str) -> None:
    assert compare(gap(0.1), metric=METRIC, arms="skip", **options).verdict.criterion == expected


def test_the_sentence_has_the_numbers() -> None:
    assert compare(gap(0.1), metric=METRIC, arms="skip", at_least=0.05).verdict.sentence == (
        "test/accuracy of skip=True is 0.635, of skip=False 0.535, difference +0.1 (95 % interval +0.0757 to "
        "+0.124, p = 0.0078, 8 pairs): the interval lies above +0.05. (8 seeds can miss a collapse in up to "
        "31 % of seeds: in 5 % of sweeps none shows it.)"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "test/loss"}, "no metric 'test/loss'; there are: test/accuracy"),
        ({"arms": "depth"}, "no field 'depth' to compare by; there are: arm, skip, lr"),
        ({"arms": "skip", "baseline": 3}, "no arm skip=3 as baseline; there are: False, True"),
        ({"arms": "lr"}, "needs two arms"),
        ({"better": "more"}, "expected one of 'higher', 'lower'"),
        ({"at_least": -0.1}, "finite number ≥ 0"),
        ({"at_least": math.nan}, r"at_least is nan \(float\); expected a number"),
        ({"at_least": None}, r"at_least is None \(NoneType\); expected a number"),
        ({"at_least": "0.1"}, r"at_least is '0.1' \(str\); expected a number"),
        ({"equivalent": True}, r"equivalent is True \(bool\); expected a number"),
        ({"equivalent": 0.0}, "finite number > 0"),
        ({"equivalent": math.inf}, "equivalent is inf; expected a finite number"),
        ({"equivalent": 0.1, "at_least": 0.1}, "two claims"),
        ({"failures": "ignored"}, "expected one of 'worst', 'dropped' or a number"),
        ({"failures": 1.5}, "'worst', 'dropped', or the share"),
        ({"failures": math.nan}, "expected one of 'worst', 'dropped' or a number"),
        ({"failures": True}, "expected one of 'worst', 'dropped' or a number"),
    ],
)
def test_bad_questions_are_refused(options: Any, message: str) -> None:
    runs = [
        row for row in gap(0.1).frame.to_dict("records") if options.get("arms") != "lr" or not row["skip"]
    ]
    with pytest.raises(ValueError, match=message) as error:
        compare(make([row for row in runs if row["step"] == 20]), **{"metric": METRIC, **options})
    assert "\n" not in str(error.value)


def test_several_configs_in_an_arm_are_refused() -> None:
    runs = [
        run(skip, seed, 0.5, lr=lr, arm=f"{skip}{lr}")
        for skip in (0, 1)
        for lr in (0.1, 1)
        for seed in (0, 1)
    ]
    with pytest.raises(
        ValueError, match=r"skip=0 has several runs of one seed \(they differ in lr\).*best\('lr'"
    ):
        compare(make(runs), metric=METRIC, arms="skip")
    assert compare(make(runs).where(lr=0.1), metric=METRIC, arms="skip").comparisons[0].n == 2
    assert len(compare(make(runs), metric=METRIC).comparisons) == 3


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((0.1, 0.1), "SUPPORTED"),
        ((0.1, 0.0), "INCONCLUSIVE"),
        ((0.0, 0.0), "INCONCLUSIVE"),
        ((0.1, -0.1), "REFUTED"),
        ((0.0, -0.1), "REFUTED"),
    ],
)
def test_every_claim_must_hold(sizes: tuple[float, float], expected: str) -> None:
    verdicts = [compare(gap(size), metric=METRIC, arms="skip").verdict for size in sizes]
    both = all_of(*verdicts)
    assert both.status == expected
    assert all(one.sentence in both.sentence and one.criterion in both.criterion for one in verdicts)
    assert both.comparisons == verdicts[0].comparisons + verdicts[1].comparisons


def test_every_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one verdict"):
        all_of()


@pytest.mark.slow
@pytest.mark.parametrize(("count", "n", "others"), [(2_000, 10, 1), (500, 8, 3)])
def test_null_ablations_are_rarely_conclusive(count: int, n: int, others: int) -> None:
    """Any arm of a null ablation is conclusive in 5 % of experiments at most (three standard errors).

    By the rule, for all experiments at once; `compare` itself is asked where the rule is near its edge, in
    the experiments of the least p, conclusive or not, and in some of the others.
    """
    rng = np.random.default_rng(n)
    values = rng.normal(0.7, 0.05, size=(count, others + 1, n))
    differences = values[:, 1:] - values[:, :1]
    low, high = interval(differences)
    p = np.maximum(stats.sign_flip(differences), mean_test(differences))
    significant = np.array([stats.holm(row) for row in p]) < 0.05
    conclusive = (((low > 0) | (high < 0)) & significant).any(axis=1)
    assert 0.002 <= conclusive.mean() <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / count)
    by_p = np.argsort(p.min(axis=1))
    asked = {*by_p[: conclusive.sum() + 20].tolist(), *by_p[-10:].tolist(), *range(10)}
    found = set(np.flatnonzero(conclusive).tolist())
    assert asked >= found
    for i in asked:
        comparisons = compare(arms(dict(enumerate(values[i]))), metric=METRIC, arms="skip").comparisons
        assert any(one.status != "INCONCLUSIVE" for one in comparisons) == (i in found)


def test_what_the_package_offers_is_documented() -> None:
    assert all(getattr(stats, name).__doc__ for name in stats.__all__)
