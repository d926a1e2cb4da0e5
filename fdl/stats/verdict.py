"""Verdicts: does a claim about arms hold?"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import pandas as pd

from fdl.arguments import checked
from fdl.result import Better, Result
from fdl.stats.anytime import beyond_bounds, check_anytime, compared_anytime, count_failures_anytime
from fdl.stats.arms import choose_baseline, final_values, how_chosen, label, without_value
from fdl.stats.betting import Bounds
from fdl.stats.comparison import Comparison, Criterion, Status, check_criterion, compared
from fdl.stats.decision import judge, together
from fdl.stats.failures import Counted, Policy, check_failures, count_failures, too_many
from fdl.stats.inference import holm
from fdl.stats.sentences import at_any_time, criterion_in_words, failed, finding, lost_seeds, unseen

if TYPE_CHECKING:
    from fdl.stats.claims import Judged


class Verdict(NamedTuple):
    """What became of a claim.

    Attributes:
      status: `"SUPPORTED"`, `"REFUTED"` or `"INCONCLUSIVE"`.
      sentence: why, with the numbers.
      criterion: the claim in words.
      comparisons: the numbers behind it, one an arm.
      anytime: whether it may be asked for after every further seed, until it is decided.
      p: of the status: so often, at most, would numbers like these come about at the criterion's edge; 1
        where it is INCONCLUSIVE, None where no test stands behind it, as where all cases are counted out.
      claims: what became of each, where several were judged (`judge_claims`).
    """

    status: Status
    sentence: str
    criterion: str
    comparisons: tuple[Comparison, ...]
    anytime: bool = False
    p: float | None = None
    claims: "tuple[Judged, ...]" = ()


class Comparisons(NamedTuple):
    """Every arm against the baseline, and the verdict on the claim.

    Attributes:
      comparisons: one an arm, in order of appearance.
      verdict: on all of them.
    """

    comparisons: tuple[Comparison, ...]
    verdict: Verdict

    def table(self) -> pd.DataFrame:
        """A row per arm, a column per field of `Comparison`."""
        return pd.DataFrame(self.comparisons)


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

    Returns:
      The comparisons and the verdict. The same result gives the same verdict: all sampling is
      seeded.

    Raises:
      ValueError: an unknown metric, field or baseline; fewer than two arms; several runs of one seed
        in an arm; a criterion out of range; or, with `anytime`, arms chosen by seeds that were not named.

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
    values = final_values(result, metric, arms)
    base = choose_baseline(values, arms, baseline)
    others = [arm for arm in values if arm != base]
    names = {arm: label(arms, arm) for arm in values}
    criterion = Criterion(better, at_least, equivalent, len(others))
    check_criterion(criterion)
    check_failures(failures)
    check_anytime(result, anytime, bounds)
    without = without_value(result, metric, arms, values)
    if anytime:
        counted = count_failures_anytime(values, failures, better, bounds)
        numbers_of = functools.partial(compared_anytime, bounds=bounds)
    else:
        counted, numbers_of = count_failures(values, failures, better), compared
    measured = [
        numbers_of(
            counted.values[arm],
            counted.values[base],
            criterion,
            metric=metric,
            arm=names[arm],
            baseline=names[base],
        )
        for arm in others
    ]
    p_holm = holm([comparison.p for comparison, _ in measured])
    p_edge = holm([p for _, p in measured])
    sound, chosen = how_chosen(result, arms, values)
    comparisons, reasons = [], []
    for arm, (one, _), p, edge in zip(others, measured, p_holm, p_edge, strict=True):
        one = one._replace(p_holm=p, failed=counted.failed[arm], baseline_failed=counted.failed[base])
        status, why = judge(one, criterion, p_edge=edge)
        if many := [names[a] for a in (arm, base) if too_many(counted, a, failures)]:
            status, why = "INCONCLUSIVE", f"more runs of {' and of '.join(many)} failed than failures= allows"
        if some := [f"{without[a]} runs of {names[a]}" for a in (arm, base) if without[a]]:
            status, why = "INCONCLUSIVE", f"{' and '.join(some)} did not fail, but ended without {metric}"
        if anytime and (unfit := _unfit(counted, (arm, base), names, failures, bounds)):
            status, why = "INCONCLUSIVE", unfit
        comparisons.append(one._replace(status=status if sound else "INCONCLUSIVE"))
        reasons.append(why)
    verdict = _verdict(tuple(comparisons), reasons, criterion)
    p = _p_of(verdict.status, comparisons, p_edge)
    valid = at_any_time(bounds) if anytime else ""
    told = verdict.sentence + valid + failed(counted, names) + lost_seeds(comparisons) + chosen
    return Comparisons(verdict.comparisons, verdict._replace(sentence=told, p=p))


def all_of(*verdicts: Verdict) -> Verdict:
    """All claims together: SUPPORTED if all are, REFUTED if any is, else INCONCLUSIVE.

    That all hold needs no correction for their number (an intersection-union test, Berger 1982);
    that any is refuted does not allow for it, so keep the list short.

    Raises:
      ValueError: no verdict given.

    Example:
      >>> import fdl
      >>> yes = fdl.Verdict("SUPPORTED", "A is better than B.", "A exceeds B", ())
      >>> no = fdl.Verdict("REFUTED", "A is no better than C.", "A exceeds C", ())
      >>> fdl.all_of(yes, no).status
      'REFUTED'
    """
    if not verdicts:
        raise ValueError("all_of() needs at least one verdict, got none")
    return Verdict(
        status=together([verdict.status for verdict in verdicts]),
        sentence=" ".join(f"{verdict.status}: {verdict.sentence}" for verdict in verdicts),
        criterion=" and ".join(verdict.criterion for verdict in verdicts),
        comparisons=tuple(one for verdict in verdicts for one in verdict.comparisons),
        anytime=all(verdict.anytime for verdict in verdicts),
        p=p_of_all(verdicts),
    )


def p_of_all(verdicts: Sequence[Verdict]) -> float | None:
    """That all hold is refuted by any that does not, and as sure as the least sure of them."""
    status = together([verdict.status for verdict in verdicts])
    if status == "INCONCLUSIVE":
        return 1.0
    tests = [one.p for one in verdicts if one.status == status]
    known = [p for p in tests if p is not None]
    if status == "REFUTED":
        return min(known) if len(known) == len(tests) else None
    return max(known, default=None)


def _p_of(status: Status, comparisons: Sequence[Comparison], p_edge: Sequence[float]) -> float:
    """`Verdict.p`: what all arms together meet is as sure as the least sure of them; one is enough to refute.

    Of an equivalence it is the two-sided p-value of the nearer end, which is no less than that of the two
    one-sided tests.
    """
    if status == "INCONCLUSIVE":
        return 1.0
    found = [p for one, p in zip(comparisons, p_edge, strict=True) if one.status == status]
    return max(found) if status == "SUPPORTED" else min(found)


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


def _verdict(comparisons: tuple[Comparison, ...], reasons: Sequence[str], criterion: Criterion) -> Verdict:
    """The verdict on all arms, told by the one that decides it."""
    statuses: list[Status] = [one.status for one in comparisons]
    status = together(statuses)
    decisive = [i for i, one in enumerate(comparisons) if one.status == status]
    if criterion.equivalent is not None:
        decisive.sort(key=lambda i: -abs(comparisons[i].difference))
    else:
        decisive.sort(key=lambda i: criterion.sign * comparisons[i].difference)
    shown = decisive[0]
    counts = ", ".join(f"{statuses.count(s)} {s.lower()}" for s in get_args(Status) if s in statuses)
    summary = f"{len(comparisons)} arms ({counts}); " if len(comparisons) > 1 else ""
    sentence = f"{summary}{finding(comparisons[shown])}: {reasons[shown]}."
    if status != "INCONCLUSIVE" and not comparisons[shown].anytime:
        sentence += unseen(min(comparisons[i].n for i in decisive))
    words = criterion_in_words(comparisons, criterion)
    return Verdict(status, sentence, words, comparisons, anytime=comparisons[shown].anytime)
