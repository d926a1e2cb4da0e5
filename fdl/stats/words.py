"""Comparisons and criteria in words."""

from collections.abc import Sequence

from fdl.stats.comparison import Comparison, Criterion

_NAMED = 4


def claim(comparisons: Sequence[Comparison], criterion: Criterion) -> str:
    """The criterion, as "test/accuracy of skip=True exceeds skip=False by at least 0.05"."""
    names = [one.arm for one in comparisons]
    arms = f"each of {len(names)} arms" if len(names) > _NAMED else " and of ".join(names)
    first = comparisons[0]
    if criterion.equivalent is not None:
        return f"{first.metric} of {arms} is within ±{criterion.equivalent:g} of {first.baseline}"
    verb = "exceeds" if criterion.better == "higher" else "is below"
    margin = f" by at least {criterion.at_least:g}" if criterion.at_least else ""
    return f"{first.metric} of {arms} {verb} {first.baseline}{margin}"


def finding(one: Comparison) -> str:
    """The numbers of one comparison."""
    if not one.n:
        return f"{one.metric} has no seed with a final value for both {one.arm} and {one.baseline}"
    interval = f"95 % interval {one.low:+.3g} to {one.high:+.3g}, p = {one.p:.2g}, " if one.n > 1 else ""
    return (
        f"{one.metric} of {one.arm} is {one.arm_mean:.4g}, of {one.baseline} {one.baseline_mean:.4g}, "
        f"difference {one.difference:+.3g} ({interval}{one.n} pair{'s' * (one.n > 1)})"
    )


def lost(comparisons: Sequence[Comparison]) -> str:
    """What the reader must know of seeds that make no pair; empty if there are none."""
    worst = max(comparisons, key=lambda one: one.dropped)
    if not worst.dropped:
        return ""
    where = f" for {worst.arm}" if len(comparisons) > 1 else ""
    return (
        f" {worst.dropped} of {worst.n + worst.dropped} seeds make no pair{where}: "
        "a run failed, is missing or not finished."
    )
