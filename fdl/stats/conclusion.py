"""From the values of several contrasts to the verdict on all of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

from fdl.stats.comparison import Comparison, Contrast, compared
from fdl.stats.criterion import Criterion, Status
from fdl.stats.decision import judge, together
from fdl.stats.failures import Counted, Policy, too_many
from fdl.stats.inference import holm
from fdl.stats.sentences import criterion_in_words, failed, finding, lost_seeds, unseen, without_effect
from fdl.stats.verdict import Comparisons, Verdict


def conclude(
    contrasts: Sequence[Contrast],
    criterion: Criterion,
    *,
    metric: str,
    by: str | None,
    counted: Counted,
    without: Mapping[Any, int],
    names: Mapping[Any, str],
    failures: Policy,
    chosen: tuple[bool, str],
    numbers_of: Callable[..., list[tuple[Comparison, float]]] = compared,
    unfit: Callable[[Sequence[Any]], str] = lambda _: "",
    valid: str = "",
) -> Comparisons:
    """The numbers of every contrast, and the verdict on all.

    Args:
      contrasts: what is compared.
      criterion: the claim.
      metric: the metric's name.
      by: what pairs the runs.
      counted: what failed runs count as, by arm.
      without: how many runs ended without a value, by arm.
      names: the arms' names.
      failures: what may be concluded where runs failed.
      chosen: as `fdl.stats.arms.how_chosen` tells it.
      numbers_of: `compared`, or another test.
      unfit: why some arms cannot be judged by it; empty if they can.
      valid: when it is valid, in a sentence.
    """
    numbers = numbers_of(contrasts, criterion, metric=metric)
    measured = [_known(contrast, *one) for contrast, one in zip(contrasts, numbers, strict=True)]
    p_holm = holm([comparison.p for comparison, _ in measured])
    p_edge = holm([p for _, p in measured])
    sound, how = chosen
    comparisons, reasons = [], []
    for contrast, (one, _), p, edge in zip(contrasts, measured, p_holm, p_edge, strict=True):
        lost = [sum(counted.failed[arm] for arm in arms) for arms in (contrast.of, contrast.against)]
        one = one._replace(p_holm=p, by=by, failed=lost[0], baseline_failed=lost[1])
        status, why = judge(one, criterion, p_edge=edge)
        arms = (*contrast.of, *contrast.against)
        doubts = []
        if many := [names[a] for a in arms if too_many(counted, a, failures)]:
            doubts += [f"more runs of {' and of '.join(many)} failed than failures= allows"]
        if some := [f"{without[a]} runs of {names[a]}" for a in arms if without[a]]:
            doubts += [f"{' and '.join(some)} did not fail, but ended without {metric}"]
        if reason := unfit(arms):
            doubts += [reason]
        if doubts and not one.same:
            status, why = "INCONCLUSIVE", doubts[-1]
        comparisons.append(one._replace(status=status if sound else "INCONCLUSIVE"))
        reasons.append(why)
    verdict = _verdict(tuple(comparisons), reasons, criterion)
    surely = _p_of(verdict.status, comparisons, p_edge)
    told = verdict.sentence + valid + failed(counted, names) + lost_seeds(comparisons) + how
    return Comparisons(verdict.comparisons, verdict._replace(sentence=told, p=surely))


def _known(contrast: Contrast, one: Comparison, p_edge: float) -> tuple[Comparison, float]:
    """The numbers of a contrast; where both arms are one run, they are known without a test."""
    if not contrast.same or not one.n:
        return one, p_edge
    ends = dict.fromkeys(("low", "high", "equivalence_low", "equivalence_high"), 0.0)
    return one._replace(same=True, seeds_needed=0, **ends), 0.0


def _p_of(status: Status, comparisons: Sequence[Comparison], p_edge: Sequence[float]) -> float:
    """`Verdict.p`: what all arms together meet is as sure as the least sure of them; one is enough to refute.

    Of an equivalence it is the two-sided p-value of the nearer end, which is no less than that of the two
    one-sided tests.
    """
    if status == "INCONCLUSIVE":
        return 1.0
    found = [p for one, p in zip(comparisons, p_edge, strict=True) if one.status == status]
    return max(found) if status == "SUPPORTED" else min(found)


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
    if status != "INCONCLUSIVE" and not comparisons[shown].anytime and not comparisons[shown].same:
        sentence += unseen(min(comparisons[i].n for i in decisive), comparisons[shown].units)
    sentence += without_effect([one for i, one in enumerate(comparisons) if one.same and i != shown])
    words = criterion_in_words(comparisons, criterion)
    return Verdict(status, sentence, words, comparisons, anytime=comparisons[shown].anytime)
