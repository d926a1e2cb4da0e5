"""Paired comparisons, intervals, power and verdicts."""

from fdl.public import public as _public
from fdl.stats.betting import confidence_sequence
from fdl.stats.claims import Claim, Judged, judge_claims
from fdl.stats.comparing import compare
from fdl.stats.comparison import Comparison
from fdl.stats.criterion import Criterion
from fdl.stats.effects import Effect, Effects, factorial_effects
from fdl.stats.inference import holm, interval, sign_flip
from fdl.stats.interaction import difference_in_differences
from fdl.stats.measures import metrics_as_arms
from fdl.stats.power import detectable, pairs_needed, two_sided_power
from fdl.stats.rates import Rate, Rates, compare_rates, success_rate
from fdl.stats.verdict import Comparisons, Verdict, all_of

__all__ = [
    "Claim",
    "Comparison",
    "Comparisons",
    "Criterion",
    "Effect",
    "Effects",
    "Judged",
    "Rate",
    "Rates",
    "Verdict",
    "all_of",
    "compare",
    "compare_rates",
    "confidence_sequence",
    "detectable",
    "difference_in_differences",
    "factorial_effects",
    "holm",
    "interval",
    "judge_claims",
    "metrics_as_arms",
    "pairs_needed",
    "sign_flip",
    "success_rate",
    "two_sided_power",
]


def __dir__() -> list[str]:
    return _public(globals())
