"""Several claims about one result: Holm over them, controls that must not show the effect."""

import numpy as np
import pytest

import fdl
from fdl.stats import Claim, Verdict, holm, judge_claims
from tests.stats.results import BASE, METRIC, NOISE, arms, gap

SURE, CLOSE, NONE = gap(0.10), gap(0.025), gap(0.0)


def exceeds(result, least=0.0):
    """A criterion that asks about a result of its own, whatever it is given."""
    return lambda _: fdl.compare(result, metric=METRIC, at_least=least).verdict


def level(verdict: Verdict) -> float:
    assert verdict.p is not None
    return verdict.p


def statuses(*claims: Claim) -> list[str]:
    return [one.verdict.status for one in judge_claims(NONE, claims).claims]


def claims(**criteria) -> list[Claim]:
    return [Claim(name, "", criterion) for name, criterion in criteria.items()]


def test_one_claim_is_what_its_criterion_says():
    for result in (SURE, CLOSE, NONE):
        alone = exceeds(result)(None)
        judged = judge_claims(NONE, claims(a=exceeds(result)))
        assert judged.claims[0].verdict == alone and judged.status == alone.status and judged.p == alone.p


def test_more_claims_ask_for_smaller_p():
    alone = exceeds(CLOSE)(None)
    assert alone.status == "SUPPORTED" and 0.025 < level(alone) < 0.05
    judged = judge_claims(NONE, claims(a=exceeds(CLOSE), b=exceeds(NONE)))
    assert [one.verdict.status for one in judged.claims] == ["INCONCLUSIVE", "INCONCLUSIVE"]
    assert judged.claims[0].p_holm == holm([level(alone), 1.0])[0] == 2 * level(alone)
    assert "Adjusted for 2 claims (Holm), p = " in judged.claims[0].verdict.sentence
    both = judge_claims(NONE, claims(a=exceeds(CLOSE), b=exceeds(SURE)))  # the surer is rejected first
    assert [one.verdict.status for one in both.claims] == ["SUPPORTED", "SUPPORTED"]
    assert both.status == "SUPPORTED" and both.p == alone.p


def test_a_criterion_that_is_no_test_counts_for_no_correction():
    def exact(_):
        return Verdict("SUPPORTED", "14 of 16 are separable.", "14 are", ())

    assert statuses(*claims(a=exceeds(CLOSE), b=exact)) == ["SUPPORTED", "SUPPORTED"]


def test_a_control_that_shows_the_effect_leaves_no_conclusion():
    for own in (exceeds(SURE), exceeds(NONE, least=0.2), exceeds(NONE)):
        judged = judge_claims(NONE, [Claim("a", "", own, control=exceeds(SURE))]).claims[0]
        assert judged.verdict.status == "INCONCLUSIVE"
        assert judged.control and judged.control.status == "SUPPORTED"
        assert judged.verdict.sentence.startswith("the control shows it too")
        kept = judge_claims(NONE, [Claim("a", "", own, control=exceeds(NONE))]).claims[0]
        assert kept.verdict.status == own(None).status
        assert "Control, which must not show it: INCONCLUSIVE" in kept.verdict.sentence


def test_p_goes_with_the_status():
    """Of several arms the least sure supports, and the surest refutes; of rates the exact tests."""
    three = arms({False: BASE, "more": BASE + 0.1 + NOISE, "less": BASE - 0.05 + NOISE[::-1]})
    found = fdl.compare(three, metric=METRIC, at_least=0.01)
    assert found.verdict.status == "REFUTED" and 0 < level(found.verdict) < 0.05
    alone = fdl.compare(three.where(skip=[False, "less"]), metric=METRIC, at_least=0.01).verdict
    assert found.verdict.p == 2 * level(alone) == holm([level(alone)] * 2)[0]
    assert exceeds(NONE)(None).p == 1.0 == fdl.all_of(exceeds(SURE)(None), exceeds(NONE)(None)).p
    assert fdl.all_of(exceeds(SURE)(None), exceeds(CLOSE)(None)).p == exceeds(CLOSE)(None).p
    both = arms({True: np.ones(30), False: np.r_[np.zeros(29), 1.0]})
    for least, status in ((0.8, "SUPPORTED"), (0.5, "REFUTED")):
        rates = fdl.compare_rates(
            both.where(skip=True) if status == "SUPPORTED" else both,
            metric=METRIC,
            threshold=1.0,
            at_least=least,
        ).verdict
        assert rates.status == status and level(rates) < 0.05
    assert rates.p == pytest.approx(2 * 2 * 31 / 2**30)


@pytest.mark.medium
def test_four_true_nulls_are_seldom_wrong():
    dice = np.random.default_rng(0)
    wrong = 0
    for draw in dice.normal(size=(250, 4, 2, 8)):
        nulls = [exceeds(arms({False: before, True: after})) for before, after in draw]
        wrong += "SUPPORTED" in statuses(*claims(**dict(zip("abcd", nulls, strict=True))))
    assert wrong <= 20  # of 250 at 5 %: 20 or more by chance in 2 %


BAD = {
    "none": ([], "expected one fdl.Claim"),
    "a verdict": ([exceeds(SURE)], "expected a tuple, and of each value Claim"),
    "one id twice": (claims(a=exceeds(SURE)) * 2, "two claims have the id 'a'"),
    "a control that is none": ([Claim("a", "", exceeds(SURE), control=3)], "the control of a is 3"),  # pyright: ignore
    "a criterion without a verdict": (
        claims(a=lambda _: 3),
        "the criterion of a gives a int; expected a verdict",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_claim_is_refused(case):
    given, expected = BAD[case]
    with pytest.raises(ValueError, match=expected):
        judge_claims(NONE, given)
