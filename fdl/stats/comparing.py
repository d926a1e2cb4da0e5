"""Comparing arms with a baseline."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from fdl.arguments import checked
from fdl.result import Better, Result
from fdl.stats.anytime import beyond_bounds, check_anytime, compared_anytime, count_failures_anytime
from fdl.stats.arms import choose_baseline, final_values, how_chosen, label, paired, same_as, without_value
from fdl.stats.betting import Bounds
from fdl.stats.comparison import Contrast
from fdl.stats.conclusion import conclude
from fdl.stats.criterion import Criterion, check_criterion
from fdl.stats.failures import Counted, Policy, check_failures, count_failures
from fdl.stats.sentences import at_any_time
from fdl.stats.verdict import Comparisons


@checked
def compare(
    result: Result,
    *,
    metric: str,
    arms: str = "arm",
    baseline: Any = dataclasses.MISSING,
    better: Better = "higher",
    at_least: float = 0.0,
    equivalent: float | None = None,
    failures: Policy = "worst",
    anytime: bool = False,
    bounds: Bounds | None = None,
    by: str | None = "seed",
) -> Comparisons:
    """Compares arms with a baseline by the last value of a metric, paired by seed.

    With d the true mean difference in the better direction, an arm is

    * SUPPORTED if the 95 % interval of d lies wholly above `at_least`, and the Holm-adjusted test of
      "d is `at_least`" gives p < 0.05.
    * REFUTED if the interval lies wholly below, and the same test gives p < 0.05.
    * INCONCLUSIVE otherwise; always with fewer than 5 pairs; with fewer than 59 whose differences
      are all equal, which do not show how they vary; and where a run did not fail but has no value.

    With `equivalent`, it is SUPPORTED if the 90 % interval lies within ±`equivalent` (two one-sided
    tests, TOST, Schuirmann 1987), REFUTED if the 95 % interval lies wholly outside and the
    Holm-adjusted test of its nearer end gives p < 0.05, and INCONCLUSIVE otherwise.

    The claim is about all arms: SUPPORTED if every one is, REFUTED if any is, else INCONCLUSIVE. That
    all are within ±`equivalent` is an intersection-union test, which needs no correction (Berger
    1982). With one arm and 5 pairs the permutation test cannot come below 0.0625; there, and only
    there, the interval decides alone. Differences that agree up to float32 rounding of the means
    count as equal.

    At the edge of a criterion a wrong SUPPORTED and a wrong REFUTED each happen in at most 5 % of
    experiments with 5 to 30 pairs of normal, heavy-tailed, skewed (to that of exponential differences)
    and two-valued differences: docs/statistics.md. No method can know of what befell none of the
    seeds: the sentence says how large a share of seeds that may be.

    An arm that is the same program with the same inputs as the baseline (`fdl.sweep` trains them once) has a
    difference of 0 by construction, whatever the number of seeds: the sentence says that it had no effect. It
    is within any ±`equivalent`, and no better than the baseline: REFUTED where `at_least` is 0 or more.

    Of arms that `Result.best` chose, all is INCONCLUSIVE if seeds that chose also judge, or if arms were
    chosen of different numbers of candidates.

    With `anytime` the verdict holds whenever the sweep is stopped, so that one may look after every seed and
    stop once it is decided (`fdl sweep --until-decided`): intervals are confidence sequences, and
    p-values come of bets on one difference after another (`fdl.stats.betting`; Waudby-Smith and Ramdas
    2023). That costs seeds: docs/statistics.md. Without `bounds` it assumes that no difference falls farther
    from their mean than `1 + 8 / i` times the farthest of the i before it, with them nothing. Seeds count in
    rising order. A run that failed counts as the worse of the bounds; without them an arm with one is
    INCONCLUSIVE under `failures="worst"`, as what it counts as would change with later runs.

    Args:
      result: the runs.
      metric: as `"test/accuracy"`.
      arms: the config field whose values are the arms, or `"arm"` for the arms' own names.
      baseline: the value of `arms` to compare with, which may be None; the first to appear if not given.
      better: whether the arms should be `"higher"` or `"lower"` than the baseline.
      at_least: by how much, in the metric's unit.
      equivalent: claim instead that arms differ by no more than this, to either side.
      failures: what runs that failed, or whose last value is not finite, count as. `"worst"`: as a
        value as far beyond the worst of all arms as that is from the best, so that a pair lost by
        failing is lost by no less than any is won; two failures are a tie. `"dropped"`: their seeds
        make no pair. A share, as 0.1: they are dropped, and an arm is INCONCLUSIVE where more than
        this share of its runs or of the baseline's failed. The sentence names them.
      anytime: judge by a test that is valid at any stopping time.
      bounds: with `anytime`, the least and the most that the metric can be, as `(0.0, 1.0)`. Nothing is
        assumed then, but of a test that allows for a fall through the whole range, small differences ask
        for many seeds: about `5 / d` of a difference d of accuracies.
      by: what pairs the runs. `"seed"`. A config field, as `"data_set"`, for blocks: each of its values is a
        pair, of the means over the seeds that both arms have there, and the claim is about the mean over
        values like these (Demšar 2006), as if they had been drawn by chance. `None`: nothing does; runs are
        put side by side in the order of their seeds, and those of the larger arm beyond are left out. That
        keeps the rates above whatever the spread and skew of either arm, for which Welch's test does not
        (docs/statistics.md); it takes more runs where both are normal.

    Returns:
      The comparisons and the verdict. The same result gives the same verdict: all sampling is
      seeded.

    Raises:
      ValueError: an unknown metric, field or baseline; fewer than two arms; several runs of one seed
        in an arm; a criterion out of range; a `by` that pairs nothing; or, with `anytime`, another `by`
        than the seed, or arms chosen by seeds that were not named.

    Example:
      >>> import fdl, pandas as pd
      >>> accuracy = {False: (0.71, 0.72, 0.7, 0.74, 0.73, 0.72), True: (0.91, 0.9, 0.93, 0.9, 0.92, 0.93)}
      >>> each = [(s, i, a) for s, values in accuracy.items() for i, a in enumerate(values)]
      >>> rows = [(f"skip={skip}", skip, seed, 10, "finished", value) for skip, seed, value in each]
      >>> frame = pd.DataFrame(rows, columns=["arm", "skip", "seed", "step", "status", "test/accuracy"])
      >>> failures = pd.DataFrame(columns=["arm", "skip", "seed", "step", "metric"])
      >>> result = fdl.Result(frame, ("skip",), failures, {})  # as fdl.sweep gives it
      >>> fdl.compare(result, metric="test/accuracy", arms="skip", baseline=False).verdict.status
      'SUPPORTED'
    """
    values = final_values(result, metric, arms, by=by)
    base = choose_baseline(values, arms, baseline, result.stopped)
    others = [arm for arm in values if arm != base]
    names = {arm: label(arms, arm) for arm in values}
    criterion = Criterion(better, at_least, equivalent, len(others))
    check_criterion(criterion)
    check_failures(failures)
    check_anytime(result, anytime, bounds)
    if anytime and by != "seed":
        raise ValueError(f"anytime=True counts seeds as they come; expected by='seed', got by={by!r}")
    test: dict[str, Any] = {}
    if anytime:
        counted = count_failures_anytime(values, failures, better, bounds)
        test["numbers_of"] = functools.partial(compared_anytime, bounds=bounds)
        test["unfit"] = lambda both: _unfit(counted, both, names, failures, bounds)
        test["valid"] = at_any_time(bounds)
    else:
        counted = count_failures(values, failures, better)
    same = same_as(base, result, arms, by=by)
    contrasts = [
        Contrast(
            names[arm],
            names[base],
            paired(counted.values[arm], counted.values[base], by),
            (arm,),
            (base,),
            arm in same,
        )
        for arm in others
    ]
    return conclude(
        contrasts,
        criterion,
        metric=metric,
        by=by,
        counted=counted,
        without=without_value(result, arms, values, by=by),
        names=names,
        failures=failures,
        chosen=how_chosen(result, arms, values),
        **test,
    )


def _unfit(
    counted: Counted, both: Sequence[Any], names: Mapping[Any, str], failures: Policy, bounds: Bounds | None
) -> str:
    """Why two arms cannot be judged by bets; empty if they can."""
    if bounds is None and failures == "worst" and (lost := [names[a] for a in both if counted.failed[a]]):
        return (
            f"runs of {' and of '.join(lost)} failed, and what they count as is not known beforehand: give "
            "bounds= of the metric, or leave them out by failures='dropped'"
        )
    if beyond := [names[a] for a in both if beyond_bounds(counted.values[a], bounds)]:
        return f"values of {' and of '.join(beyond)} lie outside bounds={bounds}, which makes the test void"
    return ""
