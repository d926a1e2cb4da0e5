"""Success rates: the share of runs whose final metric reaches a threshold."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.stats

from fdl.arguments import Count, InnerShare, NotNegative, checked
from fdl.result import Better, Result, check_better
from fdl.stats.arms import final_values, how_chosen, label
from fdl.stats.criterion import ALPHA, Status
from fdl.stats.decision import together
from fdl.stats.verdict import Verdict
from fdl.text import no_effects

_LEAST = 20  # runs: of 20 that all succeed the 95 % interval still begins at 84 %


class Rate(NamedTuple):
    """The success rate of one arm.

    Attributes:
      arm: the arm.
      trials: runs that ended, failed ones included.
      successes: those that reached the threshold. A failed run did not.
      rate: `successes / trials`.
      low: lower end of the exact 95 % interval (Clopper and Pearson 1934), which errs in at most 2.5 %
        at either end: Wilson's, narrower, errs in up to 8 % where rates are small or near 1.
      high: upper end.
      status: what this arm alone says of the criterion.
    """

    arm: str
    trials: int
    successes: int
    rate: float
    low: float
    high: float
    status: Status


class Rates(NamedTuple):
    """The success rate of every arm, and the verdict on all of them.

    Attributes:
      rates: one an arm, in order of appearance.
      verdict: on the claim; it has no comparisons.
    """

    rates: tuple[Rate, ...]
    verdict: Verdict

    def table(self) -> pd.DataFrame:
        """A row per arm, a column per field of `Rate`."""
        return pd.DataFrame(self.rates)


@checked
def success_rate(
    successes: NotNegative[int], trials: Count, *, confidence: InnerShare[float] = 0.95
) -> tuple[float, float, float]:
    """A success rate and its Wilson score interval (Wilson 1927), which stays inside [0, 1].

    Args:
      successes: how many succeeded.
      trials: of how many.
      confidence: the share of intervals that hold the true rate, about.

    Returns:
      The rate and the ends of its interval.

    Raises:
      ValueError: no trials, or not 0 ≤ successes ≤ trials.

    Example:
      >>> from fdl import stats
      >>> [round(number, 3) for number in stats.success_rate(18, 20)]
      [0.9, 0.699, 0.972]
    """
    if not 0 <= successes <= trials or not trials:
        raise ValueError(
            f"{successes} successes of {trials} trials; expected 0 ≤ successes ≤ trials, trials ≥ 1"
        )
    z = scipy.stats.norm.isf((1 - confidence) / 2)
    rate = successes / trials
    centre = (rate + z**2 / (2 * trials)) / (1 + z**2 / trials)
    margin = z * np.sqrt(rate * (1 - rate) / trials + z**2 / (4 * trials**2)) / (1 + z**2 / trials)
    low = 0.0 if successes == 0 else float(centre - margin)
    high = 1.0 if successes == trials else float(centre + margin)
    return rate, low, high


@checked
def compare_rates(
    result: Result,
    *,
    metric: str,
    threshold: float,
    at_least: InnerShare[float],
    arms: str = "arm",
    better: Better = "higher",
) -> Rates:
    """Whether, in every arm, a share `at_least` of runs ends with the metric at `threshold` or better.

    An arm is SUPPORTED if its exact 95 % interval lies wholly at or above `at_least`; REFUTED if
    its interval, at 95 % for all arms together (Bonferroni), lies wholly below; INCONCLUSIVE
    otherwise, and always with fewer than 20 runs, too few to tell rates apart. The claim is
    SUPPORTED if every arm is, REFUTED if any is, else INCONCLUSIVE. For the difference between two
    arms, `compare` a metric that is 0 or 1.

    Args:
      result: the runs.
      metric: as `"test/accuracy"`.
      threshold: the value that counts as success, in the metric's unit.
      at_least: the share of runs claimed, between 0 and 1: no number of runs shows a share of 1.
      arms: the config field whose values are the arms, or `"arm"` for the arms' own names.
      better: whether success is `"higher"` or `"lower"` than the threshold.

    Raises:
      ValueError: an unknown metric or field, an arm without a run that ended or with several of one
        seed, or a share out of range.

    Example:
      >>> import fdl, pandas as pd
      >>> accuracy = {False: (0.71, 0.72, 0.7, 0.74, 0.73, 0.72), True: (0.91, 0.9, 0.93, 0.9, 0.92, 0.93)}
      >>> each = [(s, i, a) for s, values in accuracy.items() for i, a in enumerate(values)]
      >>> rows = [(f"skip={skip}", skip, seed, 10, "finished", value) for skip, seed, value in each]
      >>> frame = pd.DataFrame(rows, columns=["arm", "skip", "seed", "step", "status", "test/accuracy"])
      >>> failures = pd.DataFrame(columns=["arm", "skip", "seed", "step", "metric"])
      >>> result = fdl.Result(frame, ("skip",), failures, {})  # as fdl.sweep gives it
      >>> rates = fdl.compare_rates(result, metric="test/accuracy", threshold=0.8, at_least=0.5, arms="skip")
      >>> [(rate.arm, rate.successes, rate.trials) for rate in rates.rates]
      [('skip=False', 0, 6), ('skip=True', 6, 6)]
    """
    check_better(better)
    values = final_values(result, metric, arms)
    if empty := [label(arms, arm) for arm, final in values.items() if final.empty]:
        raise ValueError(
            f"no run of {', '.join(empty)} has ended; wait, or leave it out with result.where(...)"
        )
    rates = tuple(
        _rate(label(arms, arm), _reached(final.to_numpy(), threshold, better), at_least, len(values))
        for arm, final in values.items()
    )
    sound, chosen = how_chosen(result, arms, values, compared=False)
    rates = rates if sound else tuple(one._replace(status="INCONCLUSIVE") for one in rates)
    status = together([one.status for one in rates])
    sign = "≥" if better == "higher" else "≤"
    found = "; ".join(
        f"{one.arm} {one.successes} of {one.trials} ({one.rate:.1%}, 95 % interval {one.low:.1%} to "
        f"{one.high:.1%}{f', fewer than {_LEAST} runs are never conclusive' * (one.trials < _LEAST)})"
        for one in rates
    )
    without_effect = "".join(f" {sentence}." for sentence in no_effects(result.same))
    verdict = Verdict(
        status=status,
        sentence=f"{metric} {sign} {threshold:g}: {found}.{without_effect}{chosen}",
        criterion=f"{metric} ends {sign} {threshold:g} in at least {at_least:.1%} of the runs of each arm",
        comparisons=(),
        p=_p_of(status, rates, at_least),
    )
    return Rates(rates, verdict)


def _p_of(status: Status, rates: Sequence[Rate], at_least: float) -> float:
    """`Verdict.p`, of the tests that go with the intervals: twice the exact one-sided ones."""
    tests = [
        2 * scipy.stats.binom.sf(one.successes - 1, one.trials, at_least)
        if status == "SUPPORTED"
        else 2 * len(rates) * scipy.stats.binom.cdf(one.successes, one.trials, at_least)
        for one in rates
        if one.status == status
    ]
    if status == "INCONCLUSIVE":
        return 1.0
    return min(1.0, float(max(tests) if status == "SUPPORTED" else min(tests)))


def _reached(final: np.ndarray, threshold: float, better: Better) -> np.ndarray:
    return final >= threshold if better == "higher" else final <= threshold


def _rate(arm: str, reached: np.ndarray, at_least: float, arms: int) -> Rate:
    successes, trials = int(reached.sum()), len(reached)
    rate = successes / trials
    low, high = exact_interval(successes, trials, ALPHA)
    _, highest = exact_interval(successes, trials, ALPHA / arms)
    status: Status = "INCONCLUSIVE"
    if trials >= _LEAST and low >= at_least:
        status = "SUPPORTED"
    elif trials >= _LEAST and highest < at_least:
        status = "REFUTED"
    return Rate(arm, trials, successes, rate, low, high, status)


def exact_interval(successes: int, trials: int, alpha: float) -> tuple[float, float]:
    """Clopper and Pearson's interval (1934), which misses the rate in at most `alpha` of cases."""
    failures = trials - successes
    low = float(scipy.stats.beta.ppf(alpha / 2, successes, failures + 1)) if successes else 0.0
    high = float(scipy.stats.beta.isf(alpha / 2, successes + 1, failures)) if failures else 1.0
    return low, high
