"""Comparisons and criteria in words."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fdl.stats.comparison import Comparison
from fdl.stats.criterion import Criterion
from fdl.stats.failures import Counted
from fdl.text import no_effect

_NAMED = 4  # arms in a sentence, which is to stay one


def criterion_in_words(comparisons: Sequence[Comparison], criterion: Criterion) -> str:
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
        what = {"seed": "seed", None: "run"}.get(one.by, f"value of {one.by}")
        return f"{one.metric} has no {what} with a final value for both {one.arm} and {one.baseline}"
    if one.same and one.scale:  # a gain, and the arms are named elsewhere
        return (
            f"{one.arm} is {one.baseline} by construction, of the same programs and inputs ({one.metric} "
            f"{one.arm_mean:.4g}, difference exactly 0)"
        )
    if one.same:
        return (
            f"{no_effect([one.arm], one.baseline)}, trained once ({one.metric} {one.arm_mean:.4g}, "
            "difference exactly 0)"
        )
    kind, valid = ("confidence sequence", "anytime-valid ") if one.anytime else ("interval", "")
    interval = "" if one.n == 1 or one.tied else f"95 % {kind} {one.low:+.3g} to {one.high:+.3g}, "
    p = f"{valid}p = {one.p:.2g}, " if one.n > 1 else ""
    pairs = f"{one.n} unpaired {one.units}" if one.by is None else f"{one.n} pair{'s' * (one.n > 1)}"
    pairs += f", each a value of {one.by}" if one.by not in (None, "seed") else ""
    return (
        f"{one.metric} of {one.arm} is {one.arm_mean:.4g}, of {one.baseline} {one.baseline_mean:.4g}, "
        f"difference {one.difference:+.3g} ({interval}{p}{pairs})"
    )


def without_effect(same: Sequence[Comparison]) -> str:
    """Which arms are the same as their baseline, in a sentence; empty if none is, or of gains."""
    if not same or same[0].scale:
        return ""
    return f" {no_effect([one.arm for one in same], same[0].baseline)}."


def missed(n: int) -> float:
    """The share of seeds of which something may befall, and yet none of n seeds shows it in 5 % of
    sweeps."""
    return 1 - 0.05 ** (1 / n)


def unseen(n: int, units: str) -> str:
    """What no test can know from n seeds, or values of a field, in a sentence."""
    share = f"{100 * missed(n):.0f} %"
    return f" ({n} {units} can miss a collapse in up to {share} of {units}: in 5 % of sweeps none shows it.)"


def at_any_time(bounds: tuple[float, float] | None) -> str:
    """What a test by bets assumes, in a sentence."""
    if bounds is not None:
        return f" (Valid whenever the sweep stops, for any values from {bounds[0]:g} to {bounds[1]:g}.)"
    return (
        " (Valid whenever the sweep stops, if no difference falls farther from their mean than 1 + 8 / i "
        "times the farthest of the i before it: a rare collapse that no seed shows is not known.)"
    )


def failed(counted: Counted, names: Mapping[Any, str]) -> str:
    """Which runs failed and what they count as; empty if none did.

    Args:
      counted: the final values.
      names: of the arms, the baseline too.
    """
    found = sorted((arm for arm in names if counted.failed[arm]), key=lambda arm: -counted.failed[arm])
    told = [f"{counted.failed[arm]} of {counted.runs[arm]} of {names[arm]}" for arm in found[:_NAMED]]
    if not told:
        return ""
    rest = f" and some of {len(found) - _NAMED} other arms" if len(found) > _NAMED else ""
    if math.isnan(counted.worst):
        return f" Runs that failed are left out: {', '.join(told)}{rest}."
    return f" Runs that failed count as {counted.worst:.4g}, the worst: {', '.join(told)}{rest}."


def lost_seeds(comparisons: Sequence[Comparison]) -> str:
    """What the reader must know of seeds that make no pair; empty if there are none."""
    worst = max(comparisons, key=lambda one: one.dropped)
    if not worst.dropped:
        return ""
    where = f" for {worst.arm}" if len(comparisons) > 1 else ""
    if worst.by is None:
        return f" {worst.dropped} runs{where} are left out, as the other arm has fewer."
    return (
        f" {worst.dropped} of {worst.n + worst.dropped} {worst.units} make no pair{where}: "
        "a run failed, is missing or not finished."
    )
