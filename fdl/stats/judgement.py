"""What the numbers of one comparison say about a criterion."""

from collections.abc import Sequence

import numpy as np

from fdl.stats.comparison import ALPHA, LEAST, Comparison, Criterion, Status
from fdl.stats.power import MOST

_ROUNDING = float(np.finfo(np.float32).eps)


def judge(comparison: Comparison, criterion: Criterion, *, p_edge: float) -> tuple[Status, str]:
    """The status of one arm, and why.

    Args:
      comparison: the numbers, `p_holm` included.
      criterion: the claim.
      p_edge: Holm-adjusted p-value of the true difference being just what the criterion asks.

    Returns:
      The status by the rules of `compare`, and the reason in words, without a full stop.
    """
    if comparison.n < LEAST:
        return "INCONCLUSIVE", f"fewer than {LEAST} pairs are never conclusive; run {_more_seeds(comparison)}"
    if criterion.equivalent is not None:
        return _judge_equivalence(comparison, criterion, criterion.equivalent, p_edge)
    return _judge_difference(comparison, criterion, p_edge)


def together(statuses: Sequence[Status]) -> Status:
    """SUPPORTED if all are, REFUTED if any is, else INCONCLUSIVE."""
    if "REFUTED" in statuses:
        return "REFUTED"
    return "SUPPORTED" if set(statuses) == {"SUPPORTED"} else "INCONCLUSIVE"


def _judge_difference(one: Comparison, criterion: Criterion, p_edge: float) -> tuple[Status, str]:
    low, high = sorted((criterion.sign * one.low, criterion.sign * one.high))
    rounding = _rounding(one)
    edge = criterion.at_least - rounding
    reaches = criterion.sign * one.difference >= edge
    asked = f"{criterion.sign * criterion.at_least:+g}" if criterion.at_least else "0"
    side = "above" if criterion.sign > 0 else "below"
    if low > rounding and reaches and _significant(one.p_holm, one, criterion):
        enough = f" and the difference reaches {asked}" if criterion.at_least else ""
        return "SUPPORTED", f"the interval lies {side} 0{enough}{_exact_test(one)}"
    if high < edge and _significant(p_edge, one, criterion):
        return "REFUTED", f"the whole interval falls short of {asked}{_exact_test(one)}"
    if high < edge:
        why = f"the interval falls short of {asked}, but its Holm-adjusted test gives p = {p_edge:.2g}"
    elif low <= rounding:
        why = "the interval does not exclude 0"
    elif not reaches:
        why = f"the interval excludes 0 and reaches {asked}, but the difference itself falls short of it"
    else:
        why = f"the Holm-adjusted permutation test gives p = {one.p_holm:.2g}"
    return "INCONCLUSIVE", why + _more(one)


def _judge_equivalence(
    one: Comparison, criterion: Criterion, bound: float, p_edge: float
) -> tuple[Status, str]:
    inner = f"the 90 % interval, {one.equivalence_low:+.3g} to {one.equivalence_high:+.3g},"
    rounding = _rounding(one)
    outer = bound + rounding
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


def _rounding(one: Comparison) -> float:
    """The difference that float32 metrics of this size may show by rounding alone."""
    return _ROUNDING * max(abs(one.arm_mean), abs(one.baseline_mean))


def _significant(p: float, one: Comparison, criterion: Criterion) -> bool:
    """Whether the exact test agrees; it is not asked where one arm's pairs are too few for it."""
    return p < ALPHA or (criterion.arms == 1 and _too_few(one))


def _too_few(one: Comparison) -> bool:
    return 2.0 ** (1 - one.n) >= ALPHA


def _exact_test(one: Comparison) -> str:
    return f" ({one.n} pairs cannot bring p below {2.0 ** (1 - one.n):g})" if _too_few(one) else ""


def _more(one: Comparison) -> str:
    if one.seeds_needed >= MOST:
        return "; a million seeds would not decide it if the truth is what was seen"
    return f"; about {_more_seeds(one)} would decide it (80 % power)"


def _more_seeds(one: Comparison) -> str:
    more = max(one.seeds_needed - one.n, 1)
    return f"{more} more seed{'s' * (more > 1)}"
