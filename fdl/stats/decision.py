"""What the numbers of one comparison say about a criterion."""

from collections.abc import Sequence

from fdl.stats.comparison import Comparison
from fdl.stats.criterion import ALPHA, LEAST, TIED_LEAST, Criterion, Status
from fdl.stats.power import MOST
from fdl.stats.sentences import missed


def judge(comparison: Comparison, criterion: Criterion, *, p_edge: float) -> tuple[Status, str]:
    """The status of one arm, and why.

    Args:
      comparison: the numbers, `p_holm` included.
      criterion: the claim.
      p_edge: Holm-adjusted p-value of the true difference being just what the criterion asks.

    Returns:
      The status by the rules of `compare`, and the reason in words, without a full stop.
    """
    if comparison.same:
        return _judge_same(criterion)
    if comparison.n < LEAST:
        return "INCONCLUSIVE", f"fewer than {LEAST} pairs are never conclusive; run {_more_seeds(comparison)}"
    if comparison.tied:
        return _judge_tied(comparison, criterion)
    if criterion.equivalent is not None:
        return _judge_equivalence(comparison, criterion, criterion.equivalent, p_edge)
    return _judge_difference(comparison, criterion, p_edge)


def _judge_same(criterion: Criterion) -> tuple[Status, str]:
    """Where both arms are the same program with the same inputs: the difference is no estimate, but 0."""
    if criterion.equivalent is not None:
        return "SUPPORTED", f"0 lies within ±{criterion.equivalent:g}"
    asked = f"at least {criterion.at_least:g}" if criterion.at_least else "more than 0"
    return "REFUTED", f"the claim is of {asked}"


def together(statuses: Sequence[Status]) -> Status:
    """SUPPORTED if all are, REFUTED if any is, else INCONCLUSIVE."""
    if "REFUTED" in statuses:
        return "REFUTED"
    return "SUPPORTED" if set(statuses) == {"SUPPORTED"} else "INCONCLUSIVE"


def _judge_difference(one: Comparison, criterion: Criterion, p_edge: float) -> tuple[Status, str]:
    low, high = sorted((criterion.sign * one.low, criterion.sign * one.high))
    edge = one.rounding if criterion.exceeds_zero else criterion.at_least - one.rounding
    asked = f"{criterion.sign * criterion.at_least:+g}" if criterion.at_least else "0"
    side = "above" if criterion.sign > 0 else "below"
    short = high < criterion.at_least - one.rounding
    if low > edge and _significant(p_edge, one, criterion):
        return "SUPPORTED", f"the interval lies {side} {asked}{_exact_test(one)}"
    if short and _significant(p_edge, one, criterion):
        return "REFUTED", f"the whole interval falls short of {asked}{_exact_test(one)}"
    if short or low > edge:
        lies = f"falls short of {asked}" if short else f"lies {side} {asked}"
        why = f"the interval {lies}, but its Holm-adjusted test gives p = {p_edge:.2g}"
    elif criterion.at_least and low > one.rounding:
        why = f"the interval excludes 0, but not {asked}"
    else:
        why = f"the interval does not exclude {asked}"
    return "INCONCLUSIVE", why + _more(one)


def _judge_equivalence(
    one: Comparison, criterion: Criterion, bound: float, p_edge: float
) -> tuple[Status, str]:
    inner = f"the 90 % interval, {one.equivalence_low:+.3g} to {one.equivalence_high:+.3g},"
    outer = bound + one.rounding
    if -outer <= one.equivalence_low and one.equivalence_high <= outer:
        return "SUPPORTED", f"{inner} lies within ±{bound:g}"
    outside = one.low > outer or one.high < -outer
    if outside and _significant(p_edge, one, criterion):
        return "REFUTED", f"the whole 95 % interval lies outside ±{bound:g}{_exact_test(one)}"
    if outside:
        why = f"the interval lies outside ±{bound:g}, but its Holm-adjusted test gives p = {p_edge:.2g}"
    else:
        why = f"{inner} does not lie within ±{bound:g}, nor the 95 % interval outside"
    return "INCONCLUSIVE", why + _more(one)


def _judge_tied(one: Comparison, criterion: Criterion) -> tuple[Status, str]:
    """Where nothing varies the difference seen is judged itself, once there are pairs enough: their
    number alone makes the permutation test significant."""
    equal = f"all {one.n} differences are equal"
    if one.anytime:
        return "INCONCLUSIVE", f"{equal}, which does not show how far they can vary"
    if one.n < TIED_LEAST:
        return "INCONCLUSIVE", (
            f"{equal}, and {one.n} {one.units} are too few to show how they vary: what happens to up "
            f"to {100 * missed(one.n):.0f} % of {one.units} may have been missed{_more(one)}"
        )
    past = criterion.sign * one.difference - criterion.at_least
    if criterion.equivalent is not None:
        past = criterion.equivalent - abs(one.difference)
    if past > one.rounding or (abs(past) <= one.rounding and not criterion.exceeds_zero):
        return "SUPPORTED", equal
    return ("REFUTED", equal) if past < -one.rounding else ("INCONCLUSIVE", f"{equal} to 0")


def _significant(p: float, one: Comparison, criterion: Criterion) -> bool:
    """Whether the tests agree; the permutation test is not asked where one arm's pairs are too few for it."""
    return p < ALPHA or (criterion.arms == 1 and _too_few(one))


def _too_few(one: Comparison) -> bool:
    return not one.anytime and 2.0 ** (1 - one.n) >= ALPHA


def _exact_test(one: Comparison) -> str:
    return f" ({one.n} pairs cannot bring p below {2.0 ** (1 - one.n):g})" if _too_few(one) else ""


def _more(one: Comparison) -> str:
    if one.anytime:
        return ""
    if one.seeds_needed >= MOST:
        return "; a million seeds would not decide it if the truth is what was seen"
    return f"; about {_more_seeds(one)} would decide it (80 % power)"


def _more_seeds(one: Comparison) -> str:
    more = max((LEAST if one.anytime else one.seeds_needed) - one.n, 1)
    return f"{more} more {'seed' if one.by == 'seed' and more == 1 else one.units}"
